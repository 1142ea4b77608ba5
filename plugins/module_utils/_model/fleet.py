# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The model of an inventory: Fleet, Service, Variant and what they are made of.

Everything after the model works on these frozen dataclasses; nothing else reads a raw inventory dict.
To add a key: one line here, one use in the builder that needs it. The key reference follows by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from .._schema.versions import Versions
from .broker import Broker, UnackedKeys
from .job_keys import Jobs
from .names import scaled_object_name
from .prometheus import Prometheus
from .service_keys import Beat, Database
from .variant_keys import ZERO_TIMES, Consumption, Knowledge, Pod, Process, Scaling, Watch
from .watching import (
    Dashboard,
    Exporter,
    Flower,
    PrometheusRule,
    ServiceMonitor,
)


def variant_title(service: str, variant: str) -> str:
    """A variant as messages name it."""
    return f"variant {variant} of service {service}"


def titles_of(variants: Sequence[Variant]) -> str:
    """Some variants as messages name them: all while they are few, else the first and how many more."""
    shown = " and ".join(variant.title for variant in variants[:3])
    return shown if len(variants) <= 3 else f"{shown} and {len(variants) - 3} more variants"


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
    watch: Watch = field(default_factory=Watch)
    jobs: Jobs = field(default_factory=Jobs)
    #: Final arguments of the container, and how many tasks they let a pod run at once.
    args: tuple[str, ...] = ()
    slots: int = 1
    #: Messages that a busy pod holds, reserved ones included.
    held: int = 1
    path: str = ""
    #: Keys that the inventory or the preset wrote, and the paths where.
    written_keys: frozenset[str] = frozenset()
    written: frozenset[str] = frozenset()
    #: Paths of the keys of its probe.
    probe_written: frozenset[str] = frozenset()
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
    #: What has measured its tasks for its scaler, C(flower) or C(exporter); empty where list_length decides.
    measured_by: str = ""

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
        """Whether something else than us decides on the number of pods of its Deployment."""
        return self.scaling.scaler in ("keda", "hpa") and not self.runs_as_jobs

    @property
    def uses_keda(self) -> bool:
        """Whether KEDA scales its Deployment by its queues."""
        return self.is_counted and not self.runs_as_jobs

    @property
    def is_counted(self) -> bool:
        """Whether KEDA decides by its queues how many of its workers run, as pods of a Deployment or as Jobs."""
        return self.scaling.scaler == "keda"

    @property
    def runs_as_jobs(self) -> bool:
        """Whether its workers run as Jobs, and not as pods of a Deployment."""
        return self.jobs.are_used

    @property
    def keda_object(self) -> tuple[str, str] | None:
        """Kind and name of the object by which KEDA decides on its workers; None if it does not."""
        if self.runs_as_jobs:
            return "ScaledJob", self.deployment
        return ("ScaledObject", scaled_object_name(self.deployment)) if self.uses_keda else None

    @property
    def worker_object(self) -> tuple[str, str]:
        """Kind and name of what starts its workers."""
        return ("ScaledJob" if self.runs_as_jobs else "Deployment"), self.deployment

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
        if self.runs_as_jobs:
            return frozenset({"polling_interval"})
        if self.goes_to_zero:
            return frozenset(ZERO_TIMES)
        cached = any(trigger.get("useCachedMetrics") for trigger in self.scaling.extra_triggers)
        return frozenset({"polling_interval"} if self.uses_keda and cached else ())

    @property
    def reserve(self) -> int:
        """Pods of its budget that are kept for it. Those that it is promised elsewhere are among them."""
        budget, floors = self.scaling.budget, [window.floor for window in self.scaling.schedule]
        return max([1 if budget is None else budget.reserve, self.scaling.min_replicas, *floors])

    @property
    def most_pods(self) -> int:
        """Pods that it can have."""
        scaled = self.has_scaler or self.runs_as_jobs
        return self.scaling.max_replicas if scaled else (self.scaling.replicas or 1)


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
    #: Rules that are accepted for these pods, by part.
    accepted: Mapping[str, frozenset[str]] = field(default_factory=dict, compare=False, repr=False)
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
    #: What scalers ask for run times and arrivals; None for nothing.
    prometheus: Prometheus | None = None

    @property
    def variants(self) -> tuple[Variant, ...]:
        """All variants, in the order of the inventory."""
        return tuple(variant for service in self.services for variant in service.variants)

    def service_of(self, variant: Variant) -> Service:
        """The service a variant belongs to."""
        return next(service for service in self.services if service.name == variant.service)
