# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role's variables of other hosts of a play, each templated as that host sees it, when asked for."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from ansible.constants import DEFAULT_LOCAL_TMP
from ansible.errors import AnsibleError
from ansible.plugins.loader import lookup_loader
from ansible_collections.queueops.celery.plugins.module_utils._schema.documents import document_of
from ansible_collections.queueops.celery.plugins.module_utils._schema.layers import PREFIX
from ansible_collections.queueops.celery.plugins.module_utils.neighbours import (
    Place,
    cluster_of,
    collisions,
    objects_asked_for,
    place_of_host,
)
from ansible_collections.queueops.celery.plugins.plugin_utils._host_variables import plain

#: What a place is read from.
_PLACE = ("namespace", "fleet", "output")


class Hosts:
    """The hosts of an inventory, seen by an action plugin.

    :param action: the running action plugin.
    """

    def __init__(self, action: Any, task_vars: Mapping[str, Any]) -> None:
        self._action = action
        self._task_vars = task_vars
        self._hostvars = task_vars["hostvars"]
        # What a play, a block or an include gives to every host does not show in hostvars.
        self._shared = {
            str(name): value for name, value in _variables_above(action).items() if str(name).startswith(PREFIX)
        }
        self._kubeconfig = cache(self._read_kubeconfig)

    def of_pattern(self, pattern: str | list[str]) -> list[str]:
        """Names of the hosts of the inventory that a pattern fits, whatever the limit."""
        lookup = lookup_loader.get("ansible.builtin.inventory_hostnames", loader=self._action._loader)
        return [str(name) for name in lookup.run(pattern, variables={"groups": self._task_vars["groups"]})]

    def of_play(self) -> list[str]:
        """Names of the hosts that the running play is written for, those outside of its limit included."""
        patterns = getattr(play_of(self._action), "hosts", None) or []
        found = self.of_pattern(list(patterns) if isinstance(patterns, (list, tuple)) else str(patterns))
        return list(dict.fromkeys([*found, *map(str, self._task_vars.get("ansible_play_hosts_all") or [])]))

    def places(self, names: Iterable[str]) -> Iterator[Place]:
        """Where the fleets of hosts live. A host that cannot be templated is left out: its own run says why."""
        for name in names:
            try:
                place = self._place(name)
            except (AnsibleError, KeyError):
                continue
            if place is not None:
                yield place

    def crossing(self, host: str) -> list[str]:
        """Why a host must not run beside the others of its play."""
        return list(collisions(self._places_for_all(self.of_play()), [host], self.objects))

    def _places_for_all(self, names: Sequence[str]) -> list[Place]:
        """The same for a task that every host runs: the first of them looks, and the others read what it found.

        Ansible takes milliseconds to collect the variables of another host, so looking at all of them from each of
        them would take a play of a hundred hosts a minute.
        """
        batch = json.dumps([self._action._task._uuid, list(map(str, self._task_vars.get("ansible_play_batch") or []))])
        kept = Path(DEFAULT_LOCAL_TMP) / f"places-{hashlib.sha256(batch.encode()).hexdigest()}.json"
        found = _read_places(kept)
        if found is None:
            found = list(self.places(names))
            _keep_places(kept, found)
        # A host's own variables are as its task sees them.
        host = str(self._task_vars.get("inventory_hostname"))
        by_host = {place.host: place for place in found if place.host != host}
        by_host |= {place.host: place for place in self.places([host])}
        return [by_host[name] for name in names if name in by_host]

    def _place(self, name: str) -> Place | None:
        variables = self._variables(name)
        found = {key: variables.value(PREFIX + key) for key in _PLACE if PREFIX + key in variables.names}
        connection = {
            key: variables.value(PREFIX + key) if PREFIX + key in variables.names else ""
            for key in ("kubeconfig", "context")
        }
        cluster = cluster_of(connection["kubeconfig"], str(connection["context"] or ""), os.environ, self._kubeconfig)
        return place_of_host(name, found, cluster)

    def objects(self, name: str) -> set[tuple[str, str]]:
        """Kind and name of all that a host's variables ask for."""
        variables = self._variables(name)
        found = {}
        for key in variables.names:
            try:
                found[key] = variables.value(key)
            except AnsibleError:
                return set()
        return objects_asked_for(found)

    def value(self, name: str, variable: str) -> Any:
        """One variable of a host; none if it has none."""
        variables = self._variables(name)
        return variables.value(variable) if variable in variables.names else None

    def variables_of(self, name: str) -> dict[str, Any]:
        """All variables of a host as a task of the running role would see them, not yet templated."""
        if name == self._task_vars.get("inventory_hostname"):
            return dict(self._task_vars)
        role = self._action._task._role
        defaults = role.get_default_vars(self._action._task.get_dep_chain()) if role is not None else {}
        own = {**defaults, **self._hostvars.raw_get(name)}
        over = {key: value for key, value in self._shared.items() if key not in _extra_variables(self._action)}
        return {**own, **over, "hostvars": self._hostvars}

    def _variables(self, name: str) -> _Variables:
        if name == self._task_vars.get("inventory_hostname"):
            return _Variables(self._action._templar, self._task_vars)
        raw = {**self._hostvars.raw_get(name), "hostvars": self._hostvars}
        raw.update({key: value for key, value in self._shared.items() if key not in _extra_variables(self._action)})
        return _Variables(self._action._templar.copy_with_new_env(available_variables=raw), raw)

    def _read_kubeconfig(self, path: str) -> Any:
        """The content of kubeconfig files, several separated by a colon; none where one cannot be read."""
        merged: dict[str, Any] = {}
        for part in path.split(os.pathsep):
            content = self._read_yaml(part)
            if not isinstance(content, Mapping):
                continue
            for key, value in content.items():
                merged[key] = [*merged.get(key, []), *value] if isinstance(value, list) else merged.get(key) or value
        return merged or None

    def _read_yaml(self, path: str) -> Any:
        try:
            found = Path(self._action._find_needle("files", os.path.expanduser(path)))
            return document_of(Path(self._action._loader.get_real_file(str(found))).read_text(encoding="utf-8"))
        except (AnsibleError, OSError, ValueError):
            return None


class _Variables:
    """The role's variables of one host."""

    def __init__(self, templar: Any, available: Mapping[str, Any]) -> None:
        self._templar, self._available = templar, available
        self.names = [str(name) for name in available if str(name).startswith(PREFIX)]

    def value(self, name: str) -> Any:
        """One of them as plain data."""
        return plain(self._templar.template(self._available[name]))


def _read_places(path: Path) -> list[Place] | None:
    """Places that another process has found; None if none has yet."""
    try:
        listed = json.loads(path.read_text(encoding="utf-8"))
        return [Place(**{**item, "cluster": tuple(item["cluster"])}) for item in listed]
    except (OSError, ValueError):
        return None


def _keep_places(path: Path, places: Iterable[Place]) -> None:
    """Write them for other processes, at once and whole. Nobody misses them if that cannot be done."""
    spare = path.with_suffix(f".{os.getpid()}")
    with contextlib.suppress(OSError):
        spare.write_text(json.dumps([asdict(place) for place in places]), encoding="utf-8")
        spare.replace(path)


def _extra_variables(action: Any) -> Mapping[str, Any]:
    from ansible.utils.vars import load_extra_vars

    found: Mapping[str, Any] = load_extra_vars(action._loader)
    return found


def extra_variable(action: Any, name: str) -> Any:
    """A variable as C(-e) gave it; none if it did not."""
    value = _extra_variables(action).get(name)
    return None if value is None else plain(action._templar.template(value))


def play_of(action: Any) -> Any:
    """The play that a running task is in."""
    parent = action._task._parent
    while parent is not None and getattr(parent, "_play", None) is None:
        parent = parent._parent
    return getattr(parent, "_play", None)


def _variables_above(action: Any) -> dict[str, Any]:
    """Variables of the play, the role and the blocks around a task, the nearest last."""
    play, task = play_of(action), action._task
    found: dict[str, Any] = dict(play.get_vars()) if play is not None else {}
    found.update(task.get_vars())
    if task._role is not None:
        found.update(task._role.get_role_params(task.get_dep_chain()))
    return found
