# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which of a host's variables are meant for the role, those whose prefix is mistyped included."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable
from functools import cache

from .._model.broker import Broker
from .._schema.keys import key_names
from .._schema.layers import LAYER_NAME, PREFIX
from .._schema.problems import Problems, suggest
from .reader import LAYERED, VARIANT_CLASSES, Inventory

#: Variables of the playbooks, beside those of the role.
PLAYBOOK_VARIABLES = ("celery_workers_hosts", "celery_workers_confirm_remove")

#: Mistyped letters up to which a prefix is still taken for ours; C(celery) alone is seven away.
_NEAR = 2


def role_variables(names: Iterable[str], known: Collection[str]) -> list[str]:
    """The names that are variables of the role, or would be with the right prefix, in their order."""
    every = {*known, *PLAYBOOK_VARIABLES}
    # Private ones begin with an underscore: those of the role itself would be taken for mistyped.
    return [name for name in names if not name.startswith("_") and (_is_ours(name) or meant_variable(name, every))]


def meant_variable(name: str, known: Collection[str]) -> str:
    """The variable that a name with a mistyped prefix stands for: C(celery_worker_config); empty for any other name.

    Only the prefix may be wrong: variables of other roles, such as C(celery_broker), are none of our business.
    """
    if name in known or _is_ours(name):
        return ""
    base, layer, rest = name.partition("__")
    if layer and meant_variable(base, known):
        return f"{meant_variable(base, known)}__{rest}"
    letters = _letters(name)
    for variable in sorted(known, key=len, reverse=True):
        end = _letters(variable.removeprefix(PREFIX))
        if letters.endswith(end) and _distance(letters.removesuffix(end), _letters(PREFIX)) <= _NEAR:
            return variable
    return ""


def _is_ours(name: str) -> bool:
    return name.startswith(PREFIX) and len(name) > len(PREFIX)


@cache
def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _distance(one: str, other: str) -> int:
    """Letters to add, drop, replace or exchange with their neighbour."""
    if abs(len(one) - len(other)) > _NEAR:
        return _NEAR + 1
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        older, before, row = before, row, [i]
        for j, wanted in enumerate(other, 1):
            row.append(min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != wanted)))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == wanted:
                row[j] = min(row[j], older[j - 2] + 1)
    return row[-1]


def check_variables(inventory: Inventory, problems: Problems) -> None:
    """Every C(celery_workers_*) variable must be one that something reads."""
    known = {*inventory.known_variables, *PLAYBOOK_VARIABLES} if inventory.known_variables else set()
    for name in sorted(inventory.variable_names):
        if not known or name in known or LAYER_NAME.match(name):
            continue
        meant = meant_variable(name, known)
        base = next((item for item in _LAYERED_NAMES if name.startswith(item)), "")
        if meant:
            problems.add(name, f"this name is not one of the role's, which all begin with {PREFIX}; write {meant}.")
        elif not name.startswith(PREFIX):
            continue
        elif base and (name.startswith(f"{base}__") or re.fullmatch(r"_*[0-9]+(_.*)?", name.removeprefix(base))):
            problems.add(
                name,
                f"a layer's name is {base}__<two digits>_<name>; did you mean {_layer_name(base, name)}? Layers are "
                "merged in the order of their digits.",
            )
        elif "__" in name:
            problems.add(name, f"only {', '.join(PREFIX + layered for layered in LAYERED)} have layers.")
        elif base and name.removeprefix(f"{base}_") in _KEYS_OF_VARIABLE[base.removeprefix(PREFIX)]:
            key = name.removeprefix(f"{base}_")
            problems.add(name, f"the role has no variable of this name; write {key} as a key under {base}.")
        else:
            problems.add(name, f"the role has no variable of this name; {suggest(name, known)}")


#: Names of variables with layers, the longest first, because one may begin with another.
_LAYERED_NAMES = sorted((PREFIX + name for name in LAYERED), key=len, reverse=True)
_KEYS_OF_VARIABLE: dict[str, set[str]] = defaultdict(
    set, broker=key_names(Broker), queue_defaults=key_names(*VARIANT_CLASSES)
)


def _layer_name(base: str, name: str) -> str:
    """The name of a layer that was perhaps meant."""
    rest = name.removeprefix(base).strip("_")
    word = rest.lstrip("0123456789")
    digits = rest.removesuffix(word)
    return f"{base}__{int(digits or 50) % 100:02}_{word.strip('_') or 'name'}"
