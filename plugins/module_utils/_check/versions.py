# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Safety rules: what needs which release of Celery, kombu, KEDA, RabbitMQ and Redis."""

from __future__ import annotations

from .._build.demand import FORMULA_TYPES
from .._celery.brokers import (
    answers_ping,
)
from .._celery.launcher import broker_addresses
from .._model.fleet import Fleet, Service, Variant, titles_of
from .._schema.problems import Problems
from .._schema.versions import (
    OLDEST,
    as_text,
    below_oldest,
    older,
)
from .risks import Case, is_accepted, with_rule


def judge_versions(case: Case) -> None:
    variant, versions = case.variant, case.versions
    process, scaling = variant.process, variant.scaling
    wanted: list[_Feature] = [
        (process.disable_prefetch, "celery", "5.6", "disable_prefetch", "leave it out"),
        (
            process.soft_shutdown_timeout,
            "celery",
            "5.5",
            "soft_shutdown_timeout",
            "raise termination_grace_period instead",
        ),
    ]
    if variant.uses_keda:
        wanted += _keda_features(variant)
    if variant.has_scaler:
        tolerance = any("tolerance" in part for part in scaling.behavior.values() if isinstance(part, dict))
        wanted.append((tolerance, "kubernetes", "1.35", "behavior", "leave tolerance out"))
        # One key that both are too old for is one problem.
        kept = tolerance and variant.uses_keda and not older(versions.kubernetes, "1.35")
        wanted.append((kept, "keda", "2.18", "behavior", "leave tolerance out"))
    wanted += [
        (True, "celery", since, f"settings.{name}", "leave it out")
        for name, since in _SETTINGS_SINCE.items()
        if name in case.settings
    ]
    for used, software, needed, key, mend in wanted:
        found = getattr(versions, software)
        # What is too old for everything is said once, for the fleet.
        if used and older(found, needed) and not below_oldest(software, found):
            case.refuse(
                "version",
                key,
                f"{key} of {case.who} needs {_SOFTWARE[software]} {needed}, and {as_text(found)} is installed: "
                f"{mend}, or upgrade.",
            )


#: Settings that an older Celery takes in silence and does not know (from the sources of 5.5 to 5.7).
_SETTINGS_SINCE = {
    "beat_enable_remote_control": "5.7",
    "control_queue_exclusive": "5.6",
    "event_queue_exclusive": "5.6",
    "task_acks_on_failure": "5.7",
    "task_acks_on_timeout": "5.7",
    "task_create_missing_queue_type": "5.6",
    "task_create_missing_queue_exchange_type": "5.6",
    "task_retry_on_worker_lost": "5.7",
    "worker_pool_start_method": "5.7",
}
#: Whether it is used, the software, the version it needs, the key, and the mend.
_Feature = tuple[object, str, str, str, str]
_SOFTWARE = {"celery": "Celery", "keda": "KEDA", "kubernetes": "Kubernetes"}


def _keda_features(variant: Variant) -> list[_Feature]:
    scaling = variant.scaling
    # From its expr-lang: KEDA 2.12 has no floor(), and takes a choice of a reading for no number.
    chooses = variant.sees_in_flight and any(trigger["type"] in FORMULA_TYPES for trigger in scaling.extra_triggers)
    activates = variant.sees_in_flight and bool(scaling.activation_list_length)
    paused = (scaling.paused or "").startswith("paused-scale")
    behavior = scaling.fallback is not None and scaling.fallback.behavior not in (None, "static")
    return [
        (scaling.budget is not None, "keda", "2.13", "budget", "leave it out"),
        (chooses, "keda", "2.13", "extra_triggers", "leave those of type cron and prometheus out"),
        (activates, "keda", "2.13", "activation_list_length", "leave it out"),
        ("initial_cooldown_period" in variant.written_keys, "keda", "2.14", "initial_cooldown_period", "leave it out"),
        (behavior, "keda", "2.17", "fallback", "write fallback: {behavior: static}"),
        (paused, "keda", "2.18", "paused", "write paused: true"),
    ]


def judge_old_celery(fleet: Fleet, problems: Problems) -> None:
    variants = [
        item
        for item in fleet.variants
        if (broker := fleet.service_of(item).broker) and broker.is_sound and broker.queue_type == "quorum"
    ]
    found = fleet.versions.celery
    if variants and older(found, "5.5") and not below_oldest("celery", found) and not is_accepted("version", variants):
        message = (
            f"{titles_of(variants)} on quorum queues needs Celery 5.5, and {as_text(found)} is "
            "installed: RabbitMQ would end the connection again and again (540 NOT_IMPLEMENTED). Use classic queues, "
            "or upgrade Celery."
        )
        problems.add("celery_workers_celery_version", with_rule(message, "version"))


def judge_too_old(fleet: Fleet, problems: Problems) -> None:
    """Releases that nothing here was ever made for."""
    made = [variant for variant in fleet.variants if not variant.adopted]
    concerned = {
        "celery": made,
        "keda": [variant for variant in fleet.variants if variant.is_counted],
        "kubernetes": list(fleet.variants),
    }
    for software, variants in concerned.items():
        found = getattr(fleet.versions, software)
        refusing = [variant for variant in variants if "version" not in variant.knowledge.accept_risks]
        if refusing and below_oldest(software, found):
            message = (
                f"{_SOFTWARE[software]} {as_text(found)} is older than {OLDEST[software]}, the oldest that works for "
                f"{titles_of(refusing)}. Upgrade it, or correct the version."
            )
            problems.add(f"celery_workers_{software}_version", with_rule(message, "version"))


def _on_redis(fleet: Fleet) -> list[Variant]:
    brokers = ((item, fleet.service_of(item).broker) for item in fleet.variants)
    return [item for item, broker in brokers if broker is not None and broker.is_sound and broker.is_redis]


def judge_old_kombu(fleet: Fleet, problems: Problems) -> None:
    variants = _on_redis(fleet)
    kombu = fleet.versions.kombu
    if not variants or not older(kombu, "5.7") or is_accepted("version", variants):
        return
    path = "celery_workers_kombu_version"
    if older(kombu, "5.4"):
        message = (
            f"kombu {as_text(kombu)} hangs after a restart of Redis (reported; better since 5.4.0), and "
            f"{titles_of(variants)} would wait for ever. Upgrade kombu to 5.7, or at least to 5.4."
        )
        problems.add(path, with_rule(message, "version"))
    else:
        message = (
            f"after Redis was away, a worker with kombu {as_text(kombu)} may live and take no more messages "
            f"(reported). That concerns {titles_of(variants)}. Upgrade kombu to 5.7."
        )
        problems.warn(path, with_rule(message, "version"))


def judge_old_redis(fleet: Fleet, problems: Problems) -> None:
    """kombu 5.7 needs Redis 6.2 (from its requirements); a kombu that nobody names counts as new."""
    variants = _on_redis(fleet)
    redis, kombu = fleet.versions.redis, fleet.versions.kombu
    if variants and older(redis, "6.2") and not older(kombu, "5.7") and not is_accepted("version", variants):
        message = (
            f"kombu {as_text(kombu) or '5.7'} needs Redis 6.2, and {as_text(redis)} is installed: no worker of "
            f"{titles_of(variants)} could take a message. Upgrade Redis, or write celery_workers_kombu_version if "
            "an older kombu is in the images."
        )
        problems.add("celery_workers_redis_version", with_rule(message, "version"))


def _judge_tick(service: Service, path: str, problems: Problems) -> None:
    """A tick takes for as long as the broker is away, and the probe must be able to tell."""
    broker = service.broker
    if broker is not None and (broker.type == "sqs" or not broker.is_sound or broker_addresses(broker)):
        return
    problems.add(
        path,
        f"the probe of the beat of service {service.name} tells a beat that hangs from a broker that is away, and the "
        "inventory does not say where the broker is. Write host in celery_workers_broker, or probe: none.",
    )


def judge_beat_liveness(fleet: Fleet, problems: Problems) -> None:
    for service in fleet.services:
        beat = service.beat
        if beat is None:
            continue
        path = f"{service.path}.beat.{'probe' if beat.liveness is None else 'liveness'}"
        other = {True: ("tick", "none"), False: ("tick", "ping"), None: ()}[beat.liveness]
        if beat.probe in other:
            word = str(beat.liveness).lower()
            problems.add(
                path, f"probe {beat.probe} of beat, and liveness {word} says another thing; write probe alone."
            )
            continue
        if beat.probe == "tick":
            _judge_tick(service, path, problems)
        if not (beat.liveness or beat.probe == "ping"):
            continue
        if service.broker is not None and not service.broker.is_sound:
            continue
        if service.broker is None or not answers_ping(service.broker):
            message = f"no ping reaches the beat of service {service.name} over its broker; write beat.probe: tick."
            problems.add(path, message)
        elif older(fleet.versions.celery, "5.7") and not is_accepted("version", service.variants):
            message = (
                f"a ping of the beat of service {service.name} needs Celery 5.7, and {as_text(fleet.versions.celery)} "
                "is installed: write beat.probe: tick, or upgrade."
            )
            problems.add(path, with_rule(message, "version"))
