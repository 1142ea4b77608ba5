# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The model of an inventory: Fleet, Service, Variant and what they are made of.

Everything after the model works on these frozen dataclasses; nothing else reads a raw inventory dict.
To add a key: one line here, one use in the builder that needs it. The key reference follows by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .._schema.keys import Section, key
from .._schema.kubernetes import (
    ANNOTATIONS,
    DNS_LABEL,
    DNS_SUBDOMAIN,
    ENV_NAME,
    IMAGE,
    LABEL_VALUE,
    LABELS,
    QUALIFIED_NAME,
    SECRET_KEY,
    SECRET_NAMES,
    CountOrPercent,
    Kubernetes,
    VolumeSource,
)
from .._schema.scalars import (
    Choice,
    Flag,
    Integer,
    ListOf,
    MapOf,
    Number,
    Plain,
    Text,
)
from .._schema.values import (
    OPTIONAL_USER_NAME,
    USER_NAME,
    EnvSection,
    ExtraTriggers,
    PausedWord,
    SecretEnv,
    SecretValue,
)
from .._schema.versions import Versions
from .watching import (
    Alerts,
    Dashboard,
    Exporter,
    Flower,
    PrometheusRule,
    ServiceMonitor,
)

QUEUE = Text("a queue name without white space, ',' and control characters", r"[^\s,\x00-\x1f]+", 255)
SECONDS = "seconds"

#: Celery's execution pools.
POOLS = ("prefork", "threads", "gevent", "eventlet", "solo")

#: kombu 5.7 transports that work is scaled on.
BROKER_TYPES = ("redis", "redis-sentinel", "rabbitmq", "sqs")

HOST = Text("a host name or address", r"[A-Za-z0-9]([-A-Za-z0-9._:]*[A-Za-z0-9])?\.?", 253)


@dataclass(frozen=True)
class SecretReference:
    """Names an existing Secret and the keys in it."""

    name: str = key(DNS_SUBDOMAIN, "Name of an existing Secret in the fleet's namespace.", "")
    url_key: str = key(SECRET_KEY, "Key that holds the complete broker URL, percent-encoded.", "url")
    username_key: str | None = key(
        SECRET_KEY, "Key that holds the user name for the scaler. Leave out if the broker has none."
    )
    password_key: str | None = key(
        SECRET_KEY, "Key that holds the password for the scaler. Leave out if the broker has none."
    )
    sentinel_password_key: str | None = key(SECRET_KEY, "Key that holds the password of the sentinels themselves.")
    tls_key: str | None = key(
        SECRET_KEY, "RabbitMQ with certificates: key that holds the word C(enable), which KEDA asks for."
    )
    access_key_id_key: str | None = key(SECRET_KEY, "Key that holds the AWS access key id (SQS).")
    secret_access_key_key: str | None = key(SECRET_KEY, "Key that holds the AWS secret access key (SQS).")


@dataclass(frozen=True)
class Tls:
    """How the connection to the broker is encrypted, for workers and scaler alike."""

    ca_secret: str | None = key(
        DNS_SUBDOMAIN, "Secret with the CA certificate of the broker. Without it the system's certificates count."
    )
    ca_key: str = key(SECRET_KEY, "Key in O(ca_secret).", "ca.crt")
    certificate_secret: str | None = key(DNS_SUBDOMAIN, "Secret with a client certificate and its private key.")
    certificate_key: str = key(SECRET_KEY, "Key of the certificate in O(certificate_secret).", "tls.crt")
    private_key_key: str = key(SECRET_KEY, "Key of the private key in O(certificate_secret).", "tls.key")
    insecure_skip_verify: bool = key(
        Flag(),
        "Accept any certificate (KEDA's C(unsafeSsl)). Anybody between pod and broker can then read along.",
        False,
    )


@dataclass(frozen=True)
class Management:
    """RabbitMQ's HTTP management API, which tells the scaler what waits and what is being worked on."""

    host: str | None = key(HOST, "Host name of the API.", default_text="the broker's host")
    port: int | None = key(Integer(1, 65535), "Port of the API.", default_text="15672, or 15671 with TLS")
    tls: bool | None = key(Flag(), "Whether the API speaks HTTPS.", default_text="as the broker")


@dataclass(frozen=True)
class ScalerLogin:
    """Credentials of the scaler, where they are not those of the workers."""

    username: str | None = key(USER_NAME, "User name.")
    password: bool = key(SecretValue(), "Password; kept in the Secret that the role makes.", False, "none")
    secret: SecretReference | None = key(
        Section(SecretReference, switchable=False), "An existing Secret that holds the credentials."
    )


@dataclass(frozen=True)
class Broker:
    """The message broker, as workers and scaler reach it. Holds no secret, only where one is."""

    type: str = key(Choice(BROKER_TYPES), "Kind of broker.", "redis")
    host: str = key(
        HOST,
        "Host name of the broker. A name without a dot is a Service of the fleet's namespace.",
        "",
    )
    hosts: tuple[str, ...] = key(
        ListOf(HOST, unique=True, minimum=1),
        "Redis Sentinel: host names of the sentinels, each with C(:port) if wanted.",
        (),
    )
    port: int | None = key(
        Integer(1, 65535),
        "Port of the broker.",
        default_text="6379 for redis, 26379 for redis-sentinel, 5672 for rabbitmq (5671 with TLS)",
    )
    database: int = key(Integer(0, 65535), "Redis database of the queues.", 0)
    virtual_host: str = key(Text("a virtual host"), "RabbitMQ virtual host of the queues.", "/")
    username: str | None = key(OPTIONAL_USER_NAME, "User name. Give the password beside it. Empty is none.")
    password: bool = key(
        SecretValue(),
        "Password. The role puts it into a Secret of its own; it reaches no module, no Deployment and no log. Empty "
        "is none.",
        False,
        "none",
    )
    tls: Tls | None = key(Section(Tls), "Encrypted connection (V(rediss://), V(amqps://)).", default_text="false")
    url: str | None = key(
        # What is wrong with a URL is said by the one that takes it apart, which shows no part of a password.
        Text("a broker URL such as redis://redis:6379/0"),
        "The broker as one URL instead of parts. A password in it is taken out before anything else sees it. Options "
        "after C(?) are read too, and those that have no meaning here are refused by name.",
    )
    secret: SecretReference | None = key(
        Section(SecretReference, switchable=False), "An existing Secret that holds the credentials."
    )
    inject_env: str = key(
        Text("the name of an environment variable, or '' for none", r"|[-._A-Za-z][-._A-Za-z0-9]*"),
        "Environment variable that hands the broker URL to workers. Celery reads E(CELERY_BROKER_URL) before its own "
        "settings. Empty where the app's settings name the broker.",
        "CELERY_BROKER_URL",
    )
    transport_options: dict[str, Any] = key(
        MapOf(Text("an option name"), Plain()),
        "kombu transport options. They replace the app's own as a whole (Celery 5.6), so repeat what the app needs.",
        {},
    )
    priority_steps: tuple[int, ...] | None = key(
        ListOf(Integer(0, 255), unique=True, minimum=1),
        "Redis: the priority steps of the app. Each is a list of its own, and the scaler counts all of them. V([0]) "
        "where no task has a priority saves the scaler three readings per queue.",
        default_text="kombu's: 0, 3, 6, 9",
    )
    sep: str | None = key(
        Text("a separator", r"[\s\S]+", 16),
        "Redis: what stands between queue and step in the name of a list.",
        default_text="kombu's: the characters 0x06 0x16",
    )
    global_keyprefix: str | None = key(
        Text("a prefix", r"[^\x00-\x1f]*", 128),
        "Redis: the prefix that the app gives to every key.",
        default_text="none",
    )
    master_name: str | None = key(Text("a name"), "Redis Sentinel: name of the master.")
    sentinel_username: str | None = key(USER_NAME, "Redis Sentinel: user name for the sentinels themselves.")
    sentinel_password: bool = key(
        SecretValue(), "Redis Sentinel: password of the sentinels themselves; kept in a Secret.", False, "none"
    )
    management: Management = key(
        Section(Management, switchable=False),
        "RabbitMQ: where its management API is.",
        Management(),
        "port 15672 of host",
    )
    queue_type: str = key(
        Choice(("classic", "quorum")), "RabbitMQ: type of the queues, as the app declares them.", "classic"
    )
    delivery_limit: int | None = key(
        Integer(0),
        "RabbitMQ quorum queues: deliveries after which the broker drops a message, as your policy sets it; 0 is "
        "never.",
        default_text="20 (RabbitMQ 4)",
    )
    consumer_timeout: int = key(
        Integer(0, unit=SECONDS),
        "RabbitMQ: C(consumer_timeout) of the server in seconds, after which it takes a message away from its "
        "worker; 0 is never.",
        1800,
    )
    region: str | None = key(Text("an AWS region", r"[a-z0-9-]+"), "SQS: region of the queues.")
    account: str | None = key(
        Text("an AWS account number", r"[0-9]{12}"), "SQS: account of the queues, where it is not the credentials' own."
    )
    endpoint: str | None = key(
        Text(
            "an address without a path such as https://vpce-0a1b.sqs.eu-central-1.vpce.amazonaws.com",
            r"https?://[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?(:[0-9]{1,5})?/?",
        ),
        "SQS: where workers and scaler find it, such as a VPC endpoint or localstack.",
        default_text="AWS's own address of the region",
    )
    pod_identity: bool = key(Flag(), "SQS: KEDA uses the identity of its own pod (C(aws)) instead of keys.", False)
    access_key_id: bool = key(SecretValue(), "SQS: access key id; kept in a Secret.", False, "none")
    secret_access_key: bool = key(SecretValue(), "SQS: secret access key; kept in a Secret.", False, "none")
    scaler: ScalerLogin | None = key(
        Section(ScalerLogin, switchable=False),
        "Credentials of the scaler, which only reads.",
        default_text="those of the workers",
    )
    max_connections: int | None = key(
        Integer(1),
        "Connections that the broker accepts. A fleet that could need more is refused.",
        default_text="not checked",
    )

    #: Name of the Secret that the role makes for the credentials; computed.
    own_secret: str = ""
    #: Namespace of the fleet, in which a name without a dot is a Service.
    namespace: str = ""
    #: Where it was written, and where each of its keys was.
    path: str = "celery_workers_broker"
    written: Mapping[str, str] = field(default_factory=dict)
    #: Whether nothing in it was refused. What follows from a refused value is not checked.
    is_sound: bool = True

    def at(self, name: str) -> str:
        """Where a key was written, or would be."""
        return self.written.get(name, f"{self.path}.{name}")

    def wrote(self, paths: Iterable[str]) -> bool:
        """Whether one of some paths is the broker's or that of one of its keys."""
        own = {self.path, *self.written.values()}
        return any(path == root or path.startswith(f"{root}.") for path in paths for root in own)

    @property
    def is_redis(self) -> bool:
        """Whether queues are Redis lists."""
        return self.type in ("redis", "redis-sentinel")

    @property
    def is_known(self) -> bool:
        """Whether a scaler can find it."""
        return bool(self.host or self.hosts or self.region)

    @property
    def has_own_secret(self) -> bool:
        """Whether the role makes a Secret for it."""
        return (
            self.password
            or self.sentinel_password
            or self.secret_access_key
            or (self.scaler is not None and self.scaler.password)
        )


@dataclass(frozen=True)
class Database:
    """The database that tasks of a service work on."""

    name: str = key(Text("a name"), "Services with the same name share the database.", "default")
    max_connections: int | None = key(
        Integer(1), "Connections that it accepts. A fleet that could need more is refused.", default_text="not checked"
    )


@dataclass(frozen=True)
class Consumption:
    """Which queues a variant takes work from."""

    enabled: bool = key(Flag(), "V(false) takes the variant out of the fleet; prune then deletes what runs.", True)
    adopt: bool | None = key(
        Flag(),
        "What becomes of the Deployment of this name if somebody else made it, such as Tutor's C(lms-worker). V(true) "
        "narrows it to the queues that no other variant serves and scales it, V(false) leaves it alone and counts on "
        "it as a consumer.",
        default_text="a run stops and names it",
    )
    name: str | None = key(
        DNS_LABEL,
        "Name of the Deployment.",
        default_text="<service>-worker, with -<variant> unless the variant is default",
    )
    queues: tuple[str, ...] = key(
        ListOf(QUEUE, unique=True, minimum=1),
        "Queues the variant consumes.",
        (),
        "the service's queue_name template; with adopt, the queues that no other variant serves",
    )
    exclude_queues: tuple[str, ...] = key(
        ListOf(QUEUE, unique=True), "Queues the worker must not take from although the app declares them.", ()
    )


@dataclass(frozen=True)
class Process:
    """How one worker process runs."""

    concurrency: int = key(
        Integer(1, 10000), "Tasks a pod runs at once. Celery's own default is the node's CPU count, never the limit.", 2
    )
    pool: str = key(Choice(POOLS), "Celery's execution pool.", "prefork")
    prefetch_multiplier: int = key(
        Integer(1, 10000), "Messages a worker reserves per slot. Reserved work is hidden from a backlog scaler.", 1
    )
    disable_prefetch: bool = key(
        Flag(),
        "Reserve nothing (Celery 5.6 or later, Redis). Never with early acknowledgement: a killed worker loses work.",
        False,
    )
    optimization: str = key(Choice(("fair", "default")), "Scheduling of the prefork pool.", "fair")
    max_tasks_per_child: int = key(Integer(0), "Tasks after which a prefork child is replaced; 0 is never.", 100)
    max_memory_per_child: int | None = key(
        Integer(0, unit="KiB"),
        "Resident memory after which a prefork child is replaced, checked after a task; 0 is never.",
        default_text="0.85 of an equal share of three quarters of the memory limit",
    )
    time_limit: int | None = key(Integer(1, unit=SECONDS), "A task running longer is killed.", default_text="none")
    soft_time_limit: int | None = key(
        Integer(1, unit=SECONDS), "A task running longer gets SoftTimeLimitExceeded.", default_text="none"
    )
    acks_late: bool | None = key(
        Flag(),
        "Acknowledge after the task, not before. Tasks must then be safe to run twice.",
        default_text="true where in-flight work is tracked, else as the app has it",
    )
    reject_on_worker_lost: bool | None = key(
        Flag(),
        "Requeue the task of a child that was killed. Needs late acknowledgement.",
        default_text="true where in-flight work is tracked, else as the app has it",
    )
    visibility_timeout: int | None = key(
        Integer(1, unit=SECONDS),
        "Redis and SQS: time after which a message that nobody acknowledged goes to another worker. Set where "
        "in-flight work is tracked.",
        default_text="the most of 3600, twice longest_task_seconds (or time_limit; more with prefetch), "
        "longest_eta_seconds + longest_task_seconds, and the grace period",
    )
    soft_shutdown_timeout: int | None = key(
        Integer(0, unit=SECONDS),
        "Time that a stopping worker waits for its tasks before it gives them back (Celery 5.5 or later). Needs late "
        "acknowledgement. 0 waits for them without end.",
        default_text="0, or the grace period less 30 where longest_task_seconds is above that",
    )
    without_gossip: bool = key(Flag(), "No worker-to-worker chatter; it grows with the square of the pods.", True)
    without_mingle: bool = key(Flag(), "No synchronisation at start; a mass scale-up would send N² messages.", True)
    loglevel: str = key(
        Choice(("debug", "info", "warning", "error", "critical", "fatal")), "Log level of the worker.", "info"
    )
    task_events: bool | None = key(
        Flag(),
        "Tell of every task on the broker, which Flower and the exporter listen to. They also switch it on themselves, "
        "but too late for the first tasks of a new pod.",
        default_text="true where Flower or the exporter is enabled, else as the app has it",
    )
    settings: dict[str, Any] = key(
        MapOf(Text("a Celery setting such as task_track_started", r"[a-zA-Z][a-zA-Z0-9]*[._][a-zA-Z0-9_.]+"), Plain()),
        "Celery settings of this variant's workers only, set on their command line over the app's own.",
        {},
    )
    extra_params: tuple[str, ...] = key(
        ListOf(Text("one command-line argument")),
        "Further arguments of C(celery worker), in this order. One that a key of its own exists for replaces that key.",
        (),
    )
    enforce_settings: bool = key(
        Flag(),
        "Start the worker by C(python) from a mounted file, which sets what the command line sets over the app's own "
        "settings. Needed where an app with a namespace (C(namespace='CELERY'), usual with Django) sets late "
        "acknowledgement or transport options itself: these win over a command line (Celery 5.4 to 5.6).",
        False,
    )
    #: Stop a task whose message the broker has given to somebody else (Celery 5.1 and later); computed.
    cancel_on_connection_loss: bool = False


@dataclass(frozen=True)
class Probe:
    """How Kubernetes learns that a worker is up."""

    type: str | None = key(
        Choice(("ping", "heartbeat", "exec", "none")),
        "V(ping) asks the worker through the broker without importing the app. V(heartbeat) reads a file that the "
        "worker touches, costs next to nothing and passes while the broker is down; the worker is then started by "
        "C(python) from a mounted file. V(exec) runs O(command).",
        default_text="ping; none for pool solo, without a broker, with a global_keyprefix, and for Sentinel, SQS and "
        "RabbitMQ with TLS",
    )
    command: tuple[str, ...] = key(ListOf(Text("one argument")), "Command of type V(exec).", ())
    liveness: bool | None = key(
        Flag(),
        "Restart a worker that stops answering. Not with V(ping): a broker outage would restart all workers together.",
        default_text="true for exec, and for heartbeat where the broker's address is known; false for ping",
    )
    startup_seconds: int = key(
        Integer(10, unit=SECONDS),
        "Time a worker has to come up. Above 300 C(progressDeadlineSeconds) of the Deployment grows with it.",
        300,
    )
    period_seconds: int = key(Integer(1, unit=SECONDS), "Time between two liveness checks.", 30)
    timeout_seconds: int = key(Integer(1, unit=SECONDS), "Time one check may take.", 10)
    failures: int = key(Integer(1), "Failed checks in a row after which the container is restarted.", 5)
    heartbeat_seconds: int = key(Integer(10, unit=SECONDS), "Age at which the heartbeat file counts as stale.", 120)
    python: str | None = key(
        Text("a path or name of a program"),
        "Python of the image, for type V(heartbeat), for O(enforce_settings), and for V(ping) where "
        "O(command_prefix) does not end in C(celery).",
        default_text="that of command_prefix where it names one, else python",
    )


@dataclass(frozen=True)
class DisruptionBudget:
    """How many of a variant's pods a node drain may take at once."""

    max_unavailable: int | str | None = key(
        CountOrPercent(), "Pods that may be away.", default_text="1, unless min_available is given"
    )
    min_available: int | str | None = key(CountOrPercent(), "Pods that must stay.")


DEFAULT_RESOURCES: dict[str, Any] = {"requests": {"cpu": "250m", "memory": "512Mi"}, "limits": {"memory": "1Gi"}}
DEFAULT_STRATEGY: dict[str, Any] = {
    "type": "RollingUpdate",
    "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 0},
}


@dataclass(frozen=True)
class Pod:
    """What the pods look like. Values that are Kubernetes' own are taken verbatim."""

    image: str = key(IMAGE, "Image of the app. Required.", "")
    image_pull_policy: str | None = key(
        Choice(("Always", "IfNotPresent", "Never")), "When the image is pulled.", default_text="Kubernetes' own"
    )
    image_pull_secrets: tuple[str, ...] = key(SECRET_NAMES, "Names of pull Secrets.", ())
    working_dir: str | None = key(Text("a path"), "Working directory.", default_text="the image's")
    command_prefix: tuple[str, ...] = key(
        ListOf(Text("one word of a command", r"[^\x00\r\n]+"), minimum=1),
        "Words that start Celery in place of C(celery), such as C([/venv/bin/python, -m, celery]) or C([poetry, run, "
        "celery]); Celery's arguments follow them. Workers, beat, probes and verify go by it.",
        ("celery",),
    )
    pass_app: bool = key(
        Flag(),
        "Whether C(--app) is among the arguments. V(false) where O(command_prefix) knows its app itself, such as "
        "C([sentry, run]).",
        True,
    )
    env: tuple[dict[str, Any], ...] = key(
        EnvSection(),
        "Environment: a list as Kubernetes writes it, or a dict of name to text. Secrets belong into secret_env.",
        (),
    )
    secret_env: dict[str, Any] = key(
        MapOf(ENV_NAME, SecretEnv()),
        "Secret environment: name to value, kept in a Secret that the role makes; or name to C({secret, key}) of "
        "an existing Secret.",
        {},
    )
    env_from: tuple[dict[str, Any], ...] = key(
        Kubernetes("[EnvFromSource]"), "Whole ConfigMaps and Secrets as environment.", ()
    )
    volumes: tuple[dict[str, Any], ...] = key(Kubernetes("[Volume@name]"), "Volumes.", ())
    volume_mounts: tuple[dict[str, Any], ...] = key(
        Kubernetes("[VolumeMount@mountPath]"), "Where the volumes are mounted.", ()
    )
    resources: dict[str, Any] = key(
        Kubernetes("ResourceRequirements"), "Requests and limits. A key set to null is left out.", DEFAULT_RESOURCES
    )
    node_selector: dict[str, str] = key(MapOf(QUALIFIED_NAME, LABEL_VALUE), "Labels a node must have.", {})
    tolerations: tuple[dict[str, Any], ...] = key(Kubernetes("[Toleration]"), "Taints that are tolerated.", ())
    affinity: dict[str, Any] | None = key(Kubernetes("Affinity"), "Affinity rules.")
    topology_spread_constraints: tuple[dict[str, Any], ...] = key(
        Kubernetes("[TopologySpreadConstraint]"),
        "How pods spread. One without labelSelector spreads this variant's pods.",
        (),
    )
    priority_class_name: str | None = key(DNS_SUBDOMAIN, "Priority class.")
    service_account_name: str | None = key(DNS_SUBDOMAIN, "Service account.")
    automount_service_account_token: bool = key(
        Flag(),
        "Whether the pods get a token for the Kubernetes API. Celery needs none; tasks that talk to that API and a "
        "Vault agent do. Identities of a cloud (IRSA, workload identity) have a token of their own.",
        False,
    )
    labels: dict[str, str] = key(LABELS, "Further labels of the Deployment and the objects beside it.", {})
    annotations: dict[str, str] = key(ANNOTATIONS, "Further annotations of the Deployment.", {})
    pod_labels: dict[str, str] = key(LABELS, "Further labels of the pods.", {})
    pod_annotations: dict[str, str] = key(ANNOTATIONS, "Further annotations of the pods.", {})
    pod_security: str = key(
        Choice(("restricted", "baseline", "none")),
        "Pod Security standard that the security contexts follow. Loosen it for an image that must run as root.",
        "restricted",
    )
    security_context: dict[str, Any] = key(
        Kubernetes("PodSecurityContext"),
        "Merged over the pod's security context. A null takes a field out, such as one that OpenShift chooses itself.",
        {},
    )
    container_security_context: dict[str, Any] = key(
        Kubernetes("SecurityContext"), "Merged over the worker container's security context.", {}
    )
    read_only_root_filesystem: bool = key(
        Flag(),
        "Whether the files of the image are read-only (C(readOnlyRootFilesystem)). C(/tmp), which Celery writes to, is "
        "then an emptyDir, unless a volume of yours is mounted there.",
        False,
    )
    init_containers: tuple[dict[str, Any], ...] = key(Kubernetes("[Container@name]"), "Init containers.", ())
    sidecars: tuple[dict[str, Any], ...] = key(Kubernetes("[Container@name]"), "Containers beside the worker.", ())
    termination_grace_period: int = key(
        Integer(1, unit=SECONDS),
        "Time a stopping worker has to finish its tasks before it is killed. The time of a C(preStop) hook is part of "
        "it.",
        600,
        "600, or what longest_task_seconds and a preStop hook ask for",
    )
    lifecycle: dict[str, Any] | None = key(Kubernetes("Lifecycle"), "Lifecycle hooks of the worker container.")
    probe: Probe = key(Section(Probe, word="type"), "How Kubernetes learns that the worker is up.", Probe())
    strategy: dict[str, Any] = key(
        Kubernetes("DeploymentStrategy"),
        "Rollout strategy.",
        DEFAULT_STRATEGY,
        "RollingUpdate, maxSurge 25 %, maxUnavailable 0",
    )
    pdb: DisruptionBudget | None = key(
        Section(DisruptionBudget),
        "PodDisruptionBudget. V(false) for none.",
        DisruptionBudget(),
        "maxUnavailable 1 where two or more pods can run",
    )
    pod_overrides: dict[str, Any] = key(
        Kubernetes("PodSpec", partial=True),
        "Merged last over the finished pod spec; containers merge by name (the worker's is V(worker)).",
        {},
    )
    secret_revision: str | None = key(
        Text("text of at most 63 characters", r".{1,63}"),
        "Any text; pods roll when it changes. For Secrets that the role does not make.",
    )
    #: Name of the Secret that holds the values of secret_env, where variants share one; empty for the usual name.
    shared_secret: str = ""


@dataclass(frozen=True)
class Fallback:
    """What KEDA asks for while it cannot read the broker."""

    failure_threshold: int = key(Integer(0), "Failed readings after which the fallback holds.", 3)
    replicas: int | None = key(Integer(0, 10000), "Replicas in fallback.", default_text="min_replicas, at least 1")
    behavior: str | None = key(
        Choice(("static", "currentReplicas", "currentReplicasIfHigher", "currentReplicasIfLower")),
        "How V(replicas) combines with what runs. All but V(static) need KEDA 2.17.",
        default_text="currentReplicasIfHigher; static where celery_workers_keda_version is below 2.17",
    )


#: Gentle up, slow down: doubling every 15 s outruns image pulls, and each pod that goes ends somebody's task.
#: Both directions are complete, because KEDA compares what it wrote with what the API server completed.
DEFAULT_BEHAVIOR: dict[str, Any] = {
    "scaleUp": {
        "stabilizationWindowSeconds": 30,
        "selectPolicy": "Max",
        "policies": [
            {"type": "Pods", "value": 4, "periodSeconds": 60},
            {"type": "Percent", "value": 100, "periodSeconds": 60},
        ],
    },
    "scaleDown": {
        "stabilizationWindowSeconds": 600,
        "selectPolicy": "Max",
        "policies": [{"type": "Pods", "value": 1, "periodSeconds": 120}],
    },
}


#: Keys of times that mean something on the way from and to zero pods.
ZERO_TIMES = ("polling_interval", "cooldown_period", "initial_cooldown_period")


@dataclass(frozen=True)
class Scaling:
    """How many pods a variant has."""

    replicas: int | None = key(
        Integer(0, 10000), "Pods of a variant without a scaler.", default_text="1 at first, then the number that runs"
    )
    scaler: str | None = key(
        Choice(("none", "keda", "hpa")),
        "Who decides on the number of pods: nobody, KEDA by the queue, or Kubernetes by CPU and memory.",
        default_text="none",
    )
    enable_keda: bool = key(Flag(), "The same as O(scaler) V(keda). Not beside another O(scaler).", False)
    in_flight: bool | None = key(
        Flag(),
        "Whether the scaler sees messages that a worker holds, running ones included. Needs O(idempotent).",
        default_text="true with KEDA where idempotent is true",
    )
    hold: str = key(
        Choice(("slots", "pods")),
        "What in-flight work holds: V(slots) as many pods as its tasks fill, V(pods) no fewer pods than tasks, so "
        "that no busy pod is ever taken.",
        "slots",
        "slots; pods in the profile long",
    )
    min_replicas: int = key(Integer(0, 10000), "Fewest pods.", 0, "0 where the scaler sees in-flight work, else 1")
    max_replicas: int = key(Integer(1, 10000), "Most pods.", 30, "30; 10 for the variant default")
    list_length: int = key(
        Integer(1), "Waiting messages per pod.", 40, "40, or what task_seconds and max_wait_seconds ask for"
    )
    activation_list_length: int = key(Integer(0), "Waiting messages above which a variant at zero wakes.", 0)
    polling_interval: int = key(Integer(1, unit=SECONDS), "Time between two readings while at zero pods.", 15)
    cooldown_period: int = key(
        Integer(0, unit=SECONDS),
        "Time without work that the scaler sees after which the variant goes to min_replicas 0.",
        300,
        "300; without sight of in-flight work at least longest_task_seconds",
    )
    initial_cooldown_period: int = key(
        Integer(0, unit=SECONDS), "Time after creation in which it does not go to zero (KEDA 2.14 or later).", 300
    )
    idle_replicas: int | None = key(
        Integer(0, 0), "Pods while nothing waits, below min_replicas; KEDA supports only 0."
    )
    fallback: Fallback | None = key(
        Section(Fallback), "While the broker cannot be read. V(false) for none.", Fallback()
    )
    behavior: dict[str, Any] = key(
        Kubernetes("HorizontalPodAutoscalerBehavior", partial=True),
        "Speed of scaling, merged over the default.",
        {},
        "up: after 30 s, by 4 pods or 100 % a minute; down: after 600 s, 1 pod in 120 s, slower for long tasks",
    )
    cpu_utilization: int | None = key(
        Integer(1, 1000),
        "O(scaler) V(hpa): CPU in percent of the request that pods should use.",
        default_text="80, unless memory_utilization is given",
    )
    memory_utilization: int | None = key(
        Integer(1, 1000), "O(scaler) V(hpa): memory in percent of the request that pods should use."
    )
    paused: str | None = key(
        PausedWord(),
        "V(true) stops scaling, V(scale_in) and V(scale_out) one direction (KEDA 2.18 or later).",
        default_text="false",
    )
    extra_triggers: tuple[dict[str, Any], ...] = key(
        ExtraTriggers(),
        "Further KEDA triggers beside the queues'. The highest demand counts. Types cron, prometheus, cpu and memory "
        "go with every variant, others only where the queues need no formula.",
        (),
    )
    scaled_object_annotations: dict[str, str] = key(ANNOTATIONS, "Further annotations of the ScaledObject.", {})


@dataclass(frozen=True)
class Knowledge:
    """What people know of a variant's work; settings follow from it where they are not given by hand."""

    profile: str | None = key(
        Choice(("fast", "standard", "long")), "A set of defaults for short, ordinary or hour-long tasks."
    )
    task_seconds: float | None = key(Number(SECONDS), "Time an average task takes.")
    longest_task_seconds: float | None = key(Number(SECONDS), "Time the longest task may take.")
    longest_eta_seconds: float | None = key(
        Number(SECONDS, 0.0),
        "Longest ETA, countdown or retry delay a task is sent with. Such tasks leave the queue at once. V(0) says "
        "that there are none.",
    )
    idempotent: bool = key(
        Flag(),
        "Whether every task may run twice. Late acknowledgement, and with it the sight of in-flight work and the way "
        "to 0 pods, depends on it.",
        False,
        "false; true in the preset openedx",
    )
    accept_early_ack_tasks: tuple[str, ...] = key(
        ListOf(Text("a task name"), unique=True), "Tasks that keep early acknowledgement, for verify.", ()
    )
    max_wait_seconds: float = key(Number(SECONDS), "Time a message may wait before more pods should start.", 600.0)
    accept_risks: tuple[str, ...] = key(
        ListOf(Text("a rule id such as invisible-work", r"[a-z][a-z-]*"), unique=True),
        "Rules that are accepted for this variant, by id; their warnings are not shown and their refusals not made.",
        (),
    )


@dataclass(frozen=True)
class Watch:
    """How a variant is watched."""

    alerts: Alerts | None = key(
        Section(Alerts),
        "Thresholds of its alerts. V(false) for none.",
        Alerts(),
    )


@dataclass(frozen=True)
class Beat:
    """The scheduler of a service: always one pod, never inside a worker, never scaled."""

    enabled: bool = key(Flag(), "Whether it runs.", True)
    scheduler: str | None = key(
        Text("a scheduler class, module:Class"), "Scheduler class.", default_text="Celery's own, with a schedule file"
    )
    schedule_file: str = key(
        Text("a path"), "Schedule file of Celery's own scheduler.", "/var/run/celery-beat/schedule"
    )
    schedule_volume: dict[str, Any] = key(
        VolumeSource(),
        "Source of the volume that keeps the schedule file, without a name. A claim keeps it over restarts.",
        {"emptyDir": {}},
    )
    max_interval: int | None = key(Integer(1, unit=SECONDS), "Longest sleep between two looks at the schedule.")
    liveness: bool | None = key(
        Flag(),
        "Restart a scheduler that no longer ticks, which is found by C(celery inspect ping) (Celery 5.7 or later; not "
        "with Sentinel, SQS, a C(global_keyprefix) and RabbitMQ with TLS).",
        default_text="true where celery_workers_celery_version says 5.7 or later",
    )
    loglevel: str = key(Choice(("debug", "info", "warning", "error", "critical", "fatal")), "Log level.", "info")
    extra_params: tuple[str, ...] = key(
        ListOf(Text("one command-line argument")), "Further arguments of C(celery beat).", ()
    )
    resources: dict[str, Any] = key(
        Kubernetes("ResourceRequirements"),
        "Requests and limits.",
        {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "512Mi"}},
    )


def variant_title(service: str, variant: str) -> str:
    """A variant as messages name it."""
    return f"variant {variant} of service {service}"


def titles_of(variants: Sequence[Variant]) -> str:
    """Some variants as messages name them: all while they are few, else the first and how many more."""
    shown = " and ".join(variant.title for variant in variants[:3])
    return shown if len(variants) <= 3 else f"{shown} and {len(variants) - 3} more variants"


@dataclass(frozen=True)
class UnackedKeys:
    """Where kombu's Redis transport keeps what a variant's workers hold.

    The names begin with kombu's own, so that an ACL pattern C(~unacked*) covers them.

    :param place: broker, database and prefix, without credentials.
    """

    hash: str
    index: str
    mutex: str
    place: str

    @property
    def identity(self) -> str:
        """What must stay the same for a worker to find what an earlier one held."""
        return f"{self.place} {self.hash}"


@dataclass(frozen=True)
class Origin:
    """A number that is in force, and the variable that decided on it or the rule that worked it out."""

    name: str
    value: float
    source: str


@dataclass(frozen=True)
class Variant:
    """One worker group of a service."""

    service: str
    name: str
    deployment: str
    queues: tuple[str, ...]
    consumption: Consumption
    process: Process
    pod: Pod
    scaling: Scaling
    knowledge: Knowledge
    watch: Watch = Watch()
    #: Final arguments of the container, and how many tasks they let a pod run at once.
    args: tuple[str, ...] = ()
    slots: int = 1
    #: Messages that a busy pod holds, reserved ones included.
    held: int = 1
    path: str = ""
    #: Keys that the inventory or the preset wrote, and the paths where.
    written_keys: frozenset[str] = frozenset()
    written: frozenset[str] = frozenset()
    #: Where each of its keys was written: key to path.
    paths: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)
    #: Whether the scaler sees what workers hold, and why not.
    sees_in_flight: bool = False
    blind_reason: str = ""
    #: Redis keys of its own for unacknowledged messages; None where it shares the broker's.
    unacked: UnackedKeys | None = None
    #: How settings were worked out, for people.
    sizing: tuple[str, ...] = ()
    #: Where each of its numbers comes from.
    origins: tuple[Origin, ...] = ()
    #: Whether its Deployment is somebody else's, which we narrow and scale.
    adopted: bool = False

    @property
    def title(self) -> str:
        """The variant as messages name it."""
        return variant_title(self.service, self.name)

    def path_of(self, name: str) -> str:
        """Where a key was written; where it would be written if nobody wrote it."""
        return self.paths.get(name, f"{self.path}.{name}")

    def written_at(self, *names: str) -> str:
        """Where the inventory wrote the first of some keys that it wrote; where it would stand otherwise."""
        for name in names:
            found = [path for path in self.written if path.startswith("celery_workers_") and path.endswith(f".{name}")]
            if found:
                return min(found)
        return f"{self.path}.{names[0]}"

    @property
    def has_scaler(self) -> bool:
        """Whether something else than us decides on the number of pods."""
        return self.scaling.scaler in ("keda", "hpa")

    @property
    def uses_keda(self) -> bool:
        """Whether KEDA scales it by its queues."""
        return self.scaling.scaler == "keda"

    @property
    def acknowledges_late(self) -> bool:
        """Whether messages are acknowledged after the task, as far as the inventory says so."""
        return self.process.acks_late is True

    @property
    def goes_to_zero(self) -> bool:
        """Whether its scaler may leave no pod."""
        return self.uses_keda and (self.scaling.min_replicas == 0 or self.scaling.idle_replicas == 0)

    @property
    def times_in_force(self) -> frozenset[str]:
        """Keys of times that KEDA goes by: those of the way to zero only where it may go there (2.20)."""
        if self.goes_to_zero:
            return frozenset(ZERO_TIMES)
        cached = any(trigger.get("useCachedMetrics") for trigger in self.scaling.extra_triggers)
        return frozenset({"polling_interval"} if self.uses_keda and cached else ())

    @property
    def most_pods(self) -> int:
        """Pods that it can have."""
        return self.scaling.max_replicas if self.has_scaler else (self.scaling.replicas or 1)


@dataclass(frozen=True)
class Service:
    """A Celery app with its own image and settings."""

    name: str
    app: str
    variants: tuple[Variant, ...]
    broker: Broker | None
    beat: Beat | None
    #: Pod keys written on the service itself; beat takes them.
    pod: Pod
    known_queues: tuple[str, ...] = ()
    database: Database = field(default_factory=Database)
    path: str = ""
    #: Deployments of which the first that exists is what the workers are made like; empty for none.
    inherits: tuple[str, ...] = ()
    #: Variants whose Deployment is left to somebody else. They consume, and nothing of ours is made for them.
    left: tuple[Variant, ...] = ()
    known_tasks: tuple[str, ...] = ()
    #: Where each key that its variants share was written: key to path.
    paths: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)

    def path_of(self, name: str) -> str:
        """Where a key that its variants share was written; where it would be written if nobody wrote it."""
        return self.paths.get(name, f"{self.path}.{name}")


@dataclass(frozen=True)
class ServiceKeys:
    """Keys of a service beside the keys of a variant, which stand here as defaults of all its variants."""

    app: str | None = key(
        Text("a Celery app, module or module:attribute", r"[A-Za-z_][\w.]*(:[A-Za-z_][\w.]*)?"),
        "The Celery app.",
        default_text="the service's name",
    )
    queue_name: str = key(
        Text(
            "a template with {variant}, and {service} if wanted",
            r"(?=.*\{variant\})([^\s,{}\x00-\x1f]|\{service\}|\{variant\})+",
        ),
        "Queue of a variant that names none.",
        "{variant}",
    )
    known_queues: tuple[str, ...] = key(
        ListOf(QUEUE, unique=True), "Queues the app sends to. Each must have a consumer, or the run fails.", ()
    )
    known_tasks: tuple[str, ...] = key(
        ListOf(Text("a task name"), unique=True),
        "Names of tasks beside those that the preset knows, so that a mistyped one in a route is found.",
        (),
    )
    inherit_from: str | None = key(
        DNS_SUBDOMAIN,
        "A Deployment that the workers are made like: image, environment, volumes, security contexts, pull Secrets, "
        "service account and scheduling are read from it at each run, and single keys written here go over them.",
        default_text="nothing; in the preset openedx, where no image is written, <service>-worker or else <service>",
    )
    beat: Beat | None = key(Section(Beat), "The scheduler.", default_text="false")
    database: Database = key(
        Section(Database, switchable=False), "The database of its tasks.", Database(), "not checked"
    )


@dataclass(frozen=True)
class Route:
    """Where one producer sends a task. The queue is chosen where a task is sent, never where it is run.

    :param producer: service whose processes send the task and must load the route.
    :param setting: Django setting that decides, because the code names a queue itself (Open edX); empty where an entry
        of the routing table does.
    :param is_default: whether the app routes it so by itself.
    :param path: where the inventory wrote it; empty for a route of the preset.
    """

    producer: str
    task: str
    queue: str
    setting: str = ""
    is_default: bool = False
    reason: str = ""
    path: str = ""


@dataclass(frozen=True)
class Server:
    """A Flower or an exporter: one process that listens to one broker, however many services share it.

    :param part: C(flower) or C(exporter).
    :param services: names of the services on that broker.
    :param is_first: whether it listens to the fleet's own broker, or to the only one there is.
    """

    part: str
    name: str
    broker: Broker
    services: tuple[str, ...]
    pod: Pod
    is_first: bool = True


@dataclass(frozen=True)
class Monitoring:
    """What watches a fleet. A part that is None is switched off."""

    flower: Flower | None = None
    exporter: Exporter | None = None
    service_monitor: ServiceMonitor | None = None
    prometheus_rule: PrometheusRule | None = None
    dashboard: Dashboard | None = None
    flowers: tuple[Server, ...] = ()
    exporters: tuple[Server, ...] = ()
    #: The pods of Flower and of the exporter by part, also where there is no broker that they could run beside.
    pods: Mapping[str, Pod] = field(default_factory=dict, compare=False, repr=False)
    #: Where each key of a part was written: C(flower.image) to its path.
    paths: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)

    def path_of(self, part: str, name: str) -> str:
        """Where a key of a part was written; where it would be written if nobody wrote it."""
        return self.paths.get(f"{part}.{name}", f"celery_workers_{part}.{name}")

    def is_enabled(self, part: str) -> bool:
        """Whether a part is switched on."""
        return getattr(self, part) is not None

    @property
    def servers(self) -> tuple[Server, ...]:
        """All processes that have metrics."""
        return (*self.flowers, *self.exporters)


@dataclass(frozen=True)
class Fleet:
    """Everything that one inventory host describes: one namespace of one cluster."""

    name: str
    namespace: str
    services: tuple[Service, ...]
    warnings: tuple[str, ...] = field(default=())
    versions: Versions = field(default_factory=Versions)
    routes: tuple[Route, ...] = ()
    #: How producers get their routes.
    routing_delivery: str = "none"
    #: What becomes of other autoscalers on our Deployments: fail, transfer or remove.
    autoscaler_conflict: str = "fail"
    #: Whether objects of somebody else that have our names become ours.
    take_over: bool = False
    monitoring: Monitoring = Monitoring()

    @property
    def variants(self) -> tuple[Variant, ...]:
        """All variants, in the order of the inventory."""
        return tuple(variant for service in self.services for variant in service.variants)

    def service_of(self, variant: Variant) -> Service:
        """The service a variant belongs to."""
        return next(service for service in self.services if service.name == variant.service)


#: Keys of a broker that hold a secret, which the role keeps in one Secret.
BROKER_SECRETS = ("password", "sentinel_password", "access_key_id", "secret_access_key")
