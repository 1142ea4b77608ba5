# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a fleet is, as data: what a page shows and what a program reads."""

from __future__ import annotations

from dataclasses import dataclass, is_dataclass
from typing import Any

from .._model.history import Record, last_deploy, record_from

#: How much a problem matters: work is lost or not done, work is late or at risk, something is to be known.
CRITICAL, WARNING, NOTE = "critical", "warning", "note"
_RANK = {CRITICAL: 0, WARNING: 1, NOTE: 2}
#: Who told what a queue holds.
BY_KEDA, BY_POD, BY_BROKER, BY_NOBODY = "keda", "pod", "broker", "unknown"


@dataclass(frozen=True)
class Problem:
    """What is wrong, and what to do about it.

    :param rule: id, under which docs/status-problems.md explains it.
    :param where: service and variant; empty for what the whole fleet has.
    """

    rule: str
    severity: str
    where: str
    what: str
    fix: str

    @property
    def sentence(self) -> str:
        """All of it in one sentence."""
        about = f"{self.where}: " if self.where else ""
        return f"{about}{self.what}: {self.fix}"

    @property
    def rank(self) -> int:
        """The worst first."""
        return _RANK[self.severity]


@dataclass(frozen=True)
class Work:
    """What the queues of a variant hold, and its workers. What is not known is None, and never 0.

    :param in_flight: messages that workers have and have not acknowledged.
    :param running: tasks that run now; told by pods only.
    :param held_for_eta: tasks that workers hold until their time has come; told by pods only.
    :param reason: why something is not known.
    """

    waiting: int | None = None
    in_flight: int | None = None
    running: int | None = None
    held_for_eta: int | None = None
    source: str = BY_NOBODY
    reason: str = ""


@dataclass(frozen=True)
class Formula:
    """What a scaler makes of its readings.

    :param text: the formula with its numbers in place.
    :param result: what comes out; None where a reading is not known.
    :param wants: pods that follow from it, within the limits.
    :param unlimited: pods that would follow without limits.
    """

    text: str = ""
    result: float | None = None
    wants: int | None = None
    unlimited: int | None = None


@dataclass(frozen=True)
class Pods:
    """The pods of a variant.

    :param wanted: pods that its Deployment asks for.
    :param since: when that number was set.
    :param set_by: who set it, as the server keeps it.
    :param failed_jobs: Jobs of which a pod has failed, as far as they are kept.
    :param last_end: when a container ended last that should not have.
    :param unready_since: when the oldest pod was made that is not ready.
    :param fault: why one does not come up, and what kind of fault that is.
    """

    ready: int = 0
    wanted: int = 0
    min: int = 0
    max: int = 0
    since: str | None = None
    set_by: str | None = None
    restarts: int = 0
    oom_kills: int = 0
    failed_jobs: int = 0
    last_end: str | None = None
    oldest: str | None = None
    unready_since: str | None = None
    fault: str = ""
    fault_kind: str = ""


@dataclass(frozen=True)
class Scaler:
    """What decides on the number of pods.

    :param kind: C(keda), C(hpa) or C(none).
    :param state: C(active), C(idle), C(paused), C(scale-in paused), C(scale-out paused), C(fallback), C(failing),
        C(missing), C(starting), C(unknown) or C(fixed).
    :param since: when it came to that, as far as the server tells.
    :param reason: in the words of KEDA or Kubernetes.
    :param paused_by: who paused it.
    :param pause: what the playbook pause has noted: how, until when and why; empty without it.
    :param hpa_fault: why the HPA cannot scale, in its words; C(hpa_reason) is its word for that.
    :param is_limited: whether the HPA wants more pods than it may have, and since when.
    :param window: the window of its schedule that is open, in words; empty without one.
    :param is_unmeasured: whether it goes by list_length because Prometheus does not answer.
    """

    kind: str = "none"
    state: str = "fixed"
    since: str | None = None
    reason: str = ""
    annotations: tuple[str, ...] = ()
    paused_by: str | None = None
    pause: str = ""
    hpa_fault: str = ""
    hpa_reason: str = ""
    limited_since: str | None = None
    is_limited: bool = False
    window: str = ""
    is_unmeasured: bool = False


@dataclass(frozen=True)
class Drain:
    """That a variant is drained.

    :param how: since when, by whom and why, in words; empty for one that is not drained.
    :param by_deploy: whether a deploy did it, until it replaces the pods.
    :param taking: pods that were not told to take nothing, such as those that have started since.
    """

    how: str = ""
    since: str | None = None
    by: str = ""
    reason: str = ""
    by_deploy: bool = False
    taking: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rescale:
    """One time that the number of pods changed."""

    time: str | None
    by: str
    what: str


@dataclass(frozen=True)
class Drift:
    """What of an object is not as the inventory says; without fields it is not there at all."""

    object: str
    fields: tuple[str, ...] = ()


@dataclass(frozen=True)
class VariantStatus:
    """How one variant is."""

    service: str
    variant: str
    deployment: str
    queues: tuple[str, ...]
    exists: bool
    work: Work
    pods: Pods
    formula: Formula
    scaler: Scaler
    image: str | None = None
    image_since: str | None = None
    drain: Drain = Drain()
    drift: tuple[Drift, ...] = ()
    rescales: tuple[Rescale, ...] = ()
    problems: tuple[Problem, ...] = ()

    @property
    def title(self) -> str:
        """Service and variant, as sentences name it."""
        return f"{self.service} {self.variant}"


@dataclass(frozen=True)
class FleetStatus:
    """How the fleet of a host is.

    :param at: when it was read.
    :param numbers: where the numbers come from, in sentences.
    :param drift: of objects that belong to no variant.
    :param inventory: fingerprint of the inventory.
    :param history: what runs have changed, the newest first.
    :param failed: why nothing could be read.
    """

    host: str = ""
    namespace: str = ""
    fleet: str = ""
    at: str = ""
    numbers: tuple[str, ...] = ()
    variants: tuple[VariantStatus, ...] = ()
    drift: tuple[Drift, ...] = ()
    problems: tuple[Problem, ...] = ()
    failed: str = ""
    inventory: str = ""
    history: tuple[Record, ...] = ()

    @property
    def all_drift(self) -> tuple[Drift, ...]:
        """That of the fleet and of its variants."""
        return (*self.drift, *(drift for variant in self.variants for drift in variant.drift))

    @property
    def all_problems(self) -> tuple[Problem, ...]:
        """Those of the fleet and of its variants, the worst first."""
        found = [*self.problems, *(problem for variant in self.variants for problem in variant.problems)]
        return tuple(sorted(found, key=lambda problem: problem.rank))


def as_data(status: FleetStatus) -> dict[str, Any]:
    """The same for programs. Names are a promise; what is not known is null."""
    found = _plain(status)
    found["failed"] = status.failed or None
    problems = [{**_plain(problem), "sentence": problem.sentence} for problem in status.all_problems]
    for variant in found["variants"]:
        variant["problems"] = [problem["rule"] for problem in variant["problems"]]
    deploy = last_deploy(status.history)
    return {**found, "problems": problems, "last_deploy": _plain(deploy) if deploy is not None else None}


def _plain(value: Any) -> Any:
    """A dataclass as a dict, and what is in it. Nothing is copied twice: there may be a thousand variants."""
    if value is None or isinstance(value, (str, int, float)):
        return value
    if is_dataclass(value):
        return {name: _plain(item) for name, item in vars(value).items()}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def from_data(data: dict[str, Any]) -> FleetStatus:
    """The counterpart of L(as_data)."""
    every = [Problem(**{name: item[name] for name in _PROBLEM}) for item in data["problems"]]
    variants = tuple(_variant_from(item, every) for item in data["variants"])
    own = {f"{variant.service} {variant.variant}" for variant in variants}
    return FleetStatus(
        **{name: data[name] for name in ("host", "namespace", "fleet", "at")},
        numbers=tuple(data["numbers"]),
        variants=variants,
        drift=_drift_from(data["drift"]),
        problems=tuple(item for item in every if item.where not in own),
        failed=data["failed"] or "",
        inventory=data["inventory"],
        history=tuple(map(record_from, data["history"])),
    )


_PROBLEM = ("rule", "severity", "where", "what", "fix")


def _variant_from(data: dict[str, Any], problems: list[Problem]) -> VariantStatus:
    title = f"{data['service']} {data['variant']}"
    plain = ("service", "variant", "deployment", "exists", "image", "image_since")
    scaler = {**data["scaler"], "annotations": tuple(data["scaler"]["annotations"])}
    return VariantStatus(
        **{name: data[name] for name in plain},
        queues=tuple(data["queues"]),
        work=Work(**data["work"]),
        pods=Pods(**data["pods"]),
        formula=Formula(**data["formula"]),
        scaler=Scaler(**scaler),
        drain=Drain(**{**data["drain"], "taking": tuple(data["drain"]["taking"])}),
        drift=_drift_from(data["drift"]),
        rescales=tuple(Rescale(**item) for item in data["rescales"]),
        problems=tuple(item for item in problems if item.where == title),
    )


def _drift_from(items: list[dict[str, Any]]) -> tuple[Drift, ...]:
    return tuple(Drift(item["object"], tuple(item["fields"])) for item in items)
