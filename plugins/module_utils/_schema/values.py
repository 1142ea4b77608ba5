# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks for values that are neither a plain scalar nor Kubernetes' own."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from .kubernetes import Kubernetes
from .kubernetes_values import DNS_SUBDOMAIN, ENV_NAME, QUOTED_TEXT, SECRET_KEY
from .layers import Branch, Leaf, Node, items
from .problems import Problems
from .scalars import (
    INVALID,
    SECRET_FAULTS,
    Choice,
    Flag,
    Integer,
    Invalid,
    ListOf,
    MapOf,
    Text,
    as_flag,
    refuse,
    unknown_key,
)
from .secret_signs import variable_names_secret

#: KEDA cuts white space off, and Celery keeps it.
_USER = "a user name without white space around it and without $(NAME), which nothing expands here"
USER_NAME = Text(_USER, r"(?!.*\$\([A-Za-z_])\S(.*\S)?")
OPTIONAL_USER_NAME = Text(_USER, r"((?!.*\$\([A-Za-z_])\S(.*\S)?)?")


def _is_text(node: Node) -> bool:
    return isinstance(node, Leaf) and isinstance(node.value, str)


@dataclass(frozen=True)
class EnvSection:
    """Environment of a container: Kubernetes' list, or a dict of name to text.

    :param mend: where a secret belongs instead.
    """

    mend: str = "move it to secret_env, where its value is not shown."

    def __call__(self, node: Node, problems: Problems) -> Any:
        """Kubernetes' list."""
        if isinstance(node, Leaf) and isinstance(node.value, (list, tuple)):
            return Kubernetes("[EnvVar@name]")(node, problems)
        hidden = [child for name, child in items(node) if variable_names_secret(name) and not _is_text(child)]
        for child in hidden:
            problems.add(child.path, f"this looks like a secret; {self.mend}")
        values = INVALID if hidden else MapOf(ENV_NAME, QUOTED_TEXT)(node, problems)
        if isinstance(values, Invalid):
            return INVALID
        return [{"name": name, "value": value} for name, value in values.items()]

    def describe(self) -> str:
        """Both forms."""
        return "a list of Kubernetes EnvVar, or a dict of name to text (numbers and booleans in quotes)"


@dataclass(frozen=True)
class SecretValue:
    """A secret. What arrives here is only that there is one: the role takes the value out."""

    def __call__(self, node: Node, problems: Problems) -> Any:
        """True."""
        if as_flag(node) is True:
            return True
        if isinstance(node, Leaf) and isinstance(node.value, str) and node.value in SECRET_FAULTS:
            # It is there all the same, so that nothing is missed beside it.
            refuse(self, node, problems)
            return True
        problems.add(
            node.path,
            "a secret value must not reach a module. Set it as a role variable, whose value the role keeps in a "
            "Secret, or name an existing Secret with secret.",
        )
        return INVALID

    def describe(self) -> str:
        """Always the same."""
        return "a secret"


@dataclass(frozen=True)
class SecretEnv:
    """A secret environment value (only that there is one), or where it is."""

    def __call__(self, node: Node, problems: Problems) -> Any:
        """C({}) for a value that the role keeps, C({secret, key}) for an existing Secret."""
        if not isinstance(node, Branch):
            value = SecretValue()(node, problems)
            return value if isinstance(value, Invalid) else {}
        before = len(problems.found)
        found: dict[str, Any] = {}
        checks = {"secret": DNS_SUBDOMAIN, "key": SECRET_KEY}
        for name, child in items(node):
            if name in checks:
                found[name] = checks[name](child, problems)
            else:
                unknown_key("a Secret reference", name, child.path, set(checks), problems)
        # One that is mistyped is not missing.
        if set(found) != set(checks) and all(name in checks for name, _child in items(node)):
            problems.add(node.path, "write both secret (its name) and key.")
        return found if len(problems.found) == before else INVALID

    def describe(self) -> str:
        """Both forms."""
        return "a secret value, or {secret, key} of an existing Secret"


@dataclass(frozen=True)
class PausedWord:
    """Whether scaling is paused, and in which direction."""

    def __call__(self, node: Node, problems: Problems) -> Any:
        """C(paused), C(paused-scale-in) or C(paused-scale-out): the end of KEDA's annotation; None for not paused."""
        flag = as_flag(node)
        if flag is not None:
            return "paused" if flag else None
        value = node.value if isinstance(node, Leaf) else None
        words = {"scale_in": "paused-scale-in", "scale_out": "paused-scale-out"}
        return words[value] if isinstance(value, str) and value in words else refuse(self, node, problems)

    def describe(self) -> str:
        """The words."""
        return "true, false, scale_in or scale_out"


def _fields(
    whose: str, known: Mapping[str, Any], node: Node, problems: Problems, needed: Collection[str] = ()
) -> dict[str, Any] | Invalid:
    """An object of Kubernetes with fields of its own, as plain data.

    :param whose: what has the fields, for messages.
    :param known: field to the check of its value.
    """
    found: dict[str, Any] = {}
    valid = True
    for name, child in items(node):
        if name not in known:
            unknown_key(whose, name, child.path, set(known), problems)
            valid = False
            continue
        value = known[name](child, problems)
        valid = valid and not isinstance(value, Invalid)
        found[name] = list(value) if isinstance(value, tuple) else value
    missing = sorted(set(needed) - set(found))
    # One that is mistyped is not missing.
    if missing and all(name in known for name, _child in items(node)):
        problems.add(node.path, f"{whose} needs {' and '.join(missing)}.")
    return found if valid and not missing else INVALID


_RELABELING_FIELDS: dict[str, Any] = {
    "sourceLabels": ListOf(Text("the name of a label", r"\S+", 1024)),
    "separator": QUOTED_TEXT,
    "targetLabel": QUOTED_TEXT,
    "regex": QUOTED_TEXT,
    "modulus": Integer(0),
    "replacement": QUOTED_TEXT,
    "action": Text(
        "an action such as keep or drop",
        "replace|Replace|keep|Keep|drop|Drop|hashmod|HashMod|labelmap|LabelMap|labeldrop|LabelDrop|labelkeep|LabelKeep"
        "|lowercase|Lowercase|uppercase|Uppercase|keepequal|KeepEqual|dropequal|DropEqual",
    ),
}


@dataclass(frozen=True)
class Relabeling:
    """One relabeling, as the Prometheus Operator writes it (v1)."""

    def __call__(self, node: Node, problems: Problems) -> Any:
        """The relabeling as plain data."""
        if isinstance(node, Leaf) and not isinstance(node.value, Mapping):
            return refuse(self, node, problems)
        return _fields("a relabeling", _RELABELING_FIELDS, node, problems)

    def describe(self) -> str:
        """The fields."""
        return f"a relabeling ({', '.join(_RELABELING_FIELDS)})"


_TRIGGER_FIELDS: dict[str, Any] = {
    "type": Text("a KEDA trigger type such as cron", r"[a-z0-9][a-z0-9-]*", 63),
    "name": Text("a name of letters, digits and '_'", r"[A-Za-z_]\w*", 63),
    "metadata": MapOf(Text("a name", r"[A-Za-z]\w*"), QUOTED_TEXT),
    "authenticationRef": MapOf(Choice(("name", "kind")), QUOTED_TEXT),
    "metricType": Choice(("AverageValue", "Value", "Utilization")),
    "useCachedMetrics": Flag(),
}
#: Names of the triggers that the collection makes.
_OWN_TRIGGER = re.compile(r"backlog|inflight|total|pods$|schedule_[0-9]|budget_of_")


@dataclass(frozen=True)
class _Trigger:
    """One KEDA trigger: its shape. What the fields mean is checked with the finished ScaledObject (_triggers)."""

    def __call__(self, node: Node, problems: Problems) -> Any:
        """The trigger as plain data."""
        if isinstance(node, Leaf) and not isinstance(node.value, Mapping):
            return refuse(self, node, problems)
        return _fields("a KEDA trigger", _TRIGGER_FIELDS, node, problems, needed={"type", "metadata"})

    def describe(self) -> str:
        """The fields."""
        return "a KEDA trigger (type, metadata of text, optional name, authenticationRef, metricType)"


@dataclass(frozen=True)
class ExtraTriggers:
    """KEDA triggers, verbatim."""

    def __call__(self, node: Node, problems: Problems) -> Any:
        """The triggers as plain data."""
        triggers = ListOf(_Trigger())(node, problems)
        if isinstance(triggers, Invalid):
            return INVALID
        names = [trigger["name"] for trigger in triggers if "name" in trigger]
        taken = sorted({name for name in names if names.count(name) > 1 or _OWN_TRIGGER.match(name)})
        if taken:
            problems.add(
                node.path,
                f"the trigger name {', '.join(taken)} is taken; names are unique, and backlog…, inflight…, total…, "
                "pods, schedule_0… and budget_of_… are ours.",
            )
            return INVALID
        return triggers

    def describe(self) -> str:
        """What the elements are."""
        return f"a list, each {_Trigger().describe()}"
