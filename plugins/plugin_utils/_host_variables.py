# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role's variables of one host, read in the controller's process. Secret values stay in it."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any

from ansible import context
from ansible.errors import AnsibleError
from ansible.utils.vars import load_extra_vars
from ansible_collections.queueops.celery.plugins.module_utils._model.history import DEPLOY
from ansible_collections.queueops.celery.plugins.module_utils._plan.data import Wishes
from ansible_collections.queueops.celery.plugins.module_utils._read.module_options import inventory_from
from ansible_collections.queueops.celery.plugins.module_utils._read.reader import LAYERED, Inventory
from ansible_collections.queueops.celery.plugins.module_utils._read.redaction import redacted_layers, secret_texts
from ansible_collections.queueops.celery.plugins.module_utils._read.role_variables import (
    ANY_NAMESPACE,
    MOVE,
    NO_NAMESPACE,
    role_values,
    unread,
    unread_by_all,
)
from ansible_collections.queueops.celery.plugins.module_utils._read.variable_names import role_variables
from ansible_collections.queueops.celery.plugins.module_utils._schema.layers import PREFIX
from ansible_collections.queueops.celery.plugins.module_utils._schema.problems import InventoryError, Problem
from ansible_collections.queueops.celery.plugins.module_utils._schema.versions import Versions

_VERSIONS = tuple(item.name for item in fields(Versions))
_LAYER = re.compile(rf"^{PREFIX}({'|'.join(LAYERED)})(__.+)?$")

#: A playbook of ours on a command line: by its full name, or by its path.
_OURS = re.compile(r"(?:queueops\.celery\.|(?:.*/)?queueops/celery/playbooks/)(\w+?)(?:\.ya?ml)?")

_UNDEFINED = re.compile(r"'([A-Za-z_]\w*)' is undefined")
_NAMESPACE = NO_NAMESPACE.path


class VariableError(Exception):
    """Variables that cannot be read; the text names each."""


@dataclass(frozen=True)
class HostVariables:
    """What one host says of its fleet, templated and as plain data.

    :param values: by name, without the prefix; layers are not among them.
    :param layers: variables that are merged, with their numbered layers: name and value. They hold secrets.
    :param names: of all its variables that are meant for the role, those with a mistyped prefix included.
    :param known: names that the role has.
    :param given: names, without the prefix, that were given on the command line for nothing else than this playbook.
    :param playbook: what the run is.
    """

    values: Mapping[str, Any]
    layers: list[dict[str, Any]] = field(repr=False)
    names: tuple[str, ...]
    known: tuple[str, ...]
    given: frozenset[str] = frozenset()
    playbook: str = DEPLOY

    def text(self, name: str) -> str:
        """A variable as text."""
        return str(self._read[0][name])

    def value(self, name: str) -> Any:
        """A variable as it was read."""
        return self._read[0][name]

    def flag(self, name: str) -> bool:
        """A variable that is true or false."""
        return bool(self._read[0][name])

    def number(self, name: str) -> int:
        """A variable that is a whole number."""
        return int(self._read[0][name])

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What is wrong with variables that have no keys below them."""
        return (*self._read[1], *unread(self._read[0], self.given, self.playbook)[0])

    @property
    def warnings(self) -> list[str]:
        """What of them this run does not read although they ask for something."""
        return unread(self._read[0], self.given, self.playbook)[1]

    @property
    def connection(self) -> dict[str, Any]:
        """What of kubernetes.core's connection options is set."""
        given = {name: self._read[0][name] for name in ("kubeconfig", "context")}
        return {name: value for name, value in given.items() if value}

    @property
    def hidden(self) -> frozenset[str]:
        """Every secret value that the host's variables hold."""
        return secret_texts(self.layers, self._redacted)

    @cached_property
    def _redacted(self) -> list[dict[str, Any]]:
        return redacted_layers(self.layers)

    @cached_property
    def _read(self) -> tuple[dict[str, Any], tuple[Problem, ...]]:
        return role_values(self.values)

    def refuse(self) -> None:
        """Stop where one of them is wrong.

        :raises InventoryError: with all that is wrong.
        """
        if self.problems:
            raise InventoryError(self.problems)

    def inventory(self) -> Inventory:
        """What the model is read from. No secret value is in it."""
        found = inventory_from(
            {
                **dict.fromkeys(LAYERED),
                **self._read[0],
                "explicit_queues": self.values.get("explicit_queues"),
                "versions": {name: self.values.get(f"{name}_version", "") for name in _VERSIONS},
                "layers": self._redacted,
                "variable_names": self.names,
                "known_variables": self.known,
            }
        )
        return replace(found, problems=self.problems, explains=self.flag("explain"))

    def wishes(self, checks: bool) -> Wishes:
        """What the run is asked for beside the inventory."""
        return Wishes(
            checks=checks,
            creates_namespace=self.flag("create_namespace"),
            prunes=bool(self.value("prune")),
            move_to=self.text("move_to") if self.value("prune") == MOVE else "",
            removes_data=self.flag("remove_data"),
            key_change=self.text("key_change"),
            waits=self.flag("wait"),
            rollout=self.text("rollout"),
            verifies=self.flag("verify"),
            output=self.text("output"),
            on_openedx=self.text("preset") == "openedx",
            openedx_release=self.text("openedx_release"),
            redis_policy=self.text("tutor_redis_policy"),
            disable_hpa=self.flag("tutor_disable_hpa"),
            tutor_plugins_root=self.text("tutor_plugins_root"),
            history=self.number("history"),
        )


def names_given(loader: Any) -> frozenset[str]:
    """Names of the role's variables, without their prefix, that were given on the command line for nothing else.

    A playbook of somebody else may bring others of ours along that read them.
    """
    playbooks = [_OURS.fullmatch(str(path)) for path in context.CLIARGS.get("args") or ()]
    if not all(playbooks):
        return frozenset()
    names = (str(name) for name in load_extra_vars(loader))
    own = (name.removeprefix(PREFIX) for name in names if name.startswith(PREFIX))
    return unread_by_all(own, [found[1] for found in playbooks if found])


def read_variables(templar: Any, task_vars: Mapping[str, Any], known: Collection[str]) -> HostVariables:
    """Template every variable of the role by itself, so that each one that fails is named.

    :param templar: Ansible's templar of the task.
    :param known: names that the role has.
    :raises VariableError: with all that cannot be templated.
    """
    lacks_namespace = task_vars.get(_NAMESPACE) in (None, "")
    if lacks_namespace:
        # What is templated from it must not be told as a second mistake.
        task_vars = {**task_vars, _NAMESPACE: ANY_NAMESPACE}
    templar.available_variables = task_vars
    names = sorted(str(name) for name in task_vars if str(name).startswith(PREFIX))
    found: dict[str, Any] = {}
    undefined: dict[str, list[str]] = {}
    failed = []
    for name in names:
        try:
            found[name] = plain(templar.template(task_vars[name]))
        except AnsibleError:
            missing, errors = _faults(templar, task_vars, name, task_vars[name])
            failed += errors
            for one, places in missing.items():
                undefined.setdefault(one, []).extend(places)
    failed += [
        f"The variable {one} is not defined, and {_some(places)} {'use' if len(places) > 1 else 'uses'} it. Define it, "
        f"or give a value for when it is not: {{{{ {one} | default('...') }}}}."
        for one, places in undefined.items()
    ]
    # What cannot be templated is told as that, and not as missing.
    found = {**dict.fromkeys([_NAMESPACE], ANY_NAMESPACE), **found, **({_NAMESPACE: None} if lacks_namespace else {})}
    variables = HostVariables(
        values={name.removeprefix(PREFIX): value for name, value in found.items() if not _LAYER.match(name)},
        layers=[{"name": name, "value": value} for name, value in found.items() if _LAYER.match(name)],
        names=tuple(sorted(role_variables(map(str, task_vars), known))),
        known=tuple(known),
    )
    if failed:
        raise VariableError("\n".join([*failed, *map(str, variables.problems)]))
    return variables


def _some(places: Sequence[str]) -> str:
    """The first of several places, in words."""
    rest = f" and {len(places) - 3} more" if len(places) > 3 else ""
    return f"{', '.join(places[:3])}{rest}"


def _faults(
    templar: Any, task_vars: Mapping[str, Any], place: str, value: Any
) -> tuple[dict[str, list[str]], list[str]]:
    """Variables that a value uses and that are not defined, each with its places, and what else is wrong with it.

    A template ends at the first of them, so each is defined for a moment to find the next.
    """
    inner: list[tuple[str, Any]] = []
    if isinstance(value, Mapping):
        inner = [(f"{place}.{key}", item) for key, item in value.items()]
    elif isinstance(value, (list, tuple)):
        inner = [(f"{place}[{number}]", item) for number, item in enumerate(value)]
    undefined: dict[str, list[str]] = {}
    errors: list[str] = []
    for where, item in inner:
        below, wrong = _faults(templar, task_vars, where, item)
        errors += wrong
        for name, places in below.items():
            undefined.setdefault(name, []).extend(places)
    if undefined or errors:
        return undefined, errors
    defined = dict(task_vars)
    try:
        while True:
            templar.available_variables = defined
            try:
                templar.template(value)
                break
            except AnsibleError as error:
                found = _UNDEFINED.search(str(error))
                if found is None or found[1] in defined:
                    # What follows from a value that was made up is no fault of its own.
                    errors += [] if undefined else [f"{place}: {_first_line(error)}"]
                    break
                undefined[found[1]] = [place]
                defined[found[1]] = ""
    finally:
        templar.available_variables = task_vars
    return undefined, errors


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split())[:500]


def plain(value: Any) -> Any:
    """Built-in types only: templating hands over subclasses that carry where they come from."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if value is None or isinstance(value, bool):
        return value
    for kind in (int, float):
        if isinstance(value, kind):
            return kind(value)
    # What a vault still holds (ansible-core before 2.19) is a sequence, and reads as text.
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)) and not hasattr(value, "_ciphertext"):
        return [plain(item) for item in value]
    return str(value)
