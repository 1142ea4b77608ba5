# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys of a variant, and of beat: types, defaults and the sentences of the key reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .._schema.keys import Section, key
from .._schema.kubernetes import Kubernetes
from .._schema.kubernetes_values import (
    ANNOTATIONS,
    DNS_LABEL,
    DNS_SUBDOMAIN,
    ENV_NAME,
    IMAGE,
    LABEL_VALUE,
    LABELS,
    QUALIFIED_NAME,
    SECRET_NAMES,
    CountOrPercent,
)
from .._schema.layers import SHORT_FORMS
from .._schema.scalars import (
    SECONDS,
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
    EnvSection,
    ExtraTriggers,
    PausedWord,
    SecretEnv,
)
from .budgets import Budget
from .probes import Probe
from .schedules import ScheduleWindow
from .watching import (
    Alerts,
)

QUEUE = Text("a queue name without white space, ',' and control characters", r"[^\s,\x00-\x1f]+", 255)
#: Celery's execution pools.
POOLS = ("prefork", "threads", "gevent", "eventlet", "solo")


@dataclass(frozen=True)
class Consumption:
    """Which queues a variant takes work from."""

    enabled: bool = key(Flag(), "V(false) takes the variant out of the fleet; prune then deletes what runs.", True)
    adopt: bool | None = key(
        Flag(),
        "What becomes of the Deployment of this name if another tool made it, such as Tutor's C(lms-worker). V(true) "
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
        "Redis and SQS: time after which an unacknowledged message goes to another worker. Set where "
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
    max_starts: int | None = key(
        Integer(2, 20),
        "Starts of a task after which its message goes to the queue C(<queue>.quarantine), if each of them was lost: "
        "its process was killed. What ends, fails or is given back in good order is not counted, but RabbitMQ counts "
        "what is given back. The worker is then started by C(python) from a mounted file. Redis, Sentinel, and quorum "
        "queues of RabbitMQ with one slot.",
        default_text="none: a task that kills its process starts again for ever",
    )
    #: What the keys begin with that count lost starts in Redis; computed.
    starts_key: str = ""
    #: Stop a task whose message the broker has given to somebody else (Celery 5.1 and later); computed.
    cancel_on_connection_loss: bool = False


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
    probe: Probe = key(
        Section(Probe, word=SHORT_FORMS["probe"]), "How Kubernetes learns that the worker is up.", Probe()
    )
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


#: Up at once, in steps: a window would let the smallest wish in it count, and doubling every 15 s outruns image pulls.
#: Slow down: each pod that goes may end a task.
#: Both directions are complete, because KEDA compares what it wrote with what the API server completed.
DEFAULT_BEHAVIOR: dict[str, Any] = {
    "scaleUp": {
        "stabilizationWindowSeconds": 0,
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
        "What decides on the number of pods: nothing, KEDA by the queue, or Kubernetes by CPU and memory.",
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
        "slots; pods in the profile long with one slot",
    )
    idle_first: bool = key(
        Flag(),
        "Whether its pods tell Kubernetes which of them are idle, so that these go first when their number falls. Each "
        "marks itself and may change nothing else. Left off where the cluster does not let it: it needs Kubernetes "
        "1.30, and an account that may make the policy.",
        False,
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
        "300; start_seconds where longest_task_seconds is known and in-flight work is seen; without that sight at "
        "least longest_task_seconds",
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
        "up: at once, by 4 pods or 100 % a minute, with task_seconds each 30 s; down: after 600 s, 1 pod in 120 s, "
        "slower for long tasks; with KEDA on Kubernetes 1.35 or later scaleUp.tolerance '0'",
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
    schedule: tuple[ScheduleWindow, ...] = key(
        ListOf(Section(ScheduleWindow, switchable=False)),
        "Times with limits of their own, with KEDA: fewest pods in office hours, no new ones at night.",
        (),
    )
    budget: Budget | None = key(
        Section(Budget),
        "Pods that variants of this fleet share, with KEDA. V(false) for none.",
        default_text="none",
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
    start_seconds: float | None = key(
        Number(SECONDS),
        "Time a new pod takes to work, with its node and its image. Pods without work go after that time where the "
        "scaler sees in-flight work and the grace period covers the longest task.",
        default_text="60; at least two polling_interval",
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
    max_wait_seconds: float = key(
        Number(SECONDS),
        "Time a message may wait before more pods should start. Where it is written, and C(celery_workers_prometheus) "
        "as well, KEDA goes by what is measured; O(list_length) wins over it.",
        600.0,
    )
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
