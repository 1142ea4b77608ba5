# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a Job of a ScaledJob has come up. That the ScaledJob is Ready says only that KEDA accepts its definition."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from .._model.names import FLEET_LABEL
from .._model.observed import API_VERSIONS
from .._schema.counted import counted
from .readiness import (
    UNSCHEDULABLE,
    Exit,
    Waiting,
    condition,
    exits_of,
    missing_reason,
    pod_fault,
    pod_troubles,
    refusal_in_words,
)
from .reading import Cluster, missing_mounts
from .refusals import refusals
from .stuck_jobs import JOB_VERSION, SCALED_JOB_LABEL, Covers, has_ended, is_as_wanted

Object = dict[str, Any]
#: Seconds between two readings of KEDA, where a ScaledJob does not say, and readings that may come to a new Job.
_POLLING, _POLLS = 30, 2
#: What helps where the workers that are to give way take the place of those that are to take over.
_ROOM = (
    "The workers that are to give way may hold the room: add nodes, raise the ResourceQuota, or deploy them once more "
    "as they were, with fewer pods (max_replicas, replicas). Or deploy once with celery_workers_wait: false: that "
    "looks for no Job, and the old workers finish what they run and go."
)
#: What a scheduler says of nodes that are full.
_FULL = ("Insufficient", "Too many pods")


@dataclass(frozen=True)
class Trial:
    """What was seen of the Jobs of one ScaledJob.

    :param waiting: why none has come up although one has to; None where one has, or none has to.
    :param untried: why none has to; empty where one has come up, or has to.
    :param settles: seconds after which `untried` is believed, and `waiting` is no matter any more.
    :param has_jobs: whether there are some that have not ended.
    :param is_mute: whether a Job or its pod is missing, of which events tell more.
    :param left: names of the Jobs of earlier templates that are not up and keep others from starting.
    """

    waiting: Waiting | None = None
    untried: str = ""
    settles: float = 0
    has_jobs: bool = False
    is_mute: bool = False
    left: tuple[str, ...] = ()


def look_at_jobs(
    cluster: Cluster,
    fleet: str,
    names: Collection[str],
    covers: Covers,
    looks_for_mounts: bool = False,
    takes_over: bool = True,
) -> dict[str, Trial]:
    """Look once at the Jobs of some ScaledJobs, by the name of each.

    :param looks_for_mounts: whether to ask if what pods mount exists, which their status does not tell.
    :param takes_over: whether other workers are to give way to them.
    :raises ClusterError: if they cannot be read.
    """
    selector = f"{FLEET_LABEL}={fleet}"
    listed = cluster.list_objects("ScaledJob", API_VERSIONS["ScaledJob"], selector=selector) or []
    wanted = {str(item["metadata"]["name"]): item for item in listed if item["metadata"]["name"] in names}
    if not wanted:
        return {}
    every = cluster.list_objects("Job", JOB_VERSION, selector=f"{SCALED_JOB_LABEL} in ({','.join(sorted(wanted))})")
    known = {name: [job for job in every or [] if _is_of(job, name)] for name in wanted}
    pods = (cluster.list_objects("Pod", "v1", selector=selector) or []) if any(known.values()) else []
    seen = {name: _seen(item, known[name], pods, covers, takes_over) for name, item in wanted.items()}
    if looks_for_mounts:
        missing = missing_mounts(cluster, {name: one.alive_pods for name, one in seen.items()})
        seen = {name: replace(one, missing=tuple(missing.get(name, ()))) for name, one in seen.items()}
    found = {name: tried(item, seen[name]) for name, item in wanted.items()}
    mute = {name: seen[name] for name, trial in found.items() if trial.is_mute}
    said = _refused(cluster, mute)
    return found | {name: tried(wanted[name], replace(mute[name], refused=text)) for name, text in said.items()}


@dataclass(frozen=True)
class Seen:
    """What there is of the Jobs of one ScaledJob.

    :param jobs: those whose pods are as it wants them by now.
    :param pods: of every Job.
    :param missing: kind and name of what pods of its Jobs mount and what does not exist.
    :param others: its Jobs of earlier templates that have not ended.
    :param refused: why an API server does not let another Job, or a pod of one, in.
    :param takes_over: whether other workers are to give way to them.
    """

    jobs: tuple[Object, ...] = ()
    pods: tuple[Object, ...] = ()
    others: tuple[Object, ...] = ()
    missing: tuple[tuple[str, str], ...] = ()
    refused: str = ""
    takes_over: bool = True

    @property
    def alive(self) -> list[Object]:
        """Its Jobs that have not ended."""
        return [job for job in self.jobs if not has_ended(job)]

    @property
    def alive_pods(self) -> list[Object]:
        """The pods of these."""
        return list(_pods_of(self.alive, self.pods))

    @property
    def refusal(self) -> str:
        """What the server has said, and what to do about it; empty where it has said nothing."""
        return refusal_in_words(self.refused, _ROOM if self.takes_over else "") if self.refused else ""


def _seen(scaled_job: Object, jobs: list[Object], pods: list[Object], covers: Covers, takes_over: bool) -> Seen:
    """What there is, but for what has to be asked for.

    :param jobs: all of the ScaledJob.
    """
    own = [job for job in jobs if is_as_wanted(job, scaled_job, covers)]
    others = [job for job in jobs if not has_ended(job) and job not in own]
    return Seen(tuple(own), tuple(pods), tuple(others), takes_over=takes_over)


def _refused(cluster: Cluster, mute: Mapping[str, Seen]) -> dict[str, str]:
    """Why there is no Job of some ScaledJobs, or no pod of their Jobs, as far as a server tells."""
    without = [name for name, seen in mute.items() if not seen.alive]
    first = {str(seen.alive[0]["metadata"]["name"]): name for name, seen in mute.items() if seen.alive}
    found = refusals(cluster, "ScaledJob", without) if without else {}
    of_jobs = refusals(cluster, "Job", list(first)) if first else {}
    return found | {first[job]: text for job, text in of_jobs.items()}


def _is_of(job: Object, name: str) -> bool:
    metadata = job["metadata"]
    return not metadata.get("deletionTimestamp") and (metadata.get("labels") or {}).get(SCALED_JOB_LABEL) == name


def tried(scaled_job: Object, seen: Seen) -> Trial:
    """What is seen of the Jobs of a ScaledJob."""
    if any(map(_has_succeeded, seen.jobs)) or any(map(_has_come_up, _pods_of(seen.jobs, seen.pods))):
        return Trial()
    name = f"ScaledJob {scaled_job['metadata']['name']}"
    if seen.alive:
        return Trial(_not_up(name, seen), has_jobs=True, is_mute=not seen.alive_pods)
    if condition(scaled_job, "Paused").get("status") == "True":
        return Trial(untried="it is paused")
    active = condition(scaled_job, "Active").get("status")
    if active == "False":
        return Trial(untried="nothing waits")
    if active != "True":
        reason = "KEDA has not read its triggers yet; check that its operator runs."
        return Trial(Waiting(name, reason, progress=f"{name} not read by KEDA"))
    waiting = _without_job(name, seen)
    # KEDA takes all Jobs that have not ended off those that it starts, whatever their template.
    settles = _POLLS * float(scaled_job["spec"].get("pollingInterval") or _POLLING)
    down = [job for job in seen.others if not any(map(_has_come_up, _pods_of([job], seen.pods)))]
    if seen.others and not seen.jobs and not down:
        return Trial(waiting, "its Jobs of an earlier version still work", settles, is_mute=True)
    # They may be what this run fixes, and KEDA deletes none. Workers give way to no Job that was not seen, and where a
    # server refuses Jobs, these are not the cause.
    if down and not (seen.jobs or seen.takes_over or seen.refused):
        left = tuple(sorted(str(job["metadata"]["name"]) for job in down))
        why = "Jobs of an earlier version that are not up count as running"
        return Trial(waiting, why, settles, is_mute=True, left=left)
    return Trial(waiting, is_mute=True)


def _without_job(name: str, seen: Seen) -> Waiting:
    """Why there is no Job although work waits."""
    failed, _fault = pod_fault(_pods_of(seen.jobs, seen.pods))
    # KEDA counts these as running, also while they only wait to be started again.
    left = f"It counts {counted(len(seen.others), 'Job')} of an earlier version. " if seen.others else ""
    more = seen.refusal or failed or f"If that stays, see why with kubectl describe {name.lower()}."
    return Waiting(
        name, f"Work waits, and KEDA has not started a Job for it yet. {left}{more}", progress=f"{name} without a Job"
    )


def _not_up(name: str, seen: Seen) -> Waiting:
    """Why Jobs that work waits for are not up."""
    jobs, pods = seen.alive, seen.alive_pods
    reason, fault = pod_fault(pods)
    if not reason and seen.missing:
        reason, fault = missing_reason(seen.missing), "config"
    if not pods:
        reason = _without_pod(str(jobs[0]["metadata"]["name"]), seen)
    elif seen.takes_over and any(
        trouble.kind == UNSCHEDULABLE and _is_for_room(trouble.text) for trouble in pod_troubles(pods)
    ):
        reason = f"{reason} No node has room. {_ROOM}"
    exits = tuple(end for job in jobs for end in _exits(job, pods))
    started = f"No pod of its {len(jobs)} Jobs is ready." if len(jobs) > 1 else "No pod of its Job is ready."
    text = f"{started} {reason}".strip()
    return Waiting(name, text, fault=fault, exits=exits, progress=f"{name} without a ready pod")


def _without_pod(job: str, seen: Seen) -> str:
    """Why a Job has no pod."""
    if seen.refused:
        return f"Job {job} has no pod: {seen.refusal}"
    text = f"Job {job} has no pod yet; if that stays, see why with kubectl describe job {job}."
    return f"{text} Where that says exceeded quota: {_ROOM}" if seen.takes_over else text


def _is_for_room(text: str) -> bool:
    """Whether nodes that a pod may run on are full."""
    return any(words in text for words in _FULL)


def _exits(job: Object, pods: Iterable[Object]) -> Iterator[Exit]:
    """The ends of a Job's containers. A pod that has failed is not started again: another one takes its place."""
    own = sorted(_pods_of([job], pods), key=lambda pod: str(pod["metadata"].get("creationTimestamp") or ""))
    failed = [pod for pod in own if _phase(pod) == "Failed"]
    for number, pod in enumerate(failed, 1):
        for end in exits_of(pod):
            container = (str(job["metadata"]["name"]), end.container[1])
            yield replace(end, container=container, number=number, is_down=len(failed) == len(own))
    yield from (end for pod in own if pod not in failed for end in exits_of(pod))


def _pods_of(jobs: Iterable[Object], pods: Iterable[Object]) -> Iterator[Object]:
    names = {str(job["metadata"]["name"]) for job in jobs}
    for pod in pods:
        owners = pod["metadata"].get("ownerReferences") or []
        if any(owner.get("kind") == "Job" and owner.get("name") in names for owner in owners):
            yield pod


def _phase(pod: Mapping[str, Any]) -> str:
    return str((pod.get("status") or {}).get("phase") or "Pending")


def _has_come_up(pod: Object) -> bool:
    """Whether a worker is ready, or has ended its work well."""
    ready = condition(pod, "Ready").get("status") == "True" and not pod["metadata"].get("deletionTimestamp")
    return ready or _phase(pod) == "Succeeded"


def _has_succeeded(job: Object) -> bool:
    """Whether a Job has ended well, also where its pod is gone already."""
    return condition(job, "Complete").get("status") == "True" or bool((job.get("status") or {}).get("succeeded"))
