# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether what was applied has come up, and if not, why. Pure functions of raw objects."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from .._model.fleet import Fleet
from .._model.names import BEAT_CONTAINER, EXPORTER, FLOWER, WORKER_CONTAINER
from .._model.probes import Probe
from .._schema.secret_signs import without_secret_values
from .events import in_order

#: Seconds that a fault has to be fixed by something else: a controller that brings a Secret, an image that is pushed.
GRACE = 30
#: As many exits with the same code in a row are no bad luck any more.
SAME_EXITS = 3
#: What comes before the end of a log, and how much of it is shown.
LAST_LINES = "Its last lines:"
_LINES = 8

#: Reasons for which a container waits, what kind of fault each is, and what to do about it.
_IMAGE, _CONFIG, _START = "image", "config", "start"
_ADVICE = {
    "CreateContainerConfigError": (_CONFIG, ""),
    "ErrImagePull": (_IMAGE, "Check image and image_pull_secrets."),
    "ImagePullBackOff": (_IMAGE, "Check image and image_pull_secrets."),
    "ErrImageNeverPull": (_IMAGE, "Check image_pull_policy."),
    "InvalidImageName": (_IMAGE, "Check image."),
    "RunContainerError": (_START, "The container cannot run its command; check the image."),
    "CreateContainerError": (_START, "The container cannot run its command; check the image."),
}
#: What an API server says of pods that it does not let in, and what to do about it.
_REFUSALS = (
    ("exceeded quota", "Raise the ResourceQuota, or lower resources or the number of pods."),
    ("violates PodSecurity", "Set pod_security and the security contexts to what the namespace allows."),
    ("denied the request", "Ask those who run the admission webhook that it names."),
    ("is forbidden", ""),
)
#: How a runtime says that a container's first word is no program: it is not on the PATH, or there is no such file.
_NO_PROGRAM = re.compile(r'exec: "([^"]+)": (?:executable file not found|stat [^:]+: no such file)')
_REPLICA_SET = re.compile(r'[Rr]eplica ?[Ss]et "([^"]+)"')


@dataclass(frozen=True)
class Exit:
    """One end of a container.

    :param container: pod and container.
    :param number: how often it has ended by now.
    :param is_down: whether it waits for its next start.
    """

    container: tuple[str, str]
    number: int
    code: int
    is_down: bool


@dataclass(frozen=True)
class Waiting:
    """One object that has not come up.

    :param final: whether waiting longer is pointless.
    :param fault: what does not heal by itself, as a word that stays the same from one look to the next.
    :param exits: the last ends of its containers.
    :param progress: how far it is, in a few words.
    :param probed: name of a pod that runs and whose probe does not pass; only an event says why.
    """

    name: str
    reason: str
    final: bool = False
    fault: str = ""
    exits: tuple[Exit, ...] = ()
    progress: str = ""
    probed: str = ""


@dataclass
class Looks:
    """What several looks at the same objects tell: a fault that lasts is no longer a matter of time."""

    _since: dict[tuple[str, str], float] = field(default_factory=dict)
    _codes: dict[tuple[str, str], dict[int, int]] = field(default_factory=dict)

    def pointless(self, waiting: Iterable[Waiting], now: float) -> list[Waiting]:
        """Of what is waited for, what does not come up by itself.

        :param now: seconds of a clock that only goes forward.
        """
        items = list(waiting)
        faults = {(item.name, item.fault) for item in items if item.fault}
        self._since = {key: self._since.get(key, now) for key in faults}
        return [item for item in items if item.final or self._lasts(item, now) or any(map(self._repeats, item.exits))]

    def _lasts(self, item: Waiting, now: float) -> bool:
        return bool(item.fault) and now - self._since[item.name, item.fault] >= GRACE

    def _repeats(self, end: Exit) -> bool:
        """Whether a container has ended with the same code several times. Ends that nobody looked at do not differ."""
        codes = self._codes.setdefault(end.container, {})
        codes[end.number] = end.code
        last = {code for number, code in codes.items() if number > end.number - SAME_EXITS}
        return end.is_down and end.number >= SAME_EXITS and len(last) == 1


def patience(fleet: Fleet, timeout: int) -> int:
    """Seconds to wait: a worker that is given longer than usual to start is no failure before that time is over."""
    starts = [variant.pod.probe.startup_seconds for variant in fleet.variants if variant.pod.probe.type != "none"]
    return max([timeout, *(seconds for seconds in starts if seconds > Probe().startup_seconds)])


def deployment_waits(
    deployment: dict[str, Any], pods: Iterable[dict[str, Any]], missing: Collection[tuple[str, str]] = ()
) -> Waiting | None:
    """Why a Deployment is not up; None if it is. One that was scaled to zero is.

    :param missing: kind and name of what its pods mount and what does not exist.
    """
    name = f"Deployment {deployment['metadata']['name']}"
    spec, status = deployment.get("spec") or {}, deployment.get("status") or {}
    wanted = spec.get("replicas", 1)
    seen = status.get("observedGeneration", 0) >= deployment["metadata"].get("generation", 0)
    updated, available = status.get("updatedReplicas", 0), status.get("availableReplicas", 0)
    if seen and updated >= wanted and available >= wanted and status.get("replicas", 0) <= updated:
        return None
    progress = condition(deployment, "Progressing")
    stuck = progress.get("reason") == "ProgressDeadlineExceeded" and seen
    new = new_pods(deployment, pods)
    reason, fault = pod_fault(new)
    if not reason and missing:
        reason, fault = missing_reason(missing), "config"
    if not reason:
        reason, fault = (progress.get("message", ""), "") if stuck else _refusal(deployment)
    probed = ""
    if not reason:
        probed, reason = next(_failing_probes(new), ("", ""))
    counts = f"{available} of {wanted} pods are available, {updated} run the new version"
    exits = tuple(end for pod in new for end in exits_of(pod))
    # Of pods that an older template has made, nothing is known to be this run's.
    trusted = seen and (bool(new) or fault == "refused")
    return Waiting(
        name,
        f"{counts}. {reason}".strip(),
        stuck,
        fault if trusted else "",
        exits if trusted else (),
        f"{name.partition(' ')[2]} {min(available, updated)} of {wanted} up",
        probed,
    )


def new_pods(deployment: dict[str, Any], pods: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Pods that the present template has made. Those of the version before may crash as they like: they are leaving."""
    alive = [pod for pod in pods if not pod["metadata"].get("deletionTimestamp")]
    status = deployment.get("status") or {}
    name = _new_replica_set(deployment)
    if not name:
        # Without old pods all are new.
        return alive if status.get("replicas", 0) <= status.get("updatedReplicas", 0) else []
    template = name.removeprefix(f"{deployment['metadata']['name']}-")
    return [pod for pod in alive if (pod["metadata"].get("labels") or {}).get("pod-template-hash") == template]


def _new_replica_set(deployment: dict[str, Any]) -> str:
    """The ReplicaSet that a Deployment's controller works on; only this message names it."""
    found = _REPLICA_SET.search(condition(deployment, "Progressing").get("message") or "")
    return found[1] if found else ""


def _refusal(deployment: dict[str, Any]) -> tuple[str, str]:
    """Why the API server lets no new pod in. It may still speak of an older version's pods, which is not shown."""
    message = condition(deployment, "ReplicaFailure").get("message") or ""
    name = _new_replica_set(deployment)
    if not message or (name and "pods " in message and f'"{name}-' not in message):
        return "", ""
    for words, advice in _REFUSALS:
        if words in message:
            return f"{_sentence(message)} {advice}".strip(), "refused"
    return message, ""


def refusal_in_words(message: str, room: str = "") -> str:
    """What an API server says of what it does not let in, and what to do about it.

    :param room: what to do where a quota is full, other than usual.
    """
    known = next((item for item in _REFUSALS if item[0] in message), ("", ""))
    advice = room if room and known == _REFUSALS[0] else known[1]
    return f"{_sentence(message)} {advice}".strip()


def _failing_probes(pods: Iterable[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """Pods with a container that runs and is not ready, and what of it has not passed."""
    for pod in pods:
        for status, is_first in _statuses(pod):
            if "running" in (status.get("state") or {}) and not is_first and status.get("ready") is False:
                probe = "startup" if status.get("started") is False else "readiness"
                name, container = str(pod["metadata"]["name"]), status.get("name", "")
                yield name, f"Pod {name}, container {container}: it runs, but its {probe} probe does not pass."


def probe_failure(events: Iterable[dict[str, Any]]) -> str:
    """What the kubelet says last of a probe that fails, from the events of one pod."""
    failures = [event for event in events if event.get("reason") == "Unhealthy" and event.get("message")]
    if not failures:
        return ""
    told = without_secret_values(str(in_order(failures)[-1]["message"]))
    lines = [line for line in told.strip().splitlines() if line.strip()]
    return "\n".join(["The last failure:", *(f"    {line.rstrip()}" for line in lines[-_LINES:])])


def mounted(pod: dict[str, Any]) -> set[tuple[str, str]]:
    """Kind and name of the Secrets and ConfigMaps that a pod waits for, while its containers are being created."""
    status = pod.get("status") or {}
    statuses = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
    reasons = {((item.get("state") or {}).get("waiting") or {}).get("reason") for item in statuses}
    if not reasons & {"ContainerCreating", "PodInitializing"}:
        return set()
    found = set()
    for volume in (pod.get("spec") or {}).get("volumes") or []:
        parts = [volume, *((volume.get("projected") or {}).get("sources") or [])]
        for part in parts:
            for kind, key, name in (("Secret", "secret", "secretName"), ("ConfigMap", "configMap", "name")):
                source = part.get(key) or {}
                wanted = source.get(name) or source.get("name")
                if wanted and not source.get("optional"):
                    found.add((kind, str(wanted)))
    return found


def missing_reason(missing: Collection[tuple[str, str]]) -> str:
    """What is said of what pods mount and what does not exist."""
    names = ", ".join(f"{kind} {name}" for kind, name in sorted(missing))
    return f"Its pods mount {names}, which the namespace does not have. Create it, or correct the name."


def scaled_object_waits(scaled_object: dict[str, Any], kind: str = "ScaledObject") -> Waiting | None:
    """Why KEDA does not scale by a ScaledObject, or ScaledJob; None if it does or is paused on purpose."""
    name = f"{kind} {scaled_object['metadata']['name']}"
    progress = f"{name} not ready"
    ready, paused = condition(scaled_object, "Ready"), condition(scaled_object, "Paused")
    if ready.get("status") == "True" or paused.get("status") == "True":
        return None
    if ready.get("status") == "False":
        text = ready.get("message") or ready.get("reason") or "not ready"
        reason = f"KEDA says: {_sentence(text)} Check that KEDA can reach the broker with the credentials given."
        return Waiting(name, reason, progress=progress)
    return Waiting(name, "KEDA has not looked at it yet; check that its operator runs.", progress=progress)


def condition(obj: dict[str, Any] | None, kind: str) -> dict[str, Any]:
    """One condition of an object's status; empty if it has none of that type."""
    conditions = ((obj or {}).get("status") or {}).get("conditions") or []
    return next((item for item in conditions if item.get("type") == kind), {})


def _statuses(pod: dict[str, Any]) -> list[tuple[dict[str, Any], bool]]:
    """Status of each container, and whether it is one that ends before the others start."""
    status = pod.get("status") or {}
    first = [(item, True) for item in status.get("initContainerStatuses") or []]
    return [*first, *((item, False) for item in status.get("containerStatuses") or [])]


def exits_of(pod: dict[str, Any]) -> Iterator[Exit]:
    """The last end of each container of a pod."""
    for status, is_first in _statuses(pod):
        end, is_down = _last_end(status)
        code = end.get("exitCode")
        if isinstance(code, int) and not (is_first and code == 0):
            number = int(status.get("restartCount") or 0) + (1 if is_down else 0)
            yield Exit((str(pod["metadata"]["name"]), str(status.get("name"))), number, code, is_down)


def _last_end(status: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """How a container ended last, and whether it is down since."""
    state = status.get("state") or {}
    before = (status.get("lastState") or {}).get("terminated") or {}
    if "running" in state:
        return before, False
    return state.get("terminated") or before, True


def pod_fault(pods: Iterable[dict[str, Any]]) -> tuple[str, str]:
    """The first thing that keeps one of some pods down, and what kind of fault it is."""
    found = next(pod_troubles(pods), Trouble("", ""))
    return found.text, found.kind if found.kind in (_IMAGE, _CONFIG, _START) else ""


@dataclass(frozen=True)
class Trouble:
    """What keeps pods down, in words, and its kind: one of L(TROUBLES), or none of them."""

    text: str
    kind: str


#: Kinds of trouble beside those of a container that waits.
CRASH, UNSCHEDULABLE, REFUSED, QUOTA, STUCK = "crash", "unschedulable", "refused", "quota", "stuck"
TROUBLES = (_IMAGE, _CONFIG, _START, CRASH, UNSCHEDULABLE, REFUSED, QUOTA, STUCK)


def trouble_of(deployment: dict[str, Any], pods: Iterable[dict[str, Any]]) -> Trouble:
    """What keeps pods of a Deployment down, whatever its template; empty if nothing does that is known."""
    alive = [pod for pod in pods if not pod["metadata"].get("deletionTimestamp")]
    new = new_pods(deployment, alive)
    first = next(pod_troubles([*new, *(pod for pod in alive if pod not in new)]), None)
    if first is not None:
        return first
    text, _fault = _refusal(deployment)
    if text:
        return Trouble(text, QUOTA if _REFUSALS[0][0] in text else REFUSED)
    progress = condition(deployment, "Progressing")
    if progress.get("reason") == "ProgressDeadlineExceeded":
        return Trouble(str(progress.get("message") or ""), STUCK)
    return Trouble("", "")


def pod_troubles(pods: Iterable[dict[str, Any]]) -> Iterator[Trouble]:
    """What keeps each of some pods down."""
    for pod in pods:
        name = pod["metadata"]["name"]
        for status, is_first in _statuses(pod):
            container = str(status.get("name", ""))
            where = f"Pod {name}, container {container}:"
            end, is_down = _last_end(status)
            code, count = end.get("exitCode"), int(status.get("restartCount") or 0) + 1
            waiting = (status.get("state") or {}).get("waiting") or {}
            reason = waiting.get("reason", "")
            ends_again = reason in ("", "CrashLoopBackOff") and isinstance(code, int)
            if is_down and ends_again and not (is_first and code == 0):
                yield Trouble(f"{where} {_ended(end, count, container)}", CRASH)
            elif reason and reason not in ("PodInitializing", "ContainerCreating"):
                text, fault = _explained(reason, waiting.get("message") or "", container)
                yield Trouble(f"{where} {text}", fault or CRASH)
        scheduled = condition(pod, "PodScheduled")
        if scheduled.get("status") == "False":
            reason = scheduled.get("message", "")
            text = f"Pod {name} cannot be scheduled: {reason} Check resources, node_selector and tolerations."
            yield Trouble(text, UNSCHEDULABLE)


def _ended(end: dict[str, Any], count: int, container: str) -> str:
    """How a container ended, with the last lines of its log, which the kubelet keeps where it wrote no message."""
    times = "once" if count == 1 else f"{count} times"
    why = end.get("reason") or ""
    named = f" ({why})" if why not in ("", "Error", "Completed") else ""
    text = f"it has ended {times}, the last time with exit code {end['exitCode']}{named}."
    lines = without_secret_values(str(end.get("message") or "")).strip().splitlines()
    if not lines:
        return f"{text} Read its log with kubectl logs --previous, container {container}."
    return "\n".join([f"{text} {LAST_LINES}", *(f"    {line.rstrip()}" for line in lines[-_LINES:])])


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!")) else f"{text}."


def _advice_on_program(program: str, container: str) -> str:
    """What to write where the image lacks the program that starts a container."""
    if container not in (WORKER_CONTAINER, BEAT_CONTAINER):
        return "Check its image and its command."
    if program.startswith("python"):
        return (
            "Keys such as idle_first, max_starts and probe: consuming start the worker by it. Name the image's own in "
            "command_prefix, such as [python3, -m, celery] or [/venv/bin/celery]."
        )
    return (
        "Name the image's own in command_prefix, such as [/venv/bin/celery] or [python3, -m, celery], or check the "
        "image."
    )


def _explained(reason: str, message: str, container: str) -> tuple[str, str]:
    """A reason for which a container waits, and what kind of fault it is."""
    text = f"{reason}: {message}" if message else reason
    fault, advice = _ADVICE.get(reason, ("", ""))
    if "runAsNonRoot" in message and "root" in message:
        # Only workers have that key.
        otherwise = "" if container in (FLOWER, EXPORTER) else ", or loosen pod_security: baseline"
        return (
            f"{text}. The image runs as root or names its user by word. Set security_context: {{runAsUser: <number>}} "
            f"to a user of the image{otherwise}."
        ), fault
    program = _NO_PROGRAM.search(message)
    if fault == _START and program:
        name = program[1]
        text = f"{reason}: the image has no program {name}"
        advice = _advice_on_program(posixpath.basename(name), container)
    if reason == "CrashLoopBackOff":
        advice = f"It ends after its start; read its log with kubectl logs, container {container}."
    elif fault == _CONFIG and "not found" in message:
        advice = "Create it, or correct the name."
    return (f"{text}. {advice}" if advice else text), fault
