# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings that follow from what people know of their tasks, each with the sentence that explains it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from .._model.names import WORKER_CONTAINER
from .._model.schedules import MISSED_CEILING
from .._model.variant_keys import DEFAULT_BEHAVIOR, Knowledge, Pod, Process, Scaling
from .._schema.kubernetes import merge
from .._schema.quantities import quantity
from .._schema.versions import Versions, at_least, older
from .command import limits_in_force

#: Time beyond the longest task in which a stopping worker returns what it holds and shuts down.
SHUTDOWN_RESERVE = 30
#: The least reserve after a soft shutdown; below it the kubelet kills the worker while it gives its tasks back.
SOFT_SHUTDOWN_RESERVE = 15

#: Seconds that the cluster autoscaler gives a pod at most (--max-graceful-termination-sec).
NODE_GRACE = 600
SAFE_TO_EVICT = "cluster-autoscaler.kubernetes.io/safe-to-evict"
#: Node scale-down must not end an hour of work; each annotation is read by its autoscaler alone.
NO_EVICTION = {SAFE_TO_EVICT: "false", "karpenter.sh/do-not-disrupt": "true"}

#: Seconds that a pod takes to start unless somebody says it. It takes 15 where its image is there, and 240 where that
#: of a large site is to be pulled (Open edX, measured by others). The geometric mean of both is the guess that is never
#: wrong by more than a factor of four.
START_SECONDS = 60
#: Seconds between two looks of an HPA (--horizontal-pod-autoscaler-sync-period).
_SYNC = 15
#: Share of max_wait_seconds that is left for the work at least, however long pods take to come.
_SHARE_OF_WORK = 0.5
#: Seconds after which an HPA may double the pods again where messages are to be begun in time: two of its looks.
_FAST_GROWTH = 30
#: Readings of the queue that must have found nothing, at least, before pods go.
_READINGS = 2
_COOLDOWN = Scaling().cooldown_period

#: Limits of the HPA's behavior in seconds (autoscaling/v2).
_LONGEST_WINDOW, _LONGEST_PERIOD = 3600, 1800


@dataclass
class Sizing:
    """Keys of a variant that were worked out.

    :param keys: defaults that replace the profile's and the collection's.
    :param reasons: key to the sentence that says where its value comes from.
    :param ways: the same of each way of the behavior.
    :param notes: why scaling down stays as slow as it is.
    """

    keys: dict[str, Any] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    ways: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def set(self, name: str, value: Any, reason: str) -> None:
        """Note a value and why."""
        self.keys[name] = value
        self.reasons[name] = reason

    def set_behavior(self, way: str, rules: dict[str, Any], reason: str) -> None:
        """Note how fast one way goes, and why; the other way stays as it is."""
        self.ways[way] = reason
        self.set("behavior", {**self.keys.get("behavior", {}), way: rules}, "; ".join(self.ways.values()))

    def over(self, defaults: Mapping[str, Any]) -> dict[str, Any]:
        """Defaults with what was worked out in their place; a way of the behavior that was not stays."""
        found = {**defaults, **self.keys}
        if "behavior" in self.keys:
            found["behavior"] = {**defaults.get("behavior", {}), **self.keys["behavior"]}
        return found


_SLEEP = re.compile(r"\bsleep\s+(\d+(?:\.\d+)?)([smhd]?)(?![\w.])")
_SECONDS_OF = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


def pre_stop_seconds(pod: Pod) -> int:
    """Seconds that a C(preStop) hook takes before the worker is told to stop; 0 where nobody can tell.

    The kubelet counts them against the grace period.
    """
    found = merge("Lifecycle", pod.lifecycle or {}, {})
    for container in pod.pod_overrides.get("containers", []):
        if container["name"] == "worker":
            found = merge("Lifecycle", found, container.get("lifecycle") or {})
    hook = found.get("preStop", {})
    seconds = hook.get("sleep", {}).get("seconds", 0)
    words = " ".join(hook.get("exec", {}).get("command", []))
    return int(seconds) + math.ceil(sum(float(number) * _SECONDS_OF[unit] for number, unit in _SLEEP.findall(words)))


def sized(
    knowledge: Knowledge,
    slots: int,
    sees_in_flight: bool,
    ends_tasks: bool = True,
    pre_stop: int = 0,
    grace: int = 600,
    polling: int = Scaling().polling_interval,
) -> Sizing:
    """What follows from task times.

    :param slots: tasks a pod runs at once.
    :param pre_stop: seconds that a hook takes before the worker is told to stop.
    :param grace: the grace period that holds where nothing is known of tasks.
    :param sees_in_flight: whether the scaler sees running work; a short cooldown then harms nothing (measured).
    :param ends_tasks: whether the pool enforces a time limit.
    :param polling: seconds between two readings of the queue.
    """
    found = Sizing()
    if knowledge.task_seconds:
        _size_for_wait(found, knowledge, knowledge.task_seconds, slots, polling)
    hook = f" + {pre_stop} of the preStop hook" if pre_stop else ""
    if pre_stop:
        found.set("termination_grace_period", grace + pre_stop, f"{grace}{hook}")
    if knowledge.longest_task_seconds:
        _size_for_longest(found, math.ceil(knowledge.longest_task_seconds), sees_in_flight, ends_tasks, pre_stop, hook)
    return found


def seconds_for_work(knowledge: Knowledge, polling: int) -> float:
    """What is left of the time that a message may wait, once KEDA and the HPA have seen it and a pod has started.

    :param polling: seconds between two readings of the queue.
    """
    wait = knowledge.max_wait_seconds
    late = polling + _SYNC + (knowledge.start_seconds or START_SECONDS)
    return wait - min(late, wait * (1 - _SHARE_OF_WORK))


def _size_for_wait(found: Sizing, knowledge: Knowledge, task: float, slots: int, polling: int) -> None:
    """What follows from how long a message may wait, and a task takes."""
    wait, work = knowledge.max_wait_seconds, seconds_for_work(knowledge, polling)
    found.set(
        "list_length",
        min(2**31 - 1, max(1, math.floor(work * slots / task))),
        f"{slots} slots * (max_wait_seconds {wait:g} - {wait - work:g} to start) / task_seconds {task:g}",
    )


@dataclass(frozen=True)
class Idle:
    """What decides for how long pods without work are worth their keep.

    An idle pod costs as much as the start of another one when it has idled for as long as a start takes (break-even).
    To wait longer only pays where a pod that goes would cut a task.

    :param start: seconds that a pod takes to start; None where nobody has said it.
    :param polling: seconds between two readings of the queue.
    :param longest: seconds that a task takes; 0 where nobody knows.
    :param grace: seconds that a stopping worker has.
    :param blind: why the scaler does not see running work; empty where it does.
    """

    start: float | None
    polling: int
    longest: float
    grace: int
    blind: str

    @property
    def seconds(self) -> int:
        """Seconds without work after which pods go."""
        return max(math.ceil(self.start or START_SECONDS), _READINGS * self.polling)

    @property
    def reason(self) -> str:
        """Why after that time."""
        if self.seconds > math.ceil(self.start or START_SECONDS):
            return f"{_READINGS} readings of the queue, and the pods that go end their tasks"
        return f"start_seconds {self.seconds}: a new pod then costs less than an idle one, and those that go end tasks"

    @property
    def doubt(self) -> str:
        """Why a pod that goes might cut a task; empty where it ends all of them."""
        if self.blind:
            return f"the scaler does not see running work ({self.blind})"
        if not self.longest:
            return "nobody has said how long tasks take (longest_task_seconds)"
        if self.grace < self.longest:
            return f"the grace period of {self.grace} s is shorter than the longest task of {self.longest:g} s"
        return ""


def for_break_even(sizing: Sizing, idle: Idle, profile: Mapping[str, Any]) -> None:
    """Let pods without work go when another one costs less, where none that goes cuts a task."""
    slow = {**profile.get("behavior", {}), **sizing.keys.get("behavior", {})}.get("scaleDown")
    if idle.doubt:
        if slow is not None or idle.start is not None:
            window = (slow or DEFAULT_BEHAVIOR["scaleDown"])["stabilizationWindowSeconds"]
            sizing.notes.append(f"pods without work stay for {window} s, whatever start_seconds is: {idle.doubt}")
        return
    window = min(_LONGEST_WINDOW, idle.seconds)
    down = {**DEFAULT_BEHAVIOR["scaleDown"], "stabilizationWindowSeconds": window}
    sizing.set_behavior("scaleDown", down, f"scaleDown after {window} s, {idle.reason}")
    if profile.get("cooldown_period", _COOLDOWN) != idle.seconds:
        sizing.set("cooldown_period", idle.seconds, idle.reason)


def for_growth(sizing: Sizing, knowledge: Knowledge) -> None:
    """Let pods come as fast as list_length counts on, where it follows from how long a message may wait."""
    up, reason = {**DEFAULT_BEHAVIOR["scaleUp"], "policies": fast_policies()}, growth_reason(knowledge)
    sizing.set_behavior("scaleUp", up, reason)


def fast_policies() -> list[dict[str, Any]]:
    """How many pods more there may be, and how soon as many again."""
    return [{**policy, "periodSeconds": _FAST_GROWTH} for policy in DEFAULT_BEHAVIOR["scaleUp"]["policies"]]


def growth_reason(knowledge: Knowledge) -> str:
    """Why it is so fast."""
    return f"scaleUp every {_FAST_GROWTH} s, for max_wait_seconds {knowledge.max_wait_seconds:g}"


def for_slots(sizing: Sizing, name: str, profile: Mapping[str, Any], slots: int) -> None:
    """Replace what a profile says for one slot where a pod has more.

    One message a pod would leave the other slots idle, and a pod that is held for each task would keep many for the
    tasks of one.
    """
    if slots == 1 or profile.get("concurrency") != 1:
        return
    if "list_length" not in sizing.keys:
        sizing.set("list_length", slots, f"profile {name}, 1 message for each of {slots} slots")
    sizing.set("hold", "slots", f"profile {name} holds a pod for each task only where a pod has one slot")


def for_jobs(sizing: Sizing, slots: int, eta: float) -> None:
    """What follows where workers run as Jobs: one for as much work as it has slots, whatever else is known.

    :param eta: longest ETA in seconds.
    """
    reason = f"1 message for each of {slots} slots" if slots > 1 else "each message may have a Job of its own"
    if eta:
        reason += f"; one that waits for its ETA, {eta:g} s at most, may start one as well, which ends idle"
    sizing.set("list_length", slots, reason)


def behavior_in_force(scaling: Scaling, versions: Versions) -> dict[str, Any]:
    """How fast it scales, without the tolerance of the way up where the server lets us switch it off.

    A formula in pods is exact, so the tenth that Kubernetes takes for noise is work that waits. CPU and memory are
    noise, and they share the field. Kubernetes 1.33 and 1.34 drop it in silence, so its version must be known. KEDA has
    it since 2.18.
    """
    noisy = any(trigger["type"] in ("cpu", "memory") for trigger in scaling.extra_triggers)
    exact = scaling.scaler == "keda" and not noisy
    if not exact or not at_least(versions.kubernetes, "1.35") or older(versions.keda, "2.18"):
        return scaling.behavior
    # On the way down a tenth is noise, but for a ceiling it is pods above it.
    ceilings = [window.ceiling or 0 for window in scaling.schedule]
    ways = ("scaleUp", "scaleDown") if max(ceilings, default=0) >= MISSED_CEILING else ("scaleUp",)
    exactly = {way: {"tolerance": "0", **(scaling.behavior.get(way) or {})} for way in ways}
    return {**scaling.behavior, **exactly}


def _size_for_longest(
    found: Sizing, longest: int, sees_in_flight: bool, ends_tasks: bool, pre_stop: int, hook: str
) -> None:
    """What follows from the longest task, in seconds."""
    if ends_tasks:
        found.set("time_limit", longest, f"longest_task_seconds {longest}")
    found.set(
        "termination_grace_period",
        max(60, longest + SHUTDOWN_RESERVE) + pre_stop,
        f"longest_task_seconds {longest} + {SHUTDOWN_RESERVE} to shut down{hook}",
    )
    if longest + SHUTDOWN_RESERVE + pre_stop > NODE_GRACE:
        found.set(
            "pod_annotations",
            dict(NO_EVICTION),
            f"longest_task_seconds {longest}: prevents node eviction during the task",
        )
    if not sees_in_flight:
        found.set(
            "cooldown_period", max(300, longest), f"longest_task_seconds {longest}, which the scaler does not see"
        )
    if longest > 600:
        down = _slow_scale_down(longest)
        found.set_behavior("scaleDown", down, f"longest_task_seconds {longest}: a pod that goes ends a task")


def _slow_scale_down(longest: int) -> dict[str, Any]:
    """No pod goes before the longest task could have ended, and one at a time."""
    return {
        "stabilizationWindowSeconds": min(_LONGEST_WINDOW, longest),
        "selectPolicy": "Max",
        "policies": [{"type": "Pods", "value": 1, "periodSeconds": min(_LONGEST_PERIOD, max(120, longest // 2))}],
    }


def longest_run(knowledge: Knowledge, args: Iterable[str]) -> float:
    """Seconds that a task may run: what people know, else the time limit in force; 0 where neither is given."""
    limit = limits_in_force(args).get("time-limit") or ""
    return knowledge.longest_task_seconds or (float(limit) if limit.isdigit() else 0.0)


def soft_shutdown(process: Process, knowledge: Knowledge, grace: int) -> int | None:
    """Seconds of soft shutdown where the grace period cannot cover the longest task; None where it can.

    Only with late acknowledgement: the tasks that it cuts short must go back to the queue.
    """
    longest = knowledge.longest_task_seconds
    if process.soft_shutdown_timeout is not None or not longest or grace >= longest or process.acks_late is not True:
        return process.soft_shutdown_timeout
    timeout = grace - SHUTDOWN_RESERVE
    return timeout if timeout > 0 else None


def resources_in_force(pod: Pod, container: str = WORKER_CONTAINER) -> dict[str, Any]:
    """Requests and limits that a container has in the end, whichever key wrote them.

    Limits of the pod as a whole (Kubernetes 1.34) count for the worker where its container has none of its own.
    """
    sidecars = [item for item in pod.sidecars if item.get("name") == container]
    lower = [pod.resources] if container == WORKER_CONTAINER else [item.get("resources") for item in sidecars]
    overrides = [item for item in pod.pod_overrides.get("containers", []) if item.get("name") == container]
    found: dict[str, Any] = {}
    for resources in (*lower, *(item.get("resources") for item in overrides)):
        found = merge("ResourceRequirements", found, resources or {})
    whole = pod.pod_overrides.get("resources") if container == WORKER_CONTAINER else None
    return {**found, "limits": {**_amounts(whole or {}), **_amounts(found)}}


def _amounts(resources: dict[str, Any]) -> dict[str, Any]:
    return {name: amount for name, amount in (resources.get("limits") or {}).items() if amount is not None}


#: KiB below which a prefork child is replaced after nearly every task: an empty app's child has 52 MiB (Celery 5.6).
SMALLEST_CHILD = 64 * 1024


def child_share(resources: dict[str, Any], children: int) -> int | None:
    """KiB of the memory limit that one child may have: an equal share of three quarters; None without a limit."""
    limit = quantity(resources.get("limits", {}).get("memory"))
    return int(limit / 1024 * Decimal("0.75") / children) if limit else None


def memory_per_child(process: Process, resources: dict[str, Any], children: int) -> int | None:
    """KiB after which a prefork child is replaced.

    A quarter of the limit is the parent's, the rest is shared, and 15 % are left because Celery looks only after a
    task.

    :returns: None where nothing is to be set.
    """
    if process.max_memory_per_child is not None:
        return process.max_memory_per_child or None
    limit = quantity(resources.get("limits", {}).get("memory"))
    if not limit:
        return None
    return int(limit / 1024 * Decimal("0.75") / children * Decimal("0.85")) or None
