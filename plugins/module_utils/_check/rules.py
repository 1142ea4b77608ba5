# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules between the keys of a variant, and between variants.

What concerns work that could be lost is in _safety.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from .._build.containers import aws_keys
from .._build.demand import RESOURCE_TYPES
from .._celery.brokers import (
    answers_ping,
    scaler_login,
    scaler_tls,
    tls_files,
)
from .._celery.command import effective_pool
from .._celery.idle_first import marks_itself
from .._celery.in_flight import quarantines_of
from .._celery.launcher import beat_features, needs_launcher
from .._celery.programs.idle_first import ANNOTATION
from .._celery.sizing import resources_in_force
from .._celery.start import CELERY, python_words
from .._model.broker import Broker
from .._model.fleet import Fleet, Service, Variant, titles_of
from .._model.names import (
    LONGEST_DEPLOYMENT,
    LONGEST_SCALED_JOB,
    LONGEST_SCALED_OBJECT,
    WORKER_CONTAINER,
    beat_name,
    scaled_object_name,
)
from .._model.variant_keys import Pod
from .._schema.problems import Problems, suggest
from .._schema.quantities import quantity
from .containers import check_pod
from .jobs import check_jobs
from .refused import Refused, is_judged
from .risks import PathOf
from .starts import check_max_starts, check_quarantines, check_shared_max_starts
from .without_effect import check_unread_by_worker, check_without_effect


def check_variant(variant: Variant, service: Service, unread: frozenset[str], problems: Problems) -> None:
    """Rules within one variant.

    :param unread: its keys that were refused.
    """
    path_of, broker = variant.path_of, service.broker
    if "name" not in unread:
        _check_names(variant, path_of, problems)
    for check in (_check_process, _check_scaling, _check_queues, _check_probe) if is_judged(unread) else ():
        check(variant, path_of, problems)
    if is_judged(unread):
        check_start(variant.pod, needs_launcher(variant, broker), path_of, problems)
        check_jobs(variant, service, path_of, problems)
        check_max_starts(variant, service, path_of, problems)
        if not variant.adopted:
            check_unread_by_worker(variant, broker, path_of, problems)
    accepted = "plain-secret" in variant.knowledge.accept_risks or "accept_risks" in unread
    check_pod(variant.pod, path_of, problems, accepted, broker, unread)
    if broker is not None and broker.is_sound and not variant.adopted and is_judged(unread):
        _check_probe_of_broker(variant, broker, path_of, problems)


def check_fleet(fleet: Fleet, judged: Fleet, refused: Refused, problems: Problems) -> None:
    """Rules between variants.

    :param judged: the fleet without the variants that could not be read.
    """
    _check_unique_names(fleet, refused, problems)
    if not refused.hides_consumers(fleet):
        _check_consumers(fleet, problems)
    _check_scaled_brokers(judged, problems)
    _check_quorum_queues(judged, problems)
    check_quarantines(judged, problems)
    check_shared_max_starts(judged, problems)
    for service in fleet.services:
        _check_service(service, refused, problems)


def _check_service(service: Service, refused: Refused, problems: Problems) -> None:
    unread = refused.keys_of_service(service)
    if service.beat is not None:
        accepted = any(
            "plain-secret" in item.knowledge.accept_risks or "accept_risks" in refused.keys_of(item, service)
            for item in service.variants
        )
        check_pod(service.pod, service.path_of, problems, accepted, service.broker, unread)
        launches = beat_features(service) is not None
        if is_judged(unread):
            check_start(service.pod, launches, service.path_of, problems)
    without = [f"variant {item.name}" for item in service.variants if _lacks_image(item, service, refused)]
    if service.beat is not None and not service.pod.image and not unread & {"image", "inherit_from"}:
        without.append("beat")
    # What services take over has a message of its own where it is missing.
    if without and not service.inherits:
        problems.add(
            f"{service.path}.image",
            f"service {service.name} has no image for {', '.join(without)}; set it here, or image on the variant.",
        )


def _lacks_image(variant: Variant, service: Service, refused: Refused) -> bool:
    """Whether a variant has no image, and none that was refused."""
    unread = refused.keys_of(variant, service) | refused.keys_of_service(service)
    return not variant.pod.image and not variant.adopted and not unread & {"image", "inherit_from", "adopt", "enabled"}


def _check_process(variant: Variant, path_of: PathOf, problems: Problems) -> None:
    process = variant.process
    if process.reject_on_worker_lost and process.acks_late is False:
        problems.add(path_of("reject_on_worker_lost"), "it works only with late acknowledgement; set acks_late: true.")
    if process.time_limit and process.soft_time_limit and process.soft_time_limit >= process.time_limit:
        problems.add(
            path_of("soft_time_limit"),
            f"the soft limit {process.soft_time_limit} must be below time_limit {process.time_limit}; the task needs "
            "the time between them to end by itself.",
        )


def _check_scaling(variant: Variant, path_of: PathOf, problems: Problems) -> None:
    scaling = variant.scaling
    if scaling.min_replicas > scaling.max_replicas:
        problems.add(
            path_of("min_replicas"),
            f"min_replicas {scaling.min_replicas} of {variant.title} is above max_replicas {scaling.max_replicas}; "
            "lower one or raise the other.",
        )
    if variant.runs_as_jobs:
        return
    if scaling.idle_replicas is not None and scaling.idle_replicas >= scaling.min_replicas:
        problems.add(
            path_of("idle_replicas"), "idle_replicas must be below min_replicas; set min_replicas to 1 or more."
        )
    if scaling.fallback and (scaling.fallback.replicas or 0) > scaling.max_replicas:
        problems.add(path_of("fallback"), f"fallback.replicas is above max_replicas {scaling.max_replicas}.")
    check_without_effect(variant, path_of, problems)
    if marks_itself(variant) and ANNOTATION in variant.pod.pod_annotations:
        problems.add(
            path_of("pod_annotations"),
            f"idle_first of {variant.title} writes {ANNOTATION} itself; take it out of pod_annotations, or write "
            "idle_first: false.",
        )
    if scaling.scaler == "hpa":
        _check_pod_autoscaler(variant, path_of, problems)
    if variant.uses_keda:
        _check_resource_triggers(variant, path_of, problems)


def _check_names(variant: Variant, path_of: PathOf, problems: Problems) -> None:
    name = variant.deployment
    if variant.runs_as_jobs:
        if len(name) > LONGEST_SCALED_JOB:
            problems.add(
                path_of("name"),
                f"the ScaledJob name {name!r} has {len(name)} characters, {LONGEST_SCALED_JOB} are allowed, because "
                "Jobs and their pods add to it; set a shorter name.",
            )
        return
    longest = LONGEST_SCALED_OBJECT - len(scaled_object_name("")) if variant.uses_keda else LONGEST_DEPLOYMENT
    if len(name) > longest:
        reason = f", because KEDA takes ScaledObjects of {LONGEST_SCALED_OBJECT}" if variant.uses_keda else ""
        problems.add(
            path_of("name"),
            f"the Deployment name {name!r} has {len(name)} characters, {longest} are allowed{reason}; set a shorter "
            "name.",
        )


def _check_queues(variant: Variant, path_of: PathOf, problems: Problems) -> None:
    both = sorted(set(variant.queues) & set(variant.consumption.exclude_queues))
    if both:
        problems.add(path_of("exclude_queues"), f"{', '.join(both)} is consumed and excluded; write it in one list.")


def _check_probe(variant: Variant, path_of: PathOf, problems: Problems) -> None:
    probe, path = variant.pod.probe, path_of("probe")
    if probe.type == "exec" and not probe.command:
        problems.add(path, "type exec needs command, a list of arguments.")
    if probe.type != "exec" and probe.command:
        problems.add(path, f"command belongs to type exec, not to {probe.type}.")
    if probe.type in ("ping", "heartbeat") and effective_pool(variant.process) == "solo":
        problems.add(path, "a solo worker neither answers nor beats while a task runs; use exec or none.")
    if probe.type == "ping" and probe.liveness:
        problems.warn(
            path, "with ping as liveness check a broker outage restarts all workers together; heartbeat does not."
        )


def check_start(pod: Pod, launches: bool, path_of: PathOf, problems: Problems) -> None:
    """How Celery is started.

    :param launches: whether one of our files has to start it.
    """
    path, words = path_of("command_prefix"), pod.command_prefix
    if (
        CELERY in words[:-1]
        or set(words) & {"worker", "beat", "--"} - {words[0]}
        or any(word.startswith(("--app", "-A")) for word in words)
    ):
        problems.add(
            path,
            f"{' '.join(words)!r} must end where Celery's own arguments begin, as in [poetry, run, celery]; the app is "
            "the service's, and the words worker, beat and their options follow by themselves.",
        )
    elif any("$(" in word for word in words):
        problems.add(path, "Kubernetes would put a variable's value in place of $(NAME); write the value.")
    elif launches and python_words(pod) is None:
        problems.add(
            path,
            f"{' '.join(words)!r} does not say where Celery's Python is, and probe: heartbeat or consuming, "
            "run_as: jobs, max_starts, idle_first, enforce_settings, beat.probe: tick and the password of sentinels "
            "are started by it; end it in celery or -m celery, or leave these out.",
        )
    if not pod.pass_app and python_words(pod) is not None:
        problems.add(
            path_of("pass_app"), "celery needs its app; leave pass_app out, or name the program in command_prefix."
        )


def _check_pod_autoscaler(variant: Variant, path_of: PathOf, problems: Problems) -> None:
    wanted = {"cpu": variant.scaling.cpu_utilization, "memory": variant.scaling.memory_utilization}
    names = [name for name, percent in wanted.items() if percent] or ["cpu"]
    _check_requests(variant, names, path_of("scaler"), problems)
    if "min_replicas" in variant.written_keys and variant.scaling.min_replicas == 0:
        problems.add(path_of("min_replicas"), "an HPA keeps at least one pod; write 1 or more, or scaler: keda.")


def _check_resource_triggers(variant: Variant, path_of: PathOf, problems: Problems) -> None:
    """KEDA's webhook refuses a trigger of type cpu or memory over containers without a request (2.20)."""
    for trigger in variant.scaling.extra_triggers:
        if trigger["type"] in RESOURCE_TYPES:
            container = trigger["metadata"].get("containerName")
            _check_requests(variant, [trigger["type"]], path_of("extra_triggers"), problems, container)


def _check_requests(
    variant: Variant, names: Iterable[str], path: str, problems: Problems, container: str | None = None
) -> None:
    """Kubernetes measures against the request, and needs one of every container of a pod.

    :param container: the only one that is measured, if only one is.
    """
    owners = [item["name"] for item in (*variant.pod.sidecars, *variant.pod.pod_overrides.get("containers", []))]
    containers = {owner: resources_in_force(variant.pod, owner) for owner in dict.fromkeys([WORKER_CONTAINER, *owners])}
    for name in names:
        for owner, resources in containers.items():
            # The API server takes a limit for a request that is not given.
            given = {**resources["limits"], **(resources.get("requests") or {})}
            if container in (None, owner) and not quantity(given.get(name)):
                problems.add(
                    path,
                    f"{name} of {variant.title} is measured against its request, and the container {owner!r} has "
                    f"none; set resources.requests.{name}{'' if owner == WORKER_CONTAINER else ' in sidecars'}.",
                )


def _check_probe_of_broker(variant: Variant, broker: Broker, path_of: PathOf, problems: Problems) -> None:
    """A probe that asks through the broker, where the broker lets no such question or no heartbeat through."""
    kind = variant.pod.probe.type
    if kind == "ping" and not answers_ping(broker):
        other = "exec with a command of your own, or none" if broker.type == "sqs" else "heartbeat, exec or none"
        problems.add(
            path_of("probe"),
            f"no worker of service {variant.service} would answer a ping: {_no_ping(broker)}. Write probe: {other}.",
        )
    if kind == "consuming" and broker.type == "sqs":
        problems.add(
            path_of("probe"),
            f"SQS only guesses how many messages wait, so healthy workers of {variant.title} would be ended. Write "
            "probe: exec with a command of your own, or none.",
        )
    if kind == "heartbeat" and broker.type == "sqs":
        problems.add(
            path_of("probe"),
            f"no worker of service {variant.service} has a heartbeat, because SQS has no events. Write probe: exec "
            "with a command of your own, or none.",
        )


def _no_ping(broker: Broker) -> str:
    if broker.type == "sqs":
        return "SQS has no remote control"
    if broker.type == "redis-sentinel":
        return "celery inspect takes the URL alone, and the name of the sentinels' master cannot be part of it"
    if broker.global_keyprefix:
        return "celery inspect takes the URL alone, and global_keyprefix cannot be part of it"
    return "celery inspect takes no certificates for RabbitMQ over TLS"


def _check_scaled_brokers(fleet: Fleet, problems: Problems) -> None:
    """What the scalers lack to read a broker: said once, of the broker, for all variants that need it."""
    groups: dict[int, tuple[Broker | None, list[Variant]]] = {}
    for service in fleet.services:
        scaled = [variant for variant in service.variants if variant.is_counted]
        if scaled and (service.broker is None or service.broker.is_sound):
            groups.setdefault(id(service.broker), (service.broker, []))[1].extend(scaled)
    for broker, variants in groups.values():
        _check_scaled_broker(variants, broker, problems)


def _check_scaled_broker(variants: list[Variant], broker: Broker | None, problems: Problems) -> None:
    who = f"the scaler of {titles_of(variants)}"
    if broker is None or not broker.is_known:
        name = "enable_keda" if variants[0].scaling.enable_keda else "scaler"
        problems.add(
            variants[0].written_at(name),
            f"{who} needs the broker's address; set celery_workers_broker, for example {{type: redis, host: redis}}.",
        )
        return
    if broker.type == "sqs" and not broker.pod_identity and not aws_keys(broker):
        problems.add(
            broker.path,
            f"{who} needs access to SQS: set pod_identity: true, or access_key_id and secret_access_key.",
        )
    if broker.type == "rabbitmq":
        _check_management_login(who, broker, problems)
    reference = broker.scaler.secret if broker.scaler is not None else broker.secret
    if broker.is_redis and reference is not None and reference.password_key is None:
        problems.warn(
            broker.at("scaler" if broker.scaler is not None else "secret"),
            f"{who} reads the broker without a password, because secret names none; add password_key to it if the "
            "broker wants one.",
        )
    if broker.type == "rabbitmq" and tls_files(broker) and scaler_tls(broker) is None:
        problems.add(
            broker.at("tls"),
            "KEDA takes certificates for RabbitMQ only with the word enable from a Secret: put it into your Secret "
            "and name its key as tls_key of the broker's secret.",
        )


def _check_management_login(who: str, broker: Broker, problems: Problems) -> None:
    """The management API lets nobody in without a login, and KEDA takes both parts of one or none (2.20)."""
    login = scaler_login(broker)
    fix = "set username and password on the broker or its scaler, or username_key and password_key of secret."
    if not login:
        problems.warn(broker.path, f"RabbitMQ's management API needs a login; for {who} {fix}")
    elif set(login) != {"username", "password"}:
        problems.add(
            broker.path,
            f"{who} has no {'password' if 'username' in login else 'user name'} for RabbitMQ's management API, and "
            f"KEDA takes both or none; {fix}",
        )


def _check_quorum_queues(fleet: Fleet, problems: Problems) -> None:
    """Settings with which no worker starts on a quorum queue (measured, RabbitMQ 3.10 to 4)."""
    found: dict[tuple[str, str], list[Variant]] = defaultdict(list)
    for service in fleet.services:
        broker = service.broker
        for variant in service.variants if broker is not None and broker.is_sound else ():
            written = {name.lower().replace(".", "_"): name for name in variant.process.settings}
            values = {name: variant.process.settings[key] for name, key in written.items()}
            kinds = {broker.queue_type if broker is not None else "", *map(values.get, _QUEUE_TYPE_SETTINGS)}
            if broker is None or broker.type != "rabbitmq" or "quorum" not in kinds or variant.adopted:
                continue
            for name in _NOT_ON_QUORUM_QUEUES:
                if name in values and _breaks_quorum_queues(name, values[name]):
                    found[f"{variant.written_at('settings')}.{written[name]}", name].append(variant)
    for (path, name), variants in found.items():
        problems.add(path, _NOT_ON_QUORUM_QUEUES[name].format(who=titles_of(variants)))


_QUEUE_TYPE_SETTINGS = ("task_default_queue_type", "task_create_missing_queue_type")
_NOT_ON_QUORUM_QUEUES = {
    "task_queue_max_priority": (
        "a quorum queue takes no highest priority, so RabbitMQ refuses the queues of {who} (406 PRECONDITION_FAILED) "
        "and no worker starts. Leave it out, or write queue_type: classic if the app declares classic queues."
    ),
    "worker_detect_quorum_queues": (
        "without detection {who} asks for a prefetch count that a quorum queue does not have, and RabbitMQ ends the "
        "connection again and again (540 NOT_IMPLEMENTED). Leave it out."
    ),
}


def _breaks_quorum_queues(name: str, value: Any) -> bool:
    if name == "worker_detect_quorum_queues":
        return str(value).lower() in ("false", "0", "no", "off")
    return value is not None


def _check_unique_names(fleet: Fleet, refused: Refused, problems: Problems) -> None:
    alike: dict[str, list[str]] = defaultdict(list)
    for service in fleet.services:
        alike[service.name.replace("_", "-")].append(service.name)
        if len(alike[service.name.replace("_", "-")]) > 1:
            names = " and ".join(alike[service.name.replace("_", "-")])
            problems.add(service.path, f"the services {names} differ in '_' and '-' only, and their objects would not.")
    taken: dict[str, list[str]] = defaultdict(list)
    paths: dict[str, str] = {}
    for variant in fleet.variants:
        if refused.keys_of(variant, fleet.service_of(variant)) & {"name", "enabled", "adopt"}:
            continue
        taken[variant.deployment].append(variant.title)
        paths[variant.deployment] = f"{variant.path}.name"
    for service in fleet.services:
        if service.beat is not None:
            taken[beat_name(service.name)].append(f"beat of service {service.name}")
            paths.setdefault(beat_name(service.name), f"{service.path}.beat")
    for server in fleet.monitoring.servers:
        title = f"{server.part} of {', '.join(server.services)}"
        taken[server.name].append(title)
        paths.setdefault(server.name, f"celery_workers_{server.part}.name")
    for name, owners in taken.items():
        if len(owners) > 1:
            problems.add(
                paths[name], f"{' and '.join(owners)} would share the Deployment {name!r}; set name on one of them."
            )


def _check_consumers(fleet: Fleet, problems: Problems) -> None:
    """Every queue that is known or routed has a consumer, and every consumed queue is known or routed."""
    consumers = [variant for service in fleet.services for variant in (*service.variants, *service.left)]
    consumed = {queue for variant in consumers for queue in variant.queues}
    wanted = {
        queue: f"{service.path}.known_queues"
        for service in fleet.services
        if service.variants or service.left
        for queue in service.known_queues
    }
    routes = {route.queue: route.path or _ROUTING for route in reversed(fleet.routes)}
    for variant in fleet.variants:
        _warn_of_unknown_queues(fleet, variant, {*wanted, *routes}, problems)
    # What lies in quarantine waits for people.
    quarantines = {queue for variant in fleet.variants for queue in quarantines_of(variant)}
    for queue, path in {**wanted, **routes}.items():
        if queue not in consumed | (quarantines if queue not in routes else set()):
            near = f"; {suggest(queue, consumed)}" if queue in routes else "."
            problems.add(
                path,
                f"no variant consumes the queue {queue!r}, so its tasks would wait forever; add it to the queues of a "
                f"variant, or to a new one{near}",
            )


#: Where routes stand that nobody wrote one by one.
_ROUTING = "celery_workers_openedx_routing"


def _warn_of_unknown_queues(fleet: Fleet, variant: Variant, known: set[str], problems: Problems) -> None:
    """A queue that nobody sends to is often a mistyped one. Without known queues nobody can tell."""
    if not fleet.service_of(variant).known_queues:
        return
    for queue in variant.queues:
        if queue not in known:
            problems.warn(
                f"{variant.path}.queues",
                f"{variant.title} consumes {queue!r}, which the app neither knows nor any route names, so nothing may "
                f"ever arrive there; {suggest(queue, known)} A new queue needs a route in "
                "celery_workers_explicit_queues.",
            )
