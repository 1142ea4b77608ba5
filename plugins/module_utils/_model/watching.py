# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of the model that watches a fleet: Flower, exporter, monitors, alerts and dashboard.

Keys follow Flower 2.2, celery-exporter 0.12, the Prometheus Operator's v1 resources, and Grafana 13.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .._schema.keys import Section, key
from .._schema.kubernetes import Kubernetes
from .._schema.kubernetes_values import (
    ANNOTATIONS,
    DNS_LABEL,
    DNS_SUBDOMAIN,
    IMAGE,
    LABELS,
    SECRET_KEY,
    SECRET_NAMES,
    Quantity,
)
from .._schema.scalars import (
    SECONDS,
    Choice,
    Flag,
    Integer,
    ListOf,
    MapOf,
    Number,
    Text,
)
from .._schema.values import EnvSection, Relabeling, SecretValue

#: Parts that a fleet may have beside its workers. Each is a variable, and a switch with C(_enabled) at its end.
PARTS = ("flower", "exporter", "service_monitor", "prometheus_rule", "dashboard")

HOST_NAME = Text(
    "a host name such as flower.example.org", r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*", 253
)
#: Units descend, as the Prometheus Operator's own pattern has them.
DURATION = Text(
    "a duration such as 30s or 1m",
    r"(?!$)([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?",
    20,
)
LABEL_NAME = Text("a label name of letters, digits and '_'", r"[A-Za-z_][A-Za-z0-9_]*", 128)
HTTPS_URL = Text("a URL such as https://flower.example.org/login", r"https?://[^\s@]+", 2048)

#: Names of alerts; _alerts makes one of each for every variant that has the metrics for it.
ALERTS = (
    "CeleryBacklogGrowsAtMaximum",
    "CeleryWorkWithoutWorkers",
    "CeleryScalerErrors",
    "CeleryScalerFallback",
    "CeleryScalerPaused",
    "CeleryAutoscalerInactive",
    "CeleryDrainsTooSlowly",
    "CeleryTasksFail",
    "CeleryTasksStall",
    "CeleryTasksDoNotEnd",
    "CeleryWorkersRestart",
    "CeleryWorkerOutOfMemory",
    "CeleryQueueWithoutConsumer",
    "CeleryJobsFail",
    "CeleryJobScalerErrors",
    "CeleryJobsDoNotStart",
)


def unknown_alert(name: str) -> str | None:
    """Why a name is that of no alert."""
    return None if name in ALERTS else f"there is no alert of that name; write one of {', '.join(ALERTS)}."


#: Upper bounds of Flower's runtime histogram in seconds. Flower's own end at 10 s, and tasks take minutes to hours.
RUNTIME_BUCKETS = (0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0)


#: Rules that its pods may break where the user accepts it.
SERVER_RISKS = ("plain-secret", "secret-argument", "version")


@dataclass(frozen=True)
class ServerPod:
    """Pods of Flower and of the exporter."""

    image_pull_policy: str | None = key(
        Choice(("Always", "IfNotPresent", "Never")), "When the image is pulled.", default_text="Kubernetes' own"
    )
    image_pull_secrets: tuple[str, ...] = key(SECRET_NAMES, "Names of pull Secrets.", ())
    env: tuple[dict[str, Any], ...] = key(
        EnvSection("take it from an existing Secret, with valueFrom."),
        "Further environment: a list as Kubernetes writes it, or a dict of name to text. No secrets.",
        (),
    )
    resources: dict[str, Any] = key(
        Kubernetes("ResourceRequirements"),
        "Requests and limits.",
        {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}},
    )
    node_selector: dict[str, str] = key(LABELS, "Labels a node must have.", {})
    tolerations: tuple[dict[str, Any], ...] = key(Kubernetes("[Toleration]"), "Taints that are tolerated.", ())
    affinity: dict[str, Any] | None = key(Kubernetes("Affinity"), "Affinity rules.")
    priority_class_name: str | None = key(DNS_SUBDOMAIN, "Priority class.")
    service_account_name: str | None = key(DNS_SUBDOMAIN, "Service account.")
    labels: dict[str, str] = key(LABELS, "Further labels of the Deployment and the objects beside it.", {})
    annotations: dict[str, str] = key(ANNOTATIONS, "Further annotations of the Deployment.", {})
    pod_labels: dict[str, str] = key(LABELS, "Further labels of the pod.", {})
    pod_annotations: dict[str, str] = key(ANNOTATIONS, "Further annotations of the pod.", {})
    security_context: dict[str, Any] = key(
        Kubernetes("PodSecurityContext"),
        "Merged over the pod's security context, which runs as user and group 1000 and follows Pod Security "
        "C(restricted).",
        {},
    )
    container_security_context: dict[str, Any] = key(
        Kubernetes("SecurityContext"),
        "Merged over the container's security context, whose root file system is read-only.",
        {},
    )
    pod_overrides: dict[str, Any] = key(
        Kubernetes("PodSpec", partial=True),
        "Merged last over the finished pod spec; containers merge by name (V(flower), V(exporter)).",
        {},
    )
    accept_risks: tuple[str, ...] = key(
        ListOf(Choice(SERVER_RISKS), unique=True), "Rules that are accepted for this pod, by id.", ()
    )


@dataclass(frozen=True)
class FlowerSecret:
    """An existing Secret with Flower's credentials."""

    name: str = key(DNS_SUBDOMAIN, "Name of an existing Secret in the fleet's namespace.", "")
    password_key: str = key(SECRET_KEY, "Key that holds the password of basic authentication.", "password")
    cookie_secret_key: str | None = key(SECRET_KEY, "Key that holds the secret of the session cookie (OAuth).")
    client_secret_key: str = key(SECRET_KEY, "Key that holds the client secret (OAuth).", "client_secret")


@dataclass(frozen=True)
class FlowerOauth:
    """Login at another service instead of a password of Flower's own."""

    provider: str | None = key(
        Choice(("google", "github", "gitlab", "okta")), "Where people log in. Required.", default_text="-"
    )
    client_id: str | None = key(Text("a client id", r"\S+", 1024), "Client id, as the provider gave it. Required.")
    client_secret: bool = key(SecretValue(), "Client secret; kept in the Secret that the role makes.", False, "none")
    redirect_uri: str | None = key(
        HTTPS_URL, "Address of Flower's login, as the provider has it: https://<host><url_prefix>/login. Required."
    )
    allow: str | None = key(
        # By a '*' without the dot Flower 2.2 lets nobody in.
        Text("one address, several with '|' between them, or .*@example.org", r"([^\s*]|\.\*)+@[^\s*]+", 4096),
        "E-mail addresses that may enter, as Flower's C(auth) takes them: one, several with C(|) between them, or "
        "C(.*@example.org). Required.",
    )
    domain: str | None = key(
        HOST_NAME, "Host of a GitHub or GitLab of your own.", default_text="github.com, gitlab.com"
    )
    base_url: str | None = key(
        HTTPS_URL, "Okta: address of its authorization server, for example https://example.okta.com/oauth2."
    )
    gitlab_groups: tuple[str, ...] = key(
        ListOf(Text("a group's full path", r"[^\s,]+")), "GitLab: groups of which a person must be a member of one.", ()
    )


@dataclass(frozen=True)
class FlowerIngress:
    """An Ingress that leads to Flower's pages, and neither to its metrics nor to its health check."""

    host: str | None = key(
        HOST_NAME,
        "Host name. Required. Where services have brokers of their own each has a Flower: the first one of the fleet's "
        "broker gets this host, and others C(<name>.<host>).",
    )
    class_name: str | None = key(DNS_SUBDOMAIN, "IngressClass.", default_text="the cluster's default")
    tls: bool = key(Flag(), "Whether the host has TLS. V(false) sends the password over the network as it is.", True)
    tls_secret: str | None = key(
        DNS_SUBDOMAIN, "Secret with the certificate, as you or cert-manager make it.", default_text="<name>-tls"
    )
    annotations: dict[str, str] = key(ANNOTATIONS, "Annotations, for your controller or cert-manager.", {})


@dataclass(frozen=True)
class FlowerRoute:
    """An HTTPRoute of the Gateway API that leads to the same pages."""

    host: str | None = key(HOST_NAME, "Host name, as for C(ingress). Required.")
    gateway: str | None = key(DNS_SUBDOMAIN, "Gateway that the route belongs to. Required.")
    gateway_namespace: str | None = key(DNS_LABEL, "Namespace of the Gateway.", default_text="the fleet's")
    section_name: str = key(DNS_SUBDOMAIN, "Listener of the Gateway. Name one with TLS: it sees the password.", "https")
    annotations: dict[str, str] = key(ANNOTATIONS, "Annotations.", {})


@dataclass(frozen=True)
class FlowerNetworkPolicy:
    """Who may connect to Flower's port."""

    allow_from: tuple[dict[str, Any], ...] = key(
        Kubernetes("[NetworkPolicyPeer]"),
        "Peers beside the fleet's own namespace: those of your ingress controller and of Prometheus.",
        (),
    )


@dataclass(frozen=True)
class FlowerPersistence:
    """Keeps the list of tasks over restarts. Prometheus counters begin anew all the same (Flower 2.2)."""

    size: str = key(Quantity(), "Size of the claim that the role makes.", "1Gi")
    storage_class: str | None = key(DNS_SUBDOMAIN, "StorageClass.", default_text="the cluster's default")
    access_mode: str = key(
        Choice(("ReadWriteOnce", "ReadWriteOncePod", "ReadWriteMany")), "Access mode.", "ReadWriteOnce"
    )
    existing_claim: str | None = key(DNS_SUBDOMAIN, "A claim of your own, instead of one that the role makes.")
    save_seconds: int = key(
        Integer(10, unit=SECONDS), "Time between two saves. Flower saves when it stops as well.", 300
    )


@dataclass(frozen=True)
class Flower:
    """Flower, one per broker."""

    name: str | None = key(
        DNS_LABEL,
        "Name of its objects.",
        default_text="flower; <service>-flower for a broker that only one service has",
    )
    image: str = key(IMAGE, "Image with Flower 2.1 or later.", "docker.io/mher/flower:2.2.0")
    app: str | None = key(
        Text("a Celery app, module or module:attribute", r"[A-Za-z_][\w.]*(:[A-Za-z_][\w.]*)?"),
        "The Celery app, where the image has it as well. Without it Flower knows the queues of the workers that are "
        "up.",
        default_text="none",
    )
    username: str = key(
        Text("a user name without ':' and ','", r"[^\s:,$]+", 128), "User name of basic authentication.", "flower"
    )
    password: bool = key(
        SecretValue(),
        "Password of basic authentication, without a comma; kept in the Secret C(<name>-auth).",
        False,
        "generated once, and kept as it is in the cluster",
    )
    cookie_secret: bool = key(
        SecretValue(),
        "Secret of the session cookie (OAuth).",
        False,
        "generated once, and kept as it is in the cluster",
    )
    secret: FlowerSecret | None = key(
        Section(FlowerSecret, switchable=False), "An existing Secret that holds the credentials."
    )
    oauth: FlowerOauth | None = key(
        Section(FlowerOauth, switchable=False), "Login at another service.", default_text="basic authentication"
    )
    read_only: bool = key(Flag(), "Switches off everything that Flower can do to workers and tasks.", True)
    max_tasks: int = key(Integer(1), "Tasks that it remembers. Each takes about 5 KB.", 10000)
    max_workers: int = key(Integer(1), "Workers that it remembers.", 1000)
    purge_offline_workers: int = key(
        Integer(0, unit=SECONDS),
        "Time after which a worker that is gone, and its metrics, are forgotten. Pods come and go, so it should not be "
        "long.",
        300,
    )
    inspect_timeout: float = key(Number(SECONDS, 0.1), "Time that a page waits for the answers of workers.", 1.0)
    runtime_buckets: tuple[float, ...] = key(
        ListOf(Number(SECONDS), unique=True, minimum=1),
        "Upper bounds of the runtime histogram, ascending.",
        RUNTIME_BUCKETS,
    )
    url_prefix: str | None = key(
        Text(
            "a path without '/' at its ends",
            # An Ingress has no steps of dots.
            r"(?!\.{1,2}(/|$))[A-Za-z0-9._~-]+(/(?!\.{1,2}(/|$))[A-Za-z0-9._~-]+)*",
            255,
        ),
        "Path under which all of its pages are, metrics and health check included.",
        default_text="none",
    )
    persistence: FlowerPersistence | None = key(
        Section(FlowerPersistence), "Keeps the list of tasks over restarts.", default_text="false"
    )
    ingress: FlowerIngress | None = key(
        Section(FlowerIngress, switchable=False), "Exposes it with an Ingress.", default_text="not exposed"
    )
    http_route: FlowerRoute | None = key(
        Section(FlowerRoute, switchable=False), "Exposes it with an HTTPRoute.", default_text="not exposed"
    )
    network_policy: FlowerNetworkPolicy | None = key(
        Section(FlowerNetworkPolicy), "Lets no other client connect to it.", default_text="false"
    )
    extra_params: tuple[str, ...] = key(
        ListOf(Text("one command-line argument")), "Further arguments of C(celery flower).", ()
    )


@dataclass(frozen=True)
class Exporter:
    """celery-exporter, a second source of metrics, one per broker."""

    name: str | None = key(
        DNS_LABEL,
        "Name of its objects.",
        default_text="celery-exporter; <service>-celery-exporter for a broker that only one service has",
    )
    image: str = key(
        IMAGE, "Image of danihodovic/celery-exporter 0.10 or later.", "docker.io/danihodovic/celery-exporter:0.12.2"
    )
    worker_timeout: int = key(
        Integer(1, unit=SECONDS), "Time without a heartbeat after which a worker counts as gone.", 60
    )
    purge_offline_workers: int = key(
        Integer(1, unit=SECONDS), "Time after which the metrics of such a worker are forgotten.", 300
    )
    runtime_buckets: tuple[float, ...] = key(
        ListOf(Number(SECONDS), unique=True, minimum=1),
        "Upper bounds of the runtime histogram, ascending.",
        RUNTIME_BUCKETS,
    )
    extra_params: tuple[str, ...] = key(
        ListOf(Text("one command-line argument")), "Further arguments of the exporter.", ()
    )


@dataclass(frozen=True)
class ServiceMonitor:
    """How Prometheus finds Flower and the exporter."""

    type: str = key(
        Choice(("service_monitor", "pod_monitor", "annotations")),
        "V(service_monitor) and V(pod_monitor) are resources of the Prometheus Operator. V(annotations) puts "
        "C(prometheus.io/scrape) and the like on the Services, for a Prometheus that goes by them.",
        "service_monitor",
    )
    labels: dict[str, str] = key(
        LABELS,
        "Further labels, such as the one by which your Prometheus selects monitors (C(release: prometheus)).",
        {},
    )
    interval: str = key(DURATION, "Time between two scrapes.", "30s")
    scrape_timeout: str | None = key(DURATION, "Time that a scrape may take.", default_text="Prometheus' own")
    drop_producers: bool = key(
        Flag(),
        "Drop the series of processes that send tasks, C(gen<pid>@<host>). Each process has its own, so they grow "
        "without bound.",
        True,
    )
    relabelings: tuple[dict[str, Any], ...] = key(
        ListOf(Relabeling()), "Further relabelings of the target, as the Prometheus Operator writes them.", ()
    )
    metric_relabelings: tuple[dict[str, Any], ...] = key(
        ListOf(Relabeling()), "Further relabelings of the series, as the Prometheus Operator writes them.", ()
    )


@dataclass(frozen=True)
class PrometheusRule:
    """Alerts. Their thresholds are keys of the variants."""

    labels: dict[str, str] = key(
        LABELS, "Further labels of the object, such as the one by which your Prometheus selects rules.", {}
    )
    alert_labels: dict[str, str] = key(
        MapOf(LABEL_NAME, Text("text", r".+", 1024)), "Further labels of every alert, such as C(team: learning).", {}
    )
    runbook_url: str = key(
        Text("a URL", r"https?://\S+", 2048),
        "Page that alerts link to; the name of the alert in lower case follows after C(#).",
        "https://github.com/queueops/celery/blob/main/docs/alerts.md",
    )
    severities: dict[str, str] = key(
        MapOf(Text("the name of an alert"), Choice(("critical", "warning", "info", "none")), unknown_alert),
        "Alert to severity, over the defaults. V(none) leaves the alert out.",
        {},
    )
    interval: str | None = key(DURATION, "Time between two evaluations.", default_text="Prometheus' own")


@dataclass(frozen=True)
class Dashboard:
    """The Grafana dashboard."""

    delivery: str = key(
        Choice(("config_map", "grafana_dashboard", "file")),
        "V(config_map) for a Grafana with a sidecar, V(grafana_dashboard) for the Grafana operator, V(file) writes the "
        "JSON for an import by hand.",
        "config_map",
    )
    uid: str | None = key(
        Text("8 to 40 letters, digits, '-' and '_'", r"[A-Za-z0-9_-]{8,40}"),
        "Id of the dashboard in Grafana.",
        default_text="made of the fleet's name, and always the same",
    )
    title: str | None = key(Text("text", r".+", 200), "Title.", default_text="Celery workers: <fleet>")
    datasource: str | None = key(
        Text("the name of a data source", r".+", 200),
        "Prometheus data source that is chosen at first. Everybody may choose another one on the page.",
        default_text="Grafana's default",
    )
    labels: dict[str, str] = key(
        LABELS,
        "Further labels of the object. Grafana's sidecar looks for one.",
        {},
        "grafana_dashboard: '1' with delivery config_map",
    )
    annotations: dict[str, str] = key(
        ANNOTATIONS,
        "Annotations of the object, such as the folder that the sidecar reads (C(grafana_folder: Celery)).",
        {},
    )
    folder: str | None = key(Text("a folder", r".+", 200), "V(grafana_dashboard): folder in Grafana.")
    instance_selector: dict[str, str] = key(
        LABELS,
        "V(grafana_dashboard): labels of the Grafana that shows it. Cannot be changed later.",
        {},
        "dashboards: grafana",
    )
    file: str | None = key(
        Text("a path", r".+", 1024),
        "V(file): where the JSON goes. A relative path is below the folder in which C(ansible-playbook) was started.",
        default_text="dashboards/<fleet>.json",
    )
    refresh: str = key(DURATION, "Time between two refreshes of the page.", "30s")


@dataclass(frozen=True)
class Alerts:
    """When the alerts of a variant fire."""

    at_maximum_seconds: int = key(Integer(60, unit=SECONDS), "Time in which the backlog grows at the most pods.", 900)
    no_workers_seconds: int = key(
        Integer(60, unit=SECONDS),
        "Time in which there is work and no pod is available. Longer than a pod takes to start.",
        300,
    )
    scaler_errors_seconds: int = key(Integer(60, unit=SECONDS), "Time in which KEDA fails to read the broker.", 300)
    paused_seconds: int = key(Integer(60, unit=SECONDS), "Time that scaling may be paused.", 86400)
    drain_seconds: int | None = key(
        Integer(1, unit=SECONDS),
        "Time that the backlog may need at the present pace.",
        default_text="max_wait_seconds, and no less than longest_task_seconds",
    )
    failure_ratio: float = key(Number("of 1", 0.0, 1.0), "Failed tasks of all that ended in 15 minutes.", 0.1)
    failure_minimum: int = key(Integer(1), "Failed tasks in 15 minutes below which the ratio says nothing.", 5)
    stalled_seconds: int | None = key(
        Integer(60, unit=SECONDS),
        "Time in which workers hold work and no task succeeds.",
        default_text="longest_task_seconds (or time_limit, or 3600) + longest_eta_seconds (or 3600) + 300",
    )
    poison_starts: int | None = key(
        Integer(1),
        "Tasks that started in 15 minutes and did not end.",
        default_text="twice the tasks that all pods can run at once, at least 20",
    )
    restarts: int = key(Integer(1), "Restarts of workers in 15 minutes.", 3)


#: Keys of Flower that hold a secret, which is generated where nobody gives one.
GENERATED_KEYS = ("password", "cookie_secret")
