# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks a question in a running pod. Reads only; nothing is written to the cluster."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from .._celery.adoption import Cut, cut_by_adoption
from .._celery.command import app_of, written_options
from .._celery.inquiry import (
    NO_PYTHON,
    Answer,
    Question,
    answer_from,
    command_of,
    settings_in,
)
from .._celery.launcher import LAUNCHER
from .._celery.start import python_in
from .._model.fleet import Fleet, Variant
from .._model.observed import Observed, ObservedObject, template_of
from .._model.sources import app_container
from .._schema.secret_signs import without_values
from .changes import first_cause
from .key_changes import (
    FINISHED,
    KeyChange,
    drain_obstacle,
    drain_worker,
    draining,
    drains_already,
    key_changes,
    no_drain,
    question_about,
    question_to,
    read_by,
    refusal,
)
from .lacking import refusal_in
from .operator_metrics import distrust, is_without_work
from .reading import (
    Cluster,
    fleet_pods,
    fleet_workers,
    pods_of,
)
from .verification import (
    Finding,
    missing_key,
    question_for,
    verified,
)

#: Seconds that the import of an app and the question may take together.
_LONGEST = 120
#: Seconds after which a worker that did not answer is asked once more.
_PAUSE = 5


def ready_pod(pods: list[dict[str, Any]]) -> dict[str, Any] | None:
    """A pod whose worker answers: running, ready and not about to go."""
    for pod in sorted(pods, key=lambda item: str(item["metadata"]["name"])):
        status = pod.get("status") or {}
        ready = any(
            item.get("type") == "Ready" and item.get("status") == "True" for item in status.get("conditions") or []
        )
        if ready and status.get("phase") == "Running" and not pod["metadata"].get("deletionTimestamp"):
            return pod
    return None


def worker_args_of(deployment: Mapping[str, Any]) -> list[str]:
    """Arguments of the worker in a Deployment, ScaledJob or pod as the API server returned it."""
    container = app_container(_pod_spec(deployment), str(deployment["metadata"]["name"]))
    return list(container.get("args") or [])


def _pod_spec(worker: Mapping[str, Any]) -> dict[str, Any]:
    """The spec of the pods of what starts workers; of a pod its own."""
    spec = worker.get("spec") or {}
    found = template_of("ScaledJob" if "jobTargetRef" in spec else "Deployment", spec).get("spec", spec)
    return dict(found)


def ask(cluster: Cluster, pod: Mapping[str, Any], question: Question, patience: int = _LONGEST) -> Answer:
    """Run the question in a pod's worker container.

    :param patience: seconds that it may take.
    :returns: the answer; one with an error where there is none.
    """
    name = str(pod["metadata"]["name"])
    output, errors, fault = run_in(cluster, pod, partial(command_of, question), patience)
    if fault:
        return Answer(error=fault)
    answer = answer_from(output)
    if answer is not None and answer.error != NO_PYTHON:
        return answer
    return replace(answer or Answer(), error=no_answer(name, NO_PYTHON if answer is not None else errors))


def run_in(
    cluster: Cluster,
    pod: Mapping[str, Any],
    command: Callable[[list[str] | None], list[str]],
    patience: int = _LONGEST,
) -> tuple[str, str, str]:
    """Run a command in a pod's worker container.

    :param command: what it is, for the words that start the Python of its Celery.
    :returns: standard output, standard error, and why it could not be run.
    """
    name = str(pod["metadata"]["name"])
    container = app_container(pod["spec"], name)
    python = python_in([*(container.get("command") or []), *(container.get("args") or [])], LAUNCHER)
    try:
        return (*_execute(cluster, name, container["name"], command(python), patience), "")
    except Exception as error:  # the client raises one class per status, and others for the network
        cause = first_cause({"msg": without_values(str(error), cluster.hidden)})
        refused = refusal_in(cause)
        # That holds for every pod, so that it is told once.
        return (
            "",
            "",
            f"no pod could be asked: Forbidden: {refused}" if refused else f"{name} could not be asked: {cause}",
        )


def no_answer(name: str, errors: str) -> str:
    """What is said of a pod that did not answer.

    :param errors: what it printed instead.
    """
    last = (errors.strip().splitlines() or ["no output"])[-1]
    # What an app prints may hold a URL with its password.
    last = last.partition("://")[0][:200]
    return f"{name} gave no answer ({last}); check that its image has Celery and that its app imports"


@dataclass(frozen=True)
class _Way:
    """The way into a container as the library's C(stream) takes it: a method, and a client whose transport it changes.

    The library has such a method of its own. But importing its models takes a second of processor time.

    :param client: its dynamic client.
    """

    client: Any

    @property
    def api_client(self) -> Any:
        return self.client.client

    def enter(self, path: str, query: list[tuple[str, str]], **_: Any) -> Any:
        return self.client.request("GET", path, query_params=query, serialize=False)


def _execute(cluster: Cluster, pod: str, container: str, command: list[str], patience: int) -> tuple[str, str]:
    """Standard output and standard error of a command in a container."""
    # Who got this far has it: opening the cluster has failed without.
    from kubernetes.stream import stream

    # The library changes its client while it opens a stream, and threads share one.
    own = copy.copy(cluster.client.client)
    own.client = copy.copy(own.client)
    query = [*(("command", word) for word in command), ("container", container), ("stdout", "true"), ("stderr", "true")]
    path = f"/api/v1/namespaces/{cluster.namespace}/pods/{pod}/exec"
    session = stream(_Way(own).enter, path, query, _preload_content=False)
    try:
        session.run_forever(timeout=patience)
        return session.read_stdout(timeout=0) or "", session.read_stderr(timeout=0) or ""
    finally:
        session.close()


def ask_fleet(cluster: Cluster, fleet: Fleet, canaries: bool) -> tuple[list[Finding], list[str]]:
    """What a worker of every variant says, and the Deployments and ScaledJobs that have nobody to ask."""
    kinds = {variant.worker_object[0] for variant in fleet.variants}
    deployments = fleet_workers(cluster, fleet.name, kinds)
    pods = fleet_pods(cluster, fleet.name, deployments.values())
    found, silent = [], []
    for service in fleet.services:
        for variant in service.variants:
            live = deployments.get(variant.deployment)
            pod = ready_pod(pods_of(live, pods)) if live is not None else None
            if pod is None:
                silent.append(variant.deployment)
                continue
            answer = _ask_twice(cluster, pod, question_for(variant, service, canaries))
            found.append(verified(variant, service, pod["metadata"]["name"], answer))
    return found, silent


def _ask_twice(cluster: Cluster, pod: Mapping[str, Any], question: Question) -> Answer:
    """Without a probe a pod is ready before its worker is."""
    answer = ask(cluster, pod, question)
    if question.inspects and not (answer.answered or answer.error):
        time.sleep(_PAUSE)
        answer = ask(cluster, pod, question)
    return answer


@dataclass
class AtRisk:
    """What a run would leave behind, and what becomes of it.

    :param problems: why the run stops.
    :param drains: workers that are left on an old key.
    :param busy: workers of an earlier run that still drain, each with what it says.
    :param needed: kind and name of what workers that drain read, which must stay as long as they do.
    :param refused: Deployments that the problems are about.
    """

    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    drains: list[dict[str, Any]] = field(default_factory=list)
    busy: dict[str, str] = field(default_factory=dict)
    needed: set[tuple[str, str]] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)

    def refuse(self, deployment: str, text: str) -> None:
        """Note why the run stops before it touches a Deployment."""
        self.problems.append(text)
        self.refused.add(deployment)


def work_at_risk(
    cluster: Cluster, fleet: Fleet, observed: Observed, policy: str, prunes: bool = False, finishes: bool = False
) -> AtRisk:
    """Ask the pods whose key or grace period would change, and those that drain.

    :param policy: one of L(POLICIES), or FINISHED.
    :param prunes: whether Deployments that no variant owns will be removed.
    :param finishes: whether workers finish what they run before their pods are replaced.
    """
    found = AtRisk()
    changes = [] if policy == "accept" else _changes(fleet, observed, prunes, finishes)
    cuts = cut_by_adoption(fleet, observed) if policy == "stop" and not finishes else []
    drains = draining(fleet.name, observed)
    tracked = [] if policy == "accept" else [item for item in fleet.variants if item.adopted and item.goes_to_zero]
    if not changes and not drains and not cuts and not tracked:
        return found
    deployments = {item["metadata"]["name"]: item for item in cluster.list_objects("Deployment", "apps/v1") or []}
    jobs = _scaled_jobs(cluster, changes)
    asked = {change.deployment for change in changes} | {cut.deployment for cut in cuts}
    asked |= {variant.deployment for variant in tracked}
    others = [item for name, item in deployments.items() if name in asked]
    pods = fleet_pods(cluster, fleet.name, others)
    for cut in cuts:
        for text in _running_in(cluster, cut, deployments, pods):
            found.refuse(cut.deployment, text)
    for variant in tracked:
        for text in _unseen(cluster, fleet, variant, deployments, pods) if variant.deployment in deployments else ():
            found.refuse(variant.deployment, text)
    for item in drains:
        if item.name in deployments:
            _still_drains(found, cluster, item, deployments[item.name], pods)
    for change in changes:
        live = (jobs if change.kind == "ScaledJob" else deployments).get(change.deployment)
        if live is None or (change.is_idle and not pods_of(live, pods) and not _may_be_left(live)):
            continue
        answer = _asked(cluster, live, pods, partial(question_about, change), is_leaving=change.is_idle)
        resumed = {item.name for item in drains if drains_already(change, item)}
        _settle(found, fleet, change, live, answer, policy, resumed)
    return found


def _scaled_jobs(cluster: Cluster, changes: Iterable[KeyChange]) -> dict[str, dict[str, Any]]:
    if not any(change.kind == "ScaledJob" for change in changes):
        return {}
    return {item["metadata"]["name"]: item for item in cluster.list_objects("ScaledJob", "keda.sh/v1alpha1") or []}


def _may_be_left(worker: Mapping[str, Any]) -> bool:
    """Whether a ScaledJob without a pod may have left something, for which KEDA is about to start a Job."""
    return "jobTargetRef" in worker["spec"] and not is_without_work(dict(worker))


def _still_drains(
    found: AtRisk, cluster: Cluster, item: ObservedObject, live: dict[str, Any], pods: list[dict[str, Any]]
) -> None:
    answer = _asked(cluster, live, pods, partial(question_to, item))
    if answer.held != 0:
        left = f"{answer.held} messages" if answer.held is not None else f"not known: {answer.error}"
        found.busy[item.name] = f"Deployment {item.name} stays until its old key is empty ({left})."
        found.needed |= read_by(live["spec"]["template"]["spec"])


def _changes(fleet: Fleet, observed: Observed, prunes: bool, finishes: bool) -> list[KeyChange]:
    """What changes of keys and grace periods. Pods that run nothing have time enough, however short it is."""
    return [change for change in key_changes(fleet, observed, prunes) if change.moves_key or not finishes]


def runs(pod: Mapping[str, Any]) -> bool:
    """Whether any container of a pod runs; one that cannot start, or crashes, works on nothing."""
    status = pod.get("status") or {}
    states = [item.get("state") or {} for item in status.get("containerStatuses") or []]
    return status.get("phase") == "Running" and (not states or any("running" in state for state in states))


def _running_in(
    cluster: Cluster, cut: Cut, deployments: dict[str, dict[str, Any]], pods: list[dict[str, Any]]
) -> Iterable[str]:
    """Why a Deployment that is about to be narrowed must not be yet: its workers run something."""
    live = deployments.get(cut.deployment)
    answer = ask_running(cluster, live, pods) if live is not None else Answer(running=())
    if answer.running != ():
        yield cut.refusal(answer.running, answer.error)


def _unseen(
    cluster: Cluster, fleet: Fleet, variant: Variant, deployments: dict[str, dict[str, Any]], pods: list[dict[str, Any]]
) -> Iterable[str]:
    """Why an adopted variant must not go to zero: its workers do not keep what they hold where its scaler looks."""
    pod = ready_pod(pods_of(deployments[variant.deployment], pods))
    if pod is None or variant.unacked is None:
        return
    answer = ask(cluster, pod, replace(question_for(variant, fleet.service_of(variant), False), inspects=False))
    if answer.error or answer.own_hash != variant.unacked.hash:
        yield missing_key(variant, answer.own_hash or answer.error)


def ask_running(
    cluster: Cluster, live: dict[str, Any], pods: list[dict[str, Any]], consumes: str = "", patience: int = 0
) -> Answer:
    """What the workers of a Deployment run. The parameters are those of L(Question)."""
    own = [pod for pod in pods_of(live, pods) if runs(pod)]
    asked = ready_pod(own)
    if asked is None:
        # Who does not run yet, or not any more, runs no task.
        return Answer(running=()) if not own else Answer(error="no pod is ready")
    names = tuple(sorted(str(pod["metadata"]["name"]) for pod in own))
    words = worker_words_of(live)
    question = Question(
        app=app_of(words),
        group="",
        settings=settings_in(words),
        queues=tuple(filter(None, (written_options(words).get("queues") or "").split(","))),
        pods=names,
        consumes=consumes,
        patience=patience,
    )
    return ask(cluster, asked, question)


def worker_words_of(deployment: Mapping[str, Any]) -> list[str]:
    """The command line of the worker in a Deployment or ScaledJob, whichever field holds it."""
    container = app_container(_pod_spec(deployment), str(deployment["metadata"]["name"]))
    return [*(container.get("command") or []), *(container.get("args") or [])]


def _asked(
    cluster: Cluster,
    live: dict[str, Any],
    pods: list[dict[str, Any]],
    question: Callable[[Iterable[str]], Question],
    is_leaving: bool = False,
) -> Answer:
    own = pods_of(live, pods)
    pod = ready_pod(own)
    if pod is None and is_leaving:
        pod = next((item for item in own if (item.get("status") or {}).get("phase") == "Running"), None)
    if pod is None:
        return Answer(error=_why_silent(live))
    return ask(cluster, pod, question(worker_args_of(live)))


def _why_silent(live: dict[str, Any]) -> str:
    if "jobTargetRef" not in live["spec"]:
        return "no pod is ready"
    return distrust(live) or "KEDA says that there is work, and none of its Jobs is ready"


def _settle(
    found: AtRisk,
    fleet: Fleet,
    change: KeyChange,
    live: dict[str, Any],
    answer: Answer,
    policy: str,
    resumed: Collection[str],
) -> None:
    """Note what becomes of what a key holds.

    :param resumed: workers that an earlier run has left on this very key.
    """
    if answer.held == 0:
        return
    message = refusal(change, answer.held, answer.error, policy == FINISHED)
    taken = {*found.busy, *(variant.deployment for variant in fleet.variants)}.difference(resumed)
    if policy in ("stop", FINISHED):
        found.refuse(change.deployment, message)
    elif not change.moves_key:
        found.warnings.append(message)
    elif obstacle := drain_obstacle(change, live, taken):
        found.refuse(change.deployment, no_drain(change, answer.held, answer.error, obstacle))
    else:
        worker = drain_worker(fleet, change, live)
        found.drains.append(worker)
        found.needed |= read_by(worker["spec"]["template"]["spec"])
