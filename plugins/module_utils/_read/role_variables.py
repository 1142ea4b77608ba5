# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role's variables that have no keys below them: what each takes, and its default.

Ansible would check them one by one and print the whole argument spec of the role. Read here, what is wrong with them is
told beside everything else that is wrong with the inventory.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from ansible.module_utils.parsing.convert_bool import boolean

from .._celery.brokers import REDIS_POLICIES
from .._model.drains import ROLLOUTS, SERIAL
from .._model.loads import MOST_HOURS
from .._model.pauses import DIRECTIONS
from .._model.rights import FEATURES
from .._model.watching import PARTS
from .._schema.kubernetes_values import DNS_LABEL
from .._schema.layers import PREFIX, Leaf, Node
from .._schema.moments import read_duration
from .._schema.problems import Problem, Problems, nearest
from .._schema.scalars import (
    INVALID,
    Check,
    Integer,
    Invalid,
    Number,
    refuse,
)
from .inventory import CONFLICT_POLICIES, DELIVERIES
from .presets import PRESETS

#: Takes the place of a namespace that is not set, so that the rest of the inventory can be read.
ANY_NAMESPACE = "your-namespace"
NO_NAMESPACE = Problem(
    f"{PREFIX}namespace",
    "this is not set. Write the namespace that the workers run in into the variables of the host, for example "
    f"{PREFIX}namespace: shop",
)


def _value(node: Node) -> Any:
    return node.value if isinstance(node, Leaf) else None


@dataclass(frozen=True)
class _Switch:
    """True or false, in all the words that Ansible itself takes."""

    def __call__(self, node: Node, problems: Problems) -> bool | Invalid:
        """The boolean."""
        try:
            return bool(boolean(_value(node)))
        except TypeError:
            return refuse(self, node, problems)

    def describe(self) -> str:
        """Always the same."""
        return "true or false"


#: What prune may do beside deleting.
MOVE = "move"


@dataclass(frozen=True)
class _Prune:
    """True or false, or whether messages are moved first."""

    def __call__(self, node: Node, problems: Problems) -> bool | str | Invalid:
        """The boolean, or the word."""
        if _value(node) == MOVE:
            return MOVE
        try:
            return bool(boolean(_value(node)))
        except TypeError:
            return refuse(self, node, problems)

    def describe(self) -> str:
        """Always the same."""
        return f"true, false or {MOVE}"


@dataclass(frozen=True)
class _Count:
    """A whole number, also with a fraction of nothing, as a filter may make it."""

    unit: str

    def __call__(self, node: Node, problems: Problems) -> int | Invalid:
        """The number."""
        value = _value(node)
        if isinstance(value, float) and value.is_integer():
            node = Leaf(int(value), node.path)
        return Integer(0, unit=self.unit)(node, problems)

    def describe(self) -> str:
        """Bounds and unit."""
        return Integer(0, unit=self.unit).describe()


@dataclass(frozen=True)
class _Words:
    """Text. YAML changes what looks like a number (0123 is 83), so a number is none.

    :param choices: the words that are taken; empty takes any.
    :param guesses: whether a mistyped word is read as the one that was probably meant, so that nothing follows from it.
    """

    choices: tuple[str, ...] = ()
    guesses: bool = True

    def __call__(self, node: Node, problems: Problems) -> str | Invalid:
        """The text."""
        value = _value(node)
        # YAML reads the words none as text, but no and off as false.
        word = "none" if value is False and "none" in self.choices else value
        if isinstance(word, str) and (not self.choices or word in self.choices):
            return word
        near = nearest(word, filter(None, self.choices)) if isinstance(word, str) and word else ""
        refuse(self, node, problems, near)
        return near if near and self.guesses else INVALID

    def describe(self) -> str:
        """The words."""
        if not self.choices:
            return "text, in quotes"
        named = ", ".join(filter(None, self.choices))
        return f"one of {named}" if "" not in self.choices else f"{named}, or leave it empty"


def _names_in(value: Any) -> list[str] | None:
    """The names in a list, or in a text with commas; None for what is neither."""
    found = value.split(",") if isinstance(value, str) else value
    if not isinstance(found, (list, tuple)) or not all(isinstance(item, str) for item in found):
        return None
    return [item.strip() for item in found if item.strip()]


@dataclass(frozen=True)
class _Names:
    """Names in a list, or in a text with commas between them, as C(-e) gives them."""

    def __call__(self, node: Node, problems: Problems) -> list[str] | Invalid:
        """The names."""
        found = _names_in(_value(node))
        return refuse(self, node, problems) if found is None else found

    def describe(self) -> str:
        """One, and several."""
        return "a service such as lms, a variant such as lms/high, or a list of them"


@dataclass(frozen=True)
class _Ids:
    """Ids of tasks, written as names are."""

    def __call__(self, node: Node, problems: Problems) -> list[str] | Invalid:
        """The ids."""
        found = _names_in(_value(node))
        return refuse(self, node, problems) if found is None else found

    def describe(self) -> str:
        """One, and several."""
        return "the id of a task as the playbook quarantine shows it, or a list of them"


@dataclass(frozen=True)
class _Features:
    """What an account is used for, written as names are."""

    def __call__(self, node: Node, problems: Problems) -> list[str] | Invalid:
        """The names of features."""
        found = _names_in(_value(node))
        if found == ["all"]:
            return []
        wrong = [item for item in found or () if item not in FEATURES]
        if found is None or wrong:
            return refuse(self, node, problems, nearest(wrong[0], FEATURES) if wrong else "")
        return found

    def describe(self) -> str:
        """All of them."""
        return f"a list of what the account is used for, of {', '.join(FEATURES)}"


@dataclass(frozen=True)
class _Duration:
    """A duration, as a person writes it."""

    shortest: timedelta

    def __call__(self, node: Node, problems: Problems) -> str | Invalid:
        """The text."""
        text = str(_value(node)).strip()
        found = read_duration(text)
        return text if found is not None and found >= self.shortest else refuse(self, node, problems)

    def describe(self) -> str:
        """How to write it, and its bounds."""
        return f"a duration such as 30d, 12h or 90m, of {int(self.shortest.total_seconds() / 60)} minutes or more"


@dataclass(frozen=True)
class _Loads:
    """A dict, whose keys are read where they are needed."""

    def __call__(self, node: Node, problems: Problems) -> Any:
        """What was written."""
        value = _value(node)
        return value if isinstance(value, Mapping) else refuse(self, node, problems)

    def describe(self) -> str:
        """Its levels."""
        return "a dict of services to variants to loads, such as billing: {default: {per_hour: 600}}"


@dataclass(frozen=True)
class _Kubeconfig:
    """A path, or the content."""

    def __call__(self, node: Node, problems: Problems) -> Any:
        """What was written."""
        value = _value(node)
        return value if isinstance(value, (str, Mapping)) else refuse(self, node, problems)

    def describe(self) -> str:
        """Both."""
        return "the path of a kubeconfig, or its content as a dict"


@dataclass(frozen=True)
class RoleVariable:
    """One variable of the role.

    :param default: what holds where nobody writes it, or writes null.
    """

    check: Check
    default: Any


_SWITCH = RoleVariable(_Switch(), False)
_TEXT = RoleVariable(_Words(), "")
_PODS = RoleVariable(_Count("pods"), None)


def _one_of(*choices: str) -> RoleVariable:
    return RoleVariable(_Words(choices), choices[0])


#: Name without the prefix. What has keys below it is checked where the keys are read.
ROLE_VARIABLES: dict[str, RoleVariable] = {
    "namespace": RoleVariable(_Words(), ANY_NAMESPACE),
    "fleet": _TEXT,
    "preset": _one_of("", *filter(None, PRESETS)),
    "openedx_routing": _one_of("", "recommended"),
    "openedx_release": _TEXT,
    "routing_delivery": _one_of(*DELIVERIES),
    "take_over": _SWITCH,
    "autoscaler_conflict": _one_of(*CONFLICT_POLICIES),
    "tutor_root": _TEXT,
    "tutor_plugins_root": _TEXT,
    "tutor_redis_policy": _one_of("", *REDIS_POLICIES),
    "tutor_disable_hpa": _SWITCH,
    **{f"{part}_enabled": _SWITCH for part in PARTS},
    "key_change": _one_of("stop", "drain", "accept"),
    "verify": _SWITCH,
    "output": _one_of("cluster", "manifests"),
    # A removal looks at no other variable, so that a guess would hide what else is wrong.
    "state": RoleVariable(_Words(("present", "absent"), guesses=False), "present"),
    "create_namespace": _SWITCH,
    "prune": RoleVariable(_Prune(), False),
    "move_to": _TEXT,
    "remove_data": _SWITCH,
    "only": RoleVariable(_Names(), []),
    "pause_direction": _one_of(*DIRECTIONS),
    "pause_replicas": _PODS,
    "pause_until": _TEXT,
    "pause_reason": _TEXT,
    "drain_timeout": RoleVariable(_Count("seconds"), 900),
    "drain_on_timeout": _one_of("keep", "resume"),
    "drain_reason": _TEXT,
    "boost_min": _PODS,
    "boost_until": _TEXT,
    "boost_reason": _TEXT,
    "rollout": _one_of(*ROLLOUTS),
    "gc": _SWITCH,
    "gc_quiet": RoleVariable(_Count("seconds"), 30),
    "gc_min_age": RoleVariable(_Count("seconds"), 3600),
    "quarantine_do": RoleVariable(_Words(("list", "return", "drop"), guesses=False), "list"),
    "quarantine_ids": RoleVariable(_Ids(), []),
    "quarantine_confirm": _SWITCH,
    "ask_broker_from": _one_of("pods", "controller"),
    "loads": RoleVariable(_Loads(), {}),
    "plan_hours": RoleVariable(Number("hours", 0.001, MOST_HOURS), 24.0),
    "plan_seed": RoleVariable(_Count("any"), 1),
    "plan_bound": RoleVariable(_Switch(), True),
    "plan_series": _SWITCH,
    "plan_suggest": _SWITCH,
    "plan_compare": _SWITCH,
    "plan_budget": RoleVariable(Number("pod-hours", 0.0), 0.0),
    "plan_dir": _TEXT,
    "plan_baseline": _TEXT,
    "plan_gate": _SWITCH,
    "plan_report": _TEXT,
    "fail_on_drift": _SWITCH,
    "history": RoleVariable(_Count("records"), 20),
    "wait": RoleVariable(_Switch(), True),
    "wait_timeout": RoleVariable(_Count("seconds"), 300),
    "manifests_dir": RoleVariable(_Words(), "manifests"),
    "report_file": _TEXT,
    "explain": _SWITCH,
    "manifests_secrets": _SWITCH,
    "manifests_prune": _SWITCH,
    "status_format": _one_of("text", "json"),
    "status_file": _TEXT,
    "status_watch": RoleVariable(_Count("seconds"), 0),
    "status_watch_count": RoleVariable(_Count("looks"), 0),
    "status_ask_pods": RoleVariable(_Switch(), True),
    "status_ask_broker": _SWITCH,
    "keda_namespace": _TEXT,
    "rbac_state": RoleVariable(_Words(("present", "absent"), guesses=False), "present"),
    "rbac_account": RoleVariable(DNS_LABEL, "celery-workers"),
    "rbac_features": RoleVariable(_Features(), []),
    "rbac_kubeconfig": _TEXT,
    "rbac_kubeconfig_lifetime": RoleVariable(_Duration(timedelta(minutes=10)), "30d"),
    "kubeconfig": RoleVariable(_Kubeconfig(), ""),
    "context": _TEXT,
}


#: Variables that ask some playbooks for something, and that the others do not read.
_READERS: dict[str, tuple[str, ...]] = {
    **{
        name: (playbook,)
        for playbook in ("pause", "boost", "gc", "quarantine", "status", "rbac", "plan")
        for name in ROLE_VARIABLES
        if name.startswith(f"{playbook}_")
    },
    "drain_reason": ("drain",),
    "drain_on_timeout": ("drain",),
    "drain_timeout": ("drain", "deploy"),
    "rollout": ("deploy",),
    "gc": ("gc",),
    "ask_broker_from": ("queues", "gc", "quarantine"),
    "fail_on_drift": ("deploy", "status"),
}
#: What to write where the inventory asks for it, because a deploy does not do it.
_LASTING = {
    "pause_replicas": "key paused",
    "pause_until": "key paused",
    "boost_min": "key min_replicas",
    "boost_until": "key min_replicas",
}


def unread_by_all(names: Iterable[str], playbooks: Collection[str]) -> frozenset[str]:
    """Those of some variables that none of these playbooks reads."""
    return frozenset(name for name in names if not set(_READERS.get(name, ())) & set(playbooks))


def unread(values: Mapping[str, Any], given: Collection[str], playbook: str) -> tuple[list[Problem], list[str]]:
    """Variables that ask for what a run does not do: what stops it, and what it warns of.

    Who gives one on the command line means this run. In an inventory it may be there for the playbook that reads it.

    :param values: of all variables, as they were read.
    :param given: names of those that were given on the command line, for these playbooks of ours and nothing else.
    """
    asked = [
        name for name in _READERS if playbook not in _READERS[name] and values[name] != ROLE_VARIABLES[name].default
    ]
    problems, warnings = [], []
    for readers in dict.fromkeys(_READERS[name] for name in asked):
        own = [name for name in asked if _READERS[name] == readers]
        paths = [f"{PREFIX}{name}" for name in own if name in given]
        named = " and ".join(f"queueops.celery.{reader}" for reader in readers)
        only = f"only {named} {'does' if len(readers) == 1 else 'do'}"
        if paths:
            it = "them" if len(paths) > 1 else "it"
            problems.append(
                Problem(
                    " and ".join(paths), f"this run does not read {it}; {only}. Leave {it} out, or run one that does."
                )
            )
        paths = [f"{PREFIX}{name}" for name in own if name not in given and name in _LASTING]
        if paths and playbook == "deploy":
            key = next(_LASTING[name] for name in own if name in _LASTING)
            warnings.append(
                f"{' and '.join(paths)}: this is set, and a deploy does not read it; {only}. For what lasts, write it "
                f"into the variant ({key}); otherwise give it to that playbook with -e."
            )
    return problems, warnings


def role_values(written: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[Problem, ...]]:
    """The value of every variable, and what is wrong with those that were refused.

    A refused one has its default, or what was probably meant, so that the rest of the inventory can be read as well.

    :param written: by name, without the prefix.
    """
    problems = Problems()
    found: dict[str, Any] = {}
    for name, variable in ROLE_VARIABLES.items():
        value = written.get(name)
        if name == "namespace" and value in (None, ""):
            problems.found.append(NO_NAMESPACE)
            value = None
        # A list or a dict is no tree here but one value, shown as it was written.
        checked = INVALID if value is None else variable.check(Leaf(value, PREFIX + name), problems)
        found[name] = variable.default if isinstance(checked, Invalid) else checked
    if found["rollout"] == SERIAL and not found["wait"] and found["output"] == "cluster":
        message = (
            "serial sends each Deployment once the one before is up, and celery_workers_wait: false waits for none. "
            "Leave one of them out."
        )
        problems.add(f"{PREFIX}rollout", message)
    if found["prune"] == MOVE and not found["move_to"]:
        message = "this is not set, and celery_workers_prune: move moves messages there. Write the name of a queue."
        problems.add(f"{PREFIX}move_to", message)
    return found, tuple(problems.found)
