# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ConfigMaps of Tutor that the inventory names and that the namespace of the workers does not have."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from .._model.fleet import Fleet
from .._model.observed import Observed
from .._model.variant_keys import Pod

#: Names as Tutor's kustomization makes them, with and without the hash of their content (Tutor 21).
_OF_TUTOR = re.compile(r"openedx-(?:config|settings-(?:lms|cms)|uwsgi-config)(?:-[a-z0-9]{10})?")
#: Keys of a pod whose values may name a ConfigMap.
_KEYS = ("volumes", "env_from", "env", "init_containers", "sidecars", "pod_overrides")
#: Fields of Kubernetes that name one.
_FIELDS = ("configMap", "configMapRef", "configMapKeyRef")


def missing_config_maps(fleet: Fleet, observed: Observed) -> Iterator[str]:
    """What pods could not start without: they find ConfigMaps in their own namespace only."""
    if observed.config_maps is None or not observed.namespace_exists:
        return
    is_elsewhere = observed.namespace not in ("", fleet.namespace)
    there = () if is_elsewhere else observed.config_maps
    # What an inherited pod names in another namespace has a problem of its own.
    services = [service for service in fleet.services if not (is_elsewhere and service.inherits)]
    found: dict[tuple[str, str], None] = {}
    for service in services:
        places = [(variant.pod, variant.path_of) for variant in service.variants if not variant.adopted]
        places += [(service.pod, service.path_of)] if service.beat is not None else []
        sources = [observed.source(name) for name in service.inherits]
        inherited = {name for source in sources if source is not None for name in _names(source.keys)}
        for pod, path_of in places:
            for key, name in _named(pod):
                is_tutors = _OF_TUTOR.fullmatch(name) or (is_elsewhere and name in observed.config_maps)
                if is_tutors and name not in (*there, *inherited):
                    found[path_of(key), name] = None
    where = f"{fleet.namespace}. Tutor's are in {observed.namespace}" if is_elsewhere else fleet.namespace
    for path, name in found:
        yield (
            f"{path}: there is no ConfigMap {name} in {where}, and pods can only use what is in their own namespace, "
            "so these would not start. Write the namespace of the Tutor site as celery_workers_namespace, and leave "
            "the name out: inherit_from takes the ConfigMaps of a Deployment over as they are called now."
        )


def _named(pod: Pod) -> Iterator[tuple[str, str]]:
    """Key and name of each ConfigMap without which a pod does not start."""
    for key in _KEYS:
        for name in _names(getattr(pod, key)):
            yield key, name


def _names(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for field in _FIELDS:
            item = value.get(field)
            if isinstance(item, Mapping) and item.get("name") and item.get("optional") is not True:
                yield str(item["name"])
        for item in value.values():
            yield from _names(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _names(item)
