# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with a fleet, one sentence a problem, with what to do about it. None on a healthy site.

Rules of one group look at the same trouble from different sides: the first that finds something speaks for all of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

from .._cluster.fleet_reading import Readings
from .._cluster.lacking import grants
from .._cluster.readiness import CRASH, QUOTA, REFUSED, STUCK, UNSCHEDULABLE
from .._model.fleet import Variant
from .._schema.counted import counted, messages_wait
from .._schema.moments import from_kept
from .data import BY_NOBODY, CRITICAL, NOTE, WARNING, FleetStatus, Problem, VariantStatus
from .drain_rules import Finding, drained, drained_in_part, only
from .fallback_rules import fallback_active, unmeasured
from .job_rules import failed_jobs, logs_of, not_looked_at
from .moments import ago, lasting, seconds_since
from .scaler_faults import in_words, kind_of

#: Seconds that a variant may be at its maximum before that is a problem: a burst is none.
AT_MAXIMUM = 300
#: Seconds that a pod has to become ready, at least.
GETTING_READY = 120
#: Seconds for which the end of a container is news, and how many ends are more than bad luck.
_NEWS, _OFTEN = 3600, 3
_DEPLOY = "run queueops.celery.deploy"


@dataclass(frozen=True)
class Case:
    """What a rule looks at.

    :param variant: as the inventory says it should be.
    :param since: since when it may not be as that says, with a blank before it.
    """

    status: VariantStatus
    variant: Variant
    now: datetime
    since: str = ""

    @property
    def waiting(self) -> int:
        """Messages that wait, as far as that is known."""
        return self.status.work.waiting or 0

    @property
    def messages(self) -> str:
        """What waits, for a sentence; empty where nothing is known to."""
        return messages_wait(self.waiting) if self.waiting else ""


@dataclass(frozen=True)
class Rule:
    """One kind of problem.

    :param name: id, for docs and programs.
    :param summary: for the table in the docs.
    :param group: of several rules of one group only the first speaks.
    """

    name: str
    severity: str
    group: str
    summary: str
    finds: Callable[[Case], Finding | None]


# There at all


def _not_deployed(case: Case) -> Finding | None:
    if case.status.exists:
        return None
    return f"{case.variant.worker_object[0]} {case.status.deployment} does not exist", _DEPLOY


# Pods


def _fault(*kinds: str, fix: str) -> Callable[[Case], Finding | None]:
    def finds(case: Case) -> Finding | None:
        pods = case.status.pods
        if pods.fault_kind not in kinds or pods.ready >= pods.wanted:
            return None
        waits = f", {case.messages}" if case.messages else ""
        fault, advice = _parted(pods.fault)
        return f"{pods.ready} of {counted(pods.wanted, 'pod')} ready{waits}. {_bare(fault)}", advice or fix

    return finds


#: What a reason ends with that says what to do.
_ADVICE = re.compile(r"[.!] ((?:Check|Raise|Set|Create|Read|Ask)\b.*)$")


def _parted(fault: str) -> tuple[str, str]:
    """What keeps a pod down, and what to do about it where the reason says so."""
    found = _ADVICE.search(fault)
    if found is None:
        return fault, ""
    return fault[: found.start()], _bare(f"{found[1][0].lower()}{found[1][1:]}")


def _bare(text: str) -> str:
    return text.rstrip(" .")


def _out_of_memory(case: Case) -> Finding | None:
    pods = case.status.pods
    if not pods.oom_kills or not _is_news(pods.last_end, case.now):
        return None
    times = "a container was" if pods.oom_kills == 1 else f"{pods.oom_kills} containers were"
    what = f"{times} killed for want of memory, the last one {ago(pods.last_end, case.now)}"
    return what, "raise resources.limits.memory, or lower concurrency or max_memory_per_child"


def _restarts(case: Case) -> Finding | None:
    pods = case.status.pods
    if pods.restarts < _OFTEN or not _is_news(pods.last_end, case.now):
        return None
    what = f"its pods have restarted {pods.restarts} times, the last time {ago(pods.last_end, case.now)}"
    return what, f"read kubectl logs --previous deployment/{case.status.deployment}"


def _failed_jobs(case: Case) -> Finding | None:
    return failed_jobs(case.variant, case.status.pods, case.now)


def _is_news(time: str | None, now: datetime) -> bool:
    seconds = seconds_since(time, now)
    return seconds is not None and seconds <= _NEWS


def _pods_not_ready(case: Case) -> Finding | None:
    pods = case.status.pods
    if pods.ready >= pods.wanted:
        return None
    since = pods.unready_since or pods.since
    waited = seconds_since(since, case.now)
    if waited is not None and waited < max(GETTING_READY, case.variant.pod.probe.startup_seconds):
        return None
    waits = f", {case.messages}" if case.messages else ""
    what = f"{pods.ready} of {counted(pods.wanted, 'pod')} ready{lasting(since, case.now)}{waits}"
    return what, f"read kubectl describe pods and {logs_of(case.variant)}"


# Scalers


def _scaler_missing(case: Case) -> Finding | None:
    scaler = case.status.scaler
    if scaler.state != "missing" or not case.status.exists:
        return None
    kind = "ScaledObject" if scaler.kind == "keda" else "HorizontalPodAutoscaler"
    what = f"it has no {kind}, so nothing scales its {counted(case.status.pods.wanted, 'pod')}"
    return what, f"{_DEPLOY}; without KEDA in the cluster, install it"


def _keda_silent(case: Case) -> Finding | None:
    if case.status.scaler.state != "unknown":
        return None
    return not_looked_at(case.variant), "check that KEDA's operator runs"


def _failing(kind: str) -> Callable[[Case], Finding | None]:
    def finds(case: Case) -> Finding | None:
        scaler = case.status.scaler
        if scaler.kind != "keda" or scaler.state not in ("failing", "fallback"):
            return None
        own = kind_of(scaler.reason)
        if own != kind or (own == "other" and scaler.state == "fallback"):
            return None
        what, fix = in_words(kind, case.variant.runs_as_jobs)
        return f"{what} ({_bare(scaler.reason)}), so it {_consequence(case)}", fix

    return finds


def _consequence(case: Case) -> str:
    count = counted(case.status.pods.wanted, "pod")
    return f"falls back to {count}" if case.status.scaler.state == "fallback" else f"stays at {count}"


def _ambiguous(case: Case) -> Finding | None:
    if case.status.scaler.hpa_reason != "AmbiguousSelector":
        return None
    what = "two HPAs select its pods, so neither of them scales"
    return what, "remove the other one, or give the Deployments selectors of their own"


def _hpa_cannot_scale(case: Case) -> Finding | None:
    scaler = case.status.scaler
    if not scaler.hpa_fault or not case.status.pods.wanted:
        return None
    what = f"the HPA cannot scale it ({scaler.hpa_reason}: {_bare(scaler.hpa_fault)})"
    fix = (
        "check that KEDA's metrics server runs"
        if scaler.kind == "keda"
        else "check that metrics-server runs, and that the containers have requests"
    )
    return what, f"{fix}; kubectl describe hpa has more"


# Work


def _nothing_consumes(case: Case) -> Finding | None:
    status = case.status
    if not case.waiting or status.pods.wanted or not status.exists:
        return None
    queues = " and ".join(status.queues[:2]) if len(status.queues) <= 2 else f"{len(status.queues)} queues"
    what = f"{case.messages} in {queues} and nothing consumes {'it' if case.waiting == 1 else 'them'}"
    scaler = status.scaler
    if scaler.state in ("paused", "scale-out paused"):
        return f"{what}, because scaling is {scaler.state} at 0 pods", _resume(case)
    if scaler.kind == "keda":
        return (what, "fix its scaler") if scaler.state in ("failing", "missing", "unknown") else None
    if scaler.kind == "hpa":
        return (
            f"{what}, because an HPA starts no first pod",
            f"kubectl scale deployment/{status.deployment} --replicas 1",
        )
    return what, "set replicas above 0, or enable_keda: true"


def _resume(case: Case) -> str:
    paused = case.variant.scaling.paused
    if paused and f"autoscaling.keda.sh/{paused}" in " ".join(case.status.scaler.annotations):
        return f"take paused out of the inventory, and {_DEPLOY}"
    return f"run queueops.celery.resume {only(case.status)}"


def _partly(case: Case) -> Finding | None:
    return drained_in_part(case.status)


def _drained(case: Case) -> Finding | None:
    return drained(case.status)


def _paused(case: Case) -> Finding | None:
    scaler = case.status.scaler
    if "paused" not in scaler.state:
        return None
    by = f" by {scaler.paused_by}" if scaler.paused_by else ""
    since = f" {_since(scaler.since, case.now)}" if scaler.since else ""
    state = "paused" if scaler.state == "paused" else f"{scaler.state.removesuffix(' paused')} is paused"
    note = " and ".join(scaler.annotations)
    waits = f"; {case.messages}" if case.messages else ""
    if scaler.pause:
        return f"{scaler.pause}{since and f',{since}'}{waits}", _resume(case)
    what = f"{state}{since} by annotation ({note}){by}, at {counted(case.status.pods.wanted, 'pod')}{waits}"
    return what, _resume(case)


def _since(time: str, now: datetime) -> str:
    then, seconds = from_kept(time), seconds_since(time, now)
    if then is None or seconds is None:
        return ""
    if seconds < 6 * 86400:
        return f"since {then.strftime('%A %H:%M')} UTC"
    return f"since {then.strftime('%Y-%m-%d')}"


def _at_maximum(case: Case) -> Finding | None:
    status, scaler = case.status, case.status.scaler
    pods = status.pods
    if scaler.kind == "none" or "paused" in scaler.state or scaler.state in ("failing", "missing", "fallback"):
        return None
    wants_more = scaler.is_limited or (status.formula.unlimited or 0) > pods.max
    if pods.wanted < pods.max or not wants_more or status.work.waiting == 0:
        return None
    since = scaler.limited_since or pods.since
    seconds = seconds_since(since, case.now)
    if seconds is not None and seconds < AT_MAXIMUM:
        return None
    waits = f"{case.messages}, " if case.messages else ""
    what = f"{waits}{pods.ready} of {counted(pods.max, 'pod')}{lasting(since, case.now)}"
    keys = "max_replicas or list_length" if scaler.kind == "keda" else "max_replicas"
    return what, f"raise {keys}"


def _unscaled_backlog(case: Case) -> Finding | None:
    status, scaler = case.status, case.status.scaler
    if scaler.kind == "keda" or not status.pods.wanted:
        return None
    if case.waiting <= case.variant.scaling.list_length * status.pods.wanted:
        return None
    sees = "its number is fixed" if scaler.kind == "none" else "its HPA does not see the queue"
    what = f"{case.messages} for {counted(status.pods.wanted, 'pod')}, and {sees}"
    return what, "scale it by its queue (enable_keda: true), or raise replicas"


# Inventory


def _drifted(case: Case) -> Finding | None:
    drift = case.status.drift
    if not drift or not case.status.exists:
        return None
    return (
        f"not as the inventory says{case.since}: {drift_in_words(case.status)}",
        f"{_DEPLOY} --check --diff, then without --check",
    )


def drift_in_words(status: VariantStatus) -> str:
    """What differs from the inventory, the first fields by name."""
    parts = []
    for one in status.drift:
        shown = ", ".join(one.fields[:3])
        more = f" and {len(one.fields) - 3} more" if len(one.fields) > 3 else ""
        parts.append(f"{one.object} {shown}{more}" if one.fields else f"{one.object} is missing")
    return "; ".join(parts)


RULES = (
    Rule("not-deployed", CRITICAL, "there", "it is in the inventory, and its Deployment does not exist", _not_deployed),
    Rule(
        "image-pull",
        CRITICAL,
        "pods",
        "the image cannot be pulled",
        _fault("image", fix="check image, image_pull_policy and image_pull_secrets"),
    ),
    Rule(
        "config-missing",
        CRITICAL,
        "pods",
        "a Secret or a ConfigMap that the pods read does not exist, or a container cannot be set up",
        _fault("config", fix="create what it names, or correct the name"),
    ),
    Rule(
        "unschedulable",
        CRITICAL,
        "pods",
        "no node has room for the pods, or none fits them",
        _fault(UNSCHEDULABLE, fix="add nodes, or lower resources.requests or change node_selector and tolerations"),
    ),
    Rule(
        "quota",
        CRITICAL,
        "pods",
        "the namespace's ResourceQuota lets no more pods in",
        _fault(QUOTA, fix="raise the ResourceQuota, or lower resources or max_replicas"),
    ),
    Rule(
        "pods-refused",
        CRITICAL,
        "pods",
        "the API server refuses the pods: Pod Security, an admission webhook",
        _fault(REFUSED, fix="set pod_security and the security contexts to what the namespace allows"),
    ),
    Rule(
        "out-of-memory", WARNING, "pods", "containers were killed for want of memory in the last hour", _out_of_memory
    ),
    Rule(
        "crash-loop",
        CRITICAL,
        "pods",
        "a container ends after its start, again and again",
        _fault(CRASH, "start", fix="read its log with kubectl logs --previous"),
    ),
    Rule(
        "rollout-stuck",
        CRITICAL,
        "pods",
        "a rollout has exceeded its time limit",
        _fault(STUCK, fix="read kubectl rollout status and kubectl describe pods"),
    ),
    Rule("pods-not-ready", CRITICAL, "pods", "pods are not ready long after their start", _pods_not_ready),
    Rule("restarts", WARNING, "pods", "pods restarted three times or more, the last time within an hour", _restarts),
    Rule("failed-jobs", WARNING, "pods", "Jobs have failed in the last hour", _failed_jobs),
    Rule("scaler-missing", CRITICAL, "scaler", "the inventory wants a scaler, and there is none", _scaler_missing),
    Rule("keda-silent", CRITICAL, "scaler", "KEDA has not looked at the ScaledObject", _keda_silent),
    Rule("scaler-login", CRITICAL, "scaler", "the broker refuses the scaler's login", _failing("login")),
    Rule("scaler-unreachable", CRITICAL, "scaler", "the scaler cannot reach the broker", _failing("reach")),
    Rule(
        "queue-missing", WARNING, "scaler", "RabbitMQ does not know the queue that the scaler reads", _failing("queue")
    ),
    Rule("scaler-failing", CRITICAL, "scaler", "KEDA reports another error", _failing("other")),
    Rule("fallback-active", WARNING, "scaler", "KEDA's fallback decides on the number of pods", fallback_active),
    Rule("ambiguous-selector", CRITICAL, "scaler", "two HPAs select the same pods", _ambiguous),
    Rule("hpa-cannot-scale", CRITICAL, "scaler", "the HPA cannot compute or set a number", _hpa_cannot_scale),
    Rule("unmeasured", WARNING, "measures", "Prometheus tells the scaler nothing, so list_length decides", unmeasured),
    Rule("drained-in-part", WARNING, "drained", "it is drained, and pods that have started since take work", _partly),
    Rule("drained", WARNING, "drained", "it is drained, so its workers take nothing new", _drained),
    Rule("nothing-consumes", CRITICAL, "work", "messages wait, there is no pod, and none will come", _nothing_consumes),
    Rule("at-maximum", WARNING, "work", "messages wait, and it has had its most pods for five minutes", _at_maximum),
    Rule("unscaled-backlog", WARNING, "work", "more wait than its fixed pods should have", _unscaled_backlog),
    Rule("paused", WARNING, "paused", "an annotation pauses scaling", _paused),
    Rule("drifted", WARNING, "drift", "objects differ from what the inventory says", _drifted),
)

#: Of the fleet as a whole: id, severity and summary.
FLEET_RULES = (
    ("keda-down", CRITICAL, "KEDA's operator does not run, so nothing scales"),
    ("numbers-unknown", NOTE, "it is not known what some queues hold"),
    ("not-readable", NOTE, "pods or events may not be read"),
    ("fleet-drifted", WARNING, "objects that belong to no variant differ from what the inventory says"),
)


def problems_of(case: Case) -> tuple[Problem, ...]:
    """What is wrong with one variant."""
    found: list[Problem] = []
    groups: set[str] = set()
    for rule in RULES:
        # What follows from a drain needs no second sentence.
        silent = {"there", "drained"} if rule.group in ("work", "paused") else {"there"}
        finding = rule.finds(case) if rule.group not in groups and not silent & groups else None
        if finding is not None:
            groups.add(rule.group)
            found.append(Problem(rule.name, rule.severity, case.status.title, *finding))
    return tuple(found)


def fleet_problems(status: FleetStatus, readings: Readings, since: str = "") -> tuple[Problem, ...]:
    """What is wrong with the fleet as a whole.

    :param since: as of L(Case).
    """
    return tuple(_fleet_problems(status, readings, since))


def _fleet_problems(status: FleetStatus, readings: Readings, since: str) -> Iterator[Problem]:
    name, severity, _summary = FLEET_RULES[0]
    if readings.keda_down:
        what = f"KEDA's operator does not run ({readings.keda_down}), so no variant gets or loses a pod by its queue"
        yield Problem(name, severity, "", what, readings.keda_advice)
    name, severity, _summary = FLEET_RULES[1]
    down = readings.keda_down or None
    unknown = {reason: own for reason, own in _unknown(status).items() if down is None or not reason.startswith(down)}
    for reason, own in unknown.items():
        titles = ", ".join(own[:3]) + (f" and {len(own) - 3} more" if len(own) > 3 else "")
        what = f"it is not known what the queues of {titles} hold ({_bare(reason)})"
        fix = "; ".join(filter(None, (grants(reason), readings.keda_advice))) or _MORE_NUMBERS
        yield Problem(name, severity, "", what, fix)
    name, severity, _summary = FLEET_RULES[2]
    for text in readings.unread:
        fix = "; ".join(filter(None, (grants(text), "without it the status shows less")))
        yield Problem(name, severity, "", _bare(text), fix)
    name, severity, _summary = FLEET_RULES[3]
    if status.drift:
        shown = ", ".join(f"{one.object}{'' if one.fields else ' (missing)'}" for one in status.drift[:3])
        more = f" and {len(status.drift) - 3} more" if len(status.drift) > 3 else ""
        yield Problem(
            name, severity, "", f"not as the inventory says{since}: {shown}{more}", f"{_DEPLOY} --check --diff"
        )


_MORE_NUMBERS = "let KEDA scale it (enable_keda: true), or see what its pods say with queueops.celery.verify"


def _unknown(status: FleetStatus) -> dict[str, list[str]]:
    """Variants whose numbers are unknown, by the reason. Trouble that has a sentence of its own needs no second one."""
    found: dict[str, list[str]] = {}
    for variant in status.variants:
        told = {problem.rule for problem in variant.problems}
        if variant.work.source == BY_NOBODY and variant.exists and not told & _EXPLAIN:
            found.setdefault(variant.work.reason, []).append(variant.title)
    return found


#: Rules whose problem is also the reason why numbers are not known.
_EXPLAIN = {
    rule.name for rule in RULES if rule.group in ("scaler", "drained", "paused", "there") or rule.severity == CRITICAL
}
