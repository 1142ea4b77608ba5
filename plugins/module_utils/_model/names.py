# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names and labels of the Kubernetes objects that the collection makes.

The names are those of tutor-contrib-celery, so that its sites are taken over in place. Nothing is hashed or cut:
a name that is too long is the user's to shorten.
"""

from __future__ import annotations

from .._schema.kubernetes_values import OWN_DOMAIN
from .broker import UnackedKeys

FLEET_LABEL = f"{OWN_DOMAIN}fleet"
SERVICE_LABEL = f"{OWN_DOMAIN}service"
VARIANT_LABEL = f"{OWN_DOMAIN}variant"
COMPONENT_LABEL = f"{OWN_DOMAIN}component"
#: Labels by which pods of a variant are found.
OWN_LABELS = (FLEET_LABEL, SERVICE_LABEL, VARIANT_LABEL)
#: On a ScaledObject: what it does, in words.
FORMULA_ANNOTATION = f"{OWN_DOMAIN}formula"
#: On a ScaledObject: who paused it, why and until when, as JSON.
PAUSE_ANNOTATION = f"{OWN_DOMAIN}pause"
#: On a ScaledJob: that a run has paused it because it was to go, so that a run that keeps it takes the pause away.
GOING_ANNOTATION = f"{OWN_DOMAIN}going"
#: On a Deployment: who drained it, why and since when, and which of its pods were told to take nothing, as JSON.
DRAINED_ANNOTATION = f"{OWN_DOMAIN}drained"
#: On a ScaledObject: the floor that it has for some time, who asked for it, why and until when, as JSON.
BOOST_ANNOTATION = f"{OWN_DOMAIN}boost"

#: Annotation of a pod template: what the Secrets it reads looked like when it was made.
SECRETS_ANNOTATION = f"{OWN_DOMAIN}secret-versions"
#: Annotation of a pod template: the content of the ConfigMaps it reads.
CONFIG_ANNOTATION = f"{OWN_DOMAIN}config-hash"
#: Annotation of a Secret of ours: the names of its keys, so that one that is not wanted any more can be taken away.
KEYS_ANNOTATION = f"{OWN_DOMAIN}keys"
#: Annotation of a Deployment: where its workers keep what they hold, which must not change while they hold something.
UNACKED_ANNOTATION = f"{OWN_DOMAIN}unacked"
REVISION_ANNOTATION = f"{OWN_DOMAIN}secret-revision"

#: Label of a Deployment that somebody else made and that a fleet narrows and scales: the fleet's name. It must not have
#: the fleet's own label, by which objects are found to be deleted.
ADOPTED_LABEL = f"{OWN_DOMAIN}adopted-by"
#: Annotation of such a Deployment: what it was before, as JSON.
ADOPTION_ANNOTATION = f"{OWN_DOMAIN}adoption"

#: Component of a worker that is left on an old key until that is empty.
DRAIN = "drain"
#: Label of such a worker: the variant whose key it looks after. It must not have that variant's own label.
DRAINS_LABEL = f"{OWN_DOMAIN}drains"

#: Label of what belongs to one Flower or exporter: its name.
SERVER_LABEL = f"{OWN_DOMAIN}server"

#: Triggers that read what Prometheus has of a variant's tasks: the mean run time in seconds, and those that came.
RUN_TIME, RECEIVED = MEASURES = ("measured_seconds", "measured_received")

#: The worker's own container, which pod_overrides and kubectl logs name.
WORKER_CONTAINER, BEAT_CONTAINER = "worker", "beat"
#: Volumes that the collection mounts itself.
OWN_VOLUMES = (
    "celery-heartbeat",
    "celery-schedule",
    "celery-broker-tls",
    "celery-routes",
    "celery-tmp",
    "celery-launcher-token",
)

#: Components that watch the fleet. They hold no work, so they go when they are switched off.
FLOWER, EXPORTER, MONITORING = "flower", "exporter", "monitoring"
WATCHING = (FLOWER, EXPORTER, MONITORING)
#: Component of the account of a fleet and of its roles.
RIGHTS = "rights"
#: Component of what lets workers mark their own pods, so that idle ones go first.
IDLE_FIRST = "idle-first"
#: Component of the ConfigMap that keeps what runs have done.
HISTORY = "history"

#: KEDA 2.20 refuses a ScaledObject whose HPA C(keda-hpa-<name>) would have more than 63 characters.
LONGEST_SCALED_OBJECT = 54
#: Pods are named after their Deployment, and a host name has at most 63 characters.
LONGEST_DEPLOYMENT = 63
#: A Job adds a dash and five characters to the name of its ScaledJob, and its pod as many to the Job's.
LONGEST_SCALED_JOB = 51


def deployment_name(service: str, variant: str) -> str:
    """C(<service>-worker) for the variant C(default), else C(<service>-worker-<variant>)."""
    name = f"{service}-worker" if variant == "default" else f"{service}-worker-{variant}"
    return name.replace("_", "-")


def beat_name(service: str) -> str:
    """Deployment of a service's scheduler."""
    return f"{service}-beat".replace("_", "-")


def scaled_object_name(deployment: str) -> str:
    """ScaledObject of a Deployment."""
    return f"{deployment}-scaledobject"


def pod_autoscaler_name(deployment: str) -> str:
    """HorizontalPodAutoscaler of a Deployment that KEDA does not scale."""
    return f"{deployment}-hpa"


def trigger_authentication_name(service: str) -> str:
    """TriggerAuthentication of a service's scalers."""
    return f"{service}-worker-trigger-auth".replace("_", "-")


def prometheus_authentication_name(fleet: str) -> str:
    """TriggerAuthentication of what a fleet's scalers ask Prometheus. A service's own has another end."""
    return f"{fleet}-celery-prometheus-login"


def drain_name(deployment: str) -> str:
    """Deployment that looks after what a Deployment's workers held under an old key."""
    return f"{deployment}-{DRAIN}"


def heartbeat_name(service: str) -> str:
    """ConfigMap with the files of the heartbeat probe."""
    return f"{service}-worker-heartbeat".replace("_", "-")


def idle_first_name(fleet: str) -> str:
    """ServiceAccount, Role and RoleBinding by which workers mark their own pods."""
    return f"{fleet}-celery-idle-first"


def idle_first_policy_name(namespace: str, fleet: str) -> str:
    """The policy that keeps workers to that, and its binding. These are in no namespace; a dot is in none's name."""
    return f"{namespace}.{idle_first_name(fleet)}"


def secret_env_name(deployment: str) -> str:
    """Secret with the secret environment of one Deployment."""
    return f"{deployment}-env"


def server_name(part: str, service: str = "") -> str:
    """Objects of a Flower or an exporter: C(flower), or C(<service>-flower) for a broker that only one service has."""
    plain = {FLOWER: "flower", EXPORTER: "celery-exporter"}[part]
    return f"{service}-{plain}".replace("_", "-") if service else plain


def flower_secret_name(name: str) -> str:
    """Secret with the credentials of a Flower."""
    return f"{name}-auth"


def flower_claim_name(name: str) -> str:
    """Claim that keeps the list of tasks of a Flower."""
    return f"{name}-data"


def settings_name(name: str) -> str:
    """ConfigMap with the settings of a Flower or an exporter."""
    return f"{name}-settings"


def rule_name(fleet: str) -> str:
    """PrometheusRule of a fleet."""
    return f"{fleet}-celery-alerts"


def dashboard_name(fleet: str) -> str:
    """ConfigMap or GrafanaDashboard of a fleet."""
    return f"{fleet}-celery-dashboard"


def history_name(fleet: str) -> str:
    """ConfigMap that keeps what runs have done to a fleet."""
    return f"{fleet}-celery-history"


def attached_names(deployment: str) -> tuple[str, ...]:
    """Names of what belongs to one Deployment alone, beside those that are its own."""
    return scaled_object_name(deployment), pod_autoscaler_name(deployment), secret_env_name(deployment)


def fleet_broker_secret_name(fleet: str) -> str:
    """Secret with the credentials of the fleet's broker."""
    return f"{fleet}-celery-broker"


def service_broker_secret_name(service: str) -> str:
    """Secret with the credentials of a broker that only one service uses."""
    return f"{service}-worker-broker".replace("_", "-")


def ownership_labels(fleet: str, service: str = "", variant: str = "", component: str = "") -> dict[str, str]:
    """Our own labels: they say whose an object is, select pods, and are what prune goes by."""
    labels = {
        FLEET_LABEL: fleet,
        SERVICE_LABEL: service,
        VARIANT_LABEL: variant,
        COMPONENT_LABEL: component,
    }
    return {name: value for name, value in labels.items() if value}


def unacked_annotation(keys: UnackedKeys | None) -> dict[str, str]:
    """Says on what starts workers where these keep what they hold, for the run that would change it."""
    return {UNACKED_ANNOTATION: keys.identity} if keys is not None else {}


#: What says it of an object who looks after it.
MANAGER = "queueops.celery"


def people_labels(fleet: str, name: str, component: str) -> dict[str, str]:
    """Recommended labels, for people and their dashboards. Nothing of ours selects by them."""
    labels = {
        "app.kubernetes.io/name": name,
        # Not the bare fleet: Argo CD takes an object whose instance has the name of an Application for its own.
        "app.kubernetes.io/instance": f"{fleet}-celery",
        "app.kubernetes.io/component": component,
        "app.kubernetes.io/part-of": fleet,
        "app.kubernetes.io/managed-by": MANAGER,
    }
    # A name may be longer than a label may.
    return {label: value for label, value in labels.items() if len(value) <= 63}
