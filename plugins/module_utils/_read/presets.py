# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the collection knows of systems that it has a preset for, and the profiles of queues."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .._celery.sizing import NO_EVICTION


@dataclass(frozen=True)
class Preset:
    """The lowest layers of an inventory.

    :param env: environment per service that its image cannot start without; it is added unless the inventory names it.
    :param inherits: Deployments per service that its workers are made like where no image is written; the first that
        exists counts.
    :param transport_options: what the app's own settings say, for workers whose command line replaces it.
    """

    services: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    queue_defaults: dict[str, Any] = field(default_factory=dict)
    broker: dict[str, Any] = field(default_factory=dict)
    env: dict[str, dict[str, str]] = field(default_factory=dict)
    transport_options: dict[str, Any] = field(default_factory=dict)
    inherits: dict[str, tuple[str, ...]] = field(default_factory=dict)


def _openedx_service(name: str, variants: tuple[str, ...]) -> dict[str, Any]:
    return {
        "app": f"{name}.celery",
        # The Tutor plugin forces late acknowledgement on every task, so each has to bear a second run there too.
        "idempotent": True,
        "queue_name": "edx.{service}.core.{variant}",
        # CELERY_QUEUES of edx-platform, Verawood release.
        "known_queues": [f"edx.{name}.core.{variant}" for variant in variants],
    }


_LMS = ("default", "high", "high_mem")
_CMS = ("default", "high", "low")

#: A change of the grading policy sends its tasks with a countdown of an hour (edx-platform, quince to verawood).
#: No profile: the numbers of tutor-contrib-celery, which are the collection's, hold until somebody asks for others.
_REPORTS = {"longest_eta_seconds": 3600}

#: Open edX as Tutor 22 runs it: two services, their queues, Tutor's Redis, user 1000.
OPENEDX = Preset(
    services={"lms": _openedx_service("lms", _LMS), "cms": _openedx_service("cms", _CMS)},
    config={
        # Grade reports and the like.
        "lms": {variant: dict(_REPORTS) if variant == "high_mem" else {} for variant in _LMS},
        "cms": {variant: {} for variant in _CMS},
    },
    queue_defaults={
        "security_context": {"runAsUser": 1000, "runAsGroup": 1000},
        # Three quarters of the limit for two children at their usual peak; idle workers of 16 processes took 2 GB.
        "resources": {"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"memory": "3Gi"}},
    },
    # The platform's own settings name the broker, so nothing is injected.
    broker={"type": "redis", "host": "redis", "database": 0, "inject_env": ""},
    env={
        name: {"SERVICE_VARIANT": name, "DJANGO_SETTINGS_MODULE": f"{name}.envs.tutor.production"}
        for name in ("lms", "cms")
    },
    # CELERY_BROKER_TRANSPORT_OPTIONS of edx-platform, Verawood release.
    transport_options={"fanout_patterns": True, "fanout_prefix": True},
    # Tutor's names. Its web pods have the same image and settings as its workers.
    inherits={"lms": ("lms-worker", "lms"), "cms": ("cms-worker", "cms")},
)

PRESETS: dict[str, Preset] = {"": Preset(), "openedx": OPENEDX}


def _scale_down(window: int, period: int) -> dict[str, Any]:
    return {
        "scaleDown": {
            "stabilizationWindowSeconds": window,
            "policies": [{"type": "Pods", "value": 1, "periodSeconds": period}],
        }
    }


#: Defaults per kind of work. The figures of long are those of a large Open edX site's report queue. One with
#: C(concurrency) 1 is made for one slot: its C(list_length) and C(hold) are others where a pod has more.
PROFILES: dict[str, dict[str, Any]] = {
    "fast": {"list_length": 20, "max_replicas": 20, "termination_grace_period": 120, "polling_interval": 5},
    "standard": {"list_length": 10, "max_replicas": 10},
    "long": {
        "concurrency": 1,
        "hold": "pods",
        "list_length": 1,
        "max_replicas": 5,
        "max_tasks_per_child": 1,
        "termination_grace_period": 14400,
        "polling_interval": 30,
        "cooldown_period": 1800,
        "behavior": _scale_down(3600, 1800),
        "pod_annotations": dict(NO_EVICTION),
    },
}
