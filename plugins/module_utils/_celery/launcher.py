# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that a ConfigMap brings into the worker's container: they start Celery, probe it, and help its scaler.

The worker is started by one of them and not by an environment variable: an injected PYTHONPATH would replace the
image's own.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from .._model.broker import Broker
from .._model.fleet import Service, Variant
from .brokers import key_prefix, sentinel_addresses
from .idle_first import marks_itself
from .programs import (
    beat_tick,
    check,
    check_beat,
    check_consuming,
    consuming,
    idle_first,
    max_starts,
    run_jobs,
    start,
    watching,
)

HEARTBEAT_MOUNT = "/celery-heartbeat"
LAUNCHER = f"{HEARTBEAT_MOUNT}/start.py"
SENTINEL_USERNAME, SENTINEL_PASSWORD = start.SENTINEL_USERNAME, start.SENTINEL_PASSWORD
#: Environment that says which features a worker is started with, and what each is told.
FEATURES_ENV = start.FEATURES_ENV

#: What every launched worker is started and probed with.
_BASE = (start, check)


@dataclass(frozen=True)
class Feature:
    """Something that the launcher does beside starting Celery.

    :param program: the file that does it. Its name is that of the feature.
    :param settings_of: what it is told for a variant, as JSON can hold it; None where the variant does not use it.
    :param files: further files that it imports, beside C(watching.py).
    """

    program: ModuleType
    settings_of: Callable[[Variant, Broker | None], dict[str, Any] | None]
    files: tuple[ModuleType, ...] = ()

    @property
    def name(self) -> str:
        """The feature as the environment of the worker names it."""
        return self.program.__name__.rpartition(".")[2]


#: Seconds that a stuck worker without tasks has to end by itself, and then, once its probe has failed, to be killed.
STUCK_PATIENCE, STUCK_GRACE = 15, 20
#: Seconds for which the starts of a task are counted at least, and visibility timeouts.
_COUNTED_SECONDS, _COUNTED_TIMEOUTS = 2 * 86400, 4


def _consuming(variant: Variant, _broker: Broker | None) -> dict[str, Any] | None:
    probe = variant.pod.probe
    return {"seconds": probe.consuming_seconds} if probe.type == "consuming" else None


def _run_jobs(variant: Variant, broker: Broker | None) -> dict[str, Any] | None:
    if not variant.runs_as_jobs:
        return None
    told: dict[str, Any] = {"idle": variant.jobs.idle_seconds, "age": variant.jobs.max_age_seconds}
    if broker is not None and variant.unacked is not None:
        told["hash"] = f"{key_prefix(broker)}{variant.unacked.hash}"
    return told


def _idle_first(variant: Variant, _broker: Broker | None) -> dict[str, Any] | None:
    return {} if marks_itself(variant) else None


def _max_starts(variant: Variant, broker: Broker | None) -> dict[str, Any] | None:
    process = variant.process
    if process.max_starts is None or broker is None:
        return None
    if broker.type == "rabbitmq":
        return {"most": process.max_starts, "store": "queue"}
    seconds = max(_COUNTED_SECONDS, _COUNTED_TIMEOUTS * (process.visibility_timeout or 0))
    return {"most": process.max_starts, "store": "redis", "key": process.starts_key, "seconds": seconds}


def _no_worker(_variant: Variant, _broker: Broker | None) -> dict[str, Any] | None:
    return None


#: What beat notes for its probe.
BEAT_TICK = Feature(beat_tick, _no_worker, (check_beat,))

#: Every feature, in the order in which they are installed.
FEATURES: tuple[Feature, ...] = (
    BEAT_TICK,
    Feature(consuming, _consuming, (check_consuming,)),
    Feature(run_jobs, _run_jobs),
    Feature(max_starts, _max_starts),
    Feature(idle_first, _idle_first),
)


def features_of(variant: Variant, broker: Broker | None) -> dict[str, dict[str, Any]]:
    """Features that a variant's workers are started with, each with what it is told."""
    told = {feature.name: feature.settings_of(variant, broker) for feature in FEATURES}
    return {name: settings for name, settings in told.items() if settings is not None}


def features_value(features: dict[str, dict[str, Any]]) -> str:
    """Features as the environment of a worker holds them."""
    return json.dumps(features, sort_keys=True, separators=(",", ":"))


def files_of(names: Iterable[str]) -> dict[str, str]:
    """The files that a worker with some features is started with, name to text."""
    chosen = set(names)
    wanted = [feature for feature in FEATURES if feature.name in chosen]
    programs = [*_BASE, *([watching] if wanted else [])]
    for feature in wanted:
        programs += [feature.program, *feature.files]
    return {f"{program.__name__.rpartition('.')[2]}.py": inspect.getsource(program) for program in programs}


def service_files(service: Service) -> dict[str, str]:
    """The files of all launched workers of a service; empty where none is launched. Beat is launched by the same."""
    own = [variant for variant in service.variants if not variant.adopted]
    launched = beat_features(service)
    if launched is None and not any(needs_launcher(variant, service.broker) for variant in own):
        return {}
    return files_of([*(launched or ()), *(name for variant in own for name in features_of(variant, service.broker))])


def beat_features(service: Service) -> dict[str, dict[str, Any]] | None:
    """Features that a service's beat is started with; None where it is not started by one of our files."""
    if service.beat is None:
        return None
    if service.beat.probe == "tick":
        return {BEAT_TICK.name: {}}
    return {} if sentinel_password(service.broker) is not None else None


def files_hash(names: Iterable[str]) -> str:
    """Changes when the files of a worker with some features change, so that pods roll with theirs and no others."""
    content = "\0".join(f"{name}\0{text}" for name, text in sorted(files_of(names).items()))
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def needs_launcher(variant: Variant, broker: Broker | None) -> bool:
    """Whether the worker is started by one of our files."""
    wanted = variant.pod.probe.type == "heartbeat" or variant.process.enforce_settings
    return wanted or bool(sentinel_password(broker)) or bool(features_of(variant, broker))


def sentinel_password(broker: Broker | None) -> tuple[str, str] | None:
    """Secret and key with the password of the sentinels themselves."""
    if broker is None or broker.type != "redis-sentinel":
        return None
    if broker.secret is not None and broker.secret.sentinel_password_key:
        return broker.secret.name, broker.secret.sentinel_password_key
    return (broker.own_secret, "sentinel_password") if broker.sentinel_password else None


def start_command(python: Sequence[str]) -> list[str]:
    """Command of the container; its arguments stay those of C(celery)."""
    return [*python, LAUNCHER]


def started_command() -> list[str]:
    """Command that passes once a worker is ready that one of our files has started. It starts no Python."""
    return ["sh", "-c", f"test -e {start.BEAT_FILE} || {{ echo 'the worker is not ready yet; see its log'; exit 1; }}"]


def check_command(python: str, limit: int, broker: Broker | None) -> list[str]:
    """Command of the probe.

    :param limit: seconds after which the file is stale.
    """
    return [python, f"{HEARTBEAT_MOUNT}/check.py", str(limit), *broker_addresses(broker)]


def consuming_command(python: str, grace: int) -> list[str]:
    """Command of the probe that fails for a worker which takes nothing and does not end.

    :param grace: seconds that tasks have which still run, as when their pod is stopped.
    """
    return [python, f"{HEARTBEAT_MOUNT}/check_consuming.py", str(STUCK_PATIENCE), str(grace)]


def tick_command(python: str, broker: Broker | None) -> list[str]:
    """Command of the probe that fails for a beat which no longer ticks."""
    return [python, f"{HEARTBEAT_MOUNT}/check_beat.py", *broker_addresses(broker)]


def broker_addresses(broker: Broker | None) -> list[str]:
    """Host and port of the broker, or of each sentinel; empty where nobody says."""
    if broker is None:
        return []
    if broker.hosts:
        return sentinel_addresses(broker)
    host = f"[{broker.host}]" if ":" in broker.host else broker.host
    return [f"{host}:{broker.port}"] if host else []
