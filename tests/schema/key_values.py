# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values for every key of the model, derived from the checks of the keys, so that a new key is covered by itself."""

from __future__ import annotations

import functools
import re
from dataclasses import fields
from typing import Any

from ansible_collections.queueops.celery.plugins.module_utils._check.risks import RULES
from ansible_collections.queueops.celery.plugins.module_utils._schema import kubernetes, kubernetes_values, values
from ansible_collections.queueops.celery.plugins.module_utils._schema.keys import Section, key_of
from ansible_collections.queueops.celery.plugins.module_utils._schema.kubernetes_rules import REQUIRED
from ansible_collections.queueops.celery.plugins.module_utils._schema.kubernetes_types import TYPES
from ansible_collections.queueops.celery.plugins.module_utils._schema.scalars import (
    Choice,
    Flag,
    Integer,
    ListOf,
    MapOf,
    Number,
    Plain,
    Text,
)
from hypothesis import strategies as st

Values = st.SearchStrategy[Any]

PRINTABLE = st.characters(min_codepoint=32, max_codepoint=126)
#: What people write by mistake where something else belongs.
JUNK: Values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.floats(),
    st.text(max_size=12),
    st.sampled_from(["", " ", "1e3", "-1", "²", "{{ undefined }}", "a: b", "\n", "../x", "$(HOME)"]),
    st.lists(st.one_of(st.none(), st.integers(), st.text(max_size=5)), max_size=3),
    st.dictionaries(st.text(max_size=6), st.one_of(st.none(), st.integers(), st.text(max_size=5)), max_size=3),
)
_JSON: Values = st.one_of(
    st.booleans(), st.integers(-999, 999), st.text(PRINTABLE, max_size=6), st.just([1, {"a": "b"}])
)
_ENV: Values = st.one_of(
    st.just(
        [{"name": "SHOP", "value": "a"}, {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}]
    ),
    st.dictionaries(st.sampled_from(["SHOP", "LEVEL"]), st.text(PRINTABLE, max_size=8)),
)
_TRIGGERS: Values = st.sampled_from(
    [
        [],
        [{"type": "cpu", "metricType": "Utilization", "metadata": {"value": "80"}}],
        [{"type": "cron", "name": "night", "metadata": {"timezone": "UTC", "start": "0 1 * * *", "end": "0 2 * * *"}}],
    ]
)
_SPECIAL: dict[type, Values] = {
    Flag: st.sampled_from([True, False, "true", "no"]),
    Number: st.one_of(st.floats(0.1, 5000), st.integers(1, 5000), st.just("30")),
    Plain: _JSON,
    kubernetes_values.CountOrPercent: st.sampled_from([1, 2, "25%", "100%"]),
    kubernetes.VolumeSource: st.sampled_from([{"emptyDir": {}}, {"persistentVolumeClaim": {"claimName": "beat"}}]),
    kubernetes_values.Image: st.sampled_from(
        ["app", "registry.example/app:1", "localhost:5000/team/app:V1", "Registry/My:1"]
    ),
    kubernetes_values.Quantity: st.sampled_from(["100m", 1, "2", "64Mi", "1.5Gi"]),
    values.EnvSection: _ENV,
    values.SecretEnv: st.sampled_from([True, {"secret": "pay", "key": "token"}]),
    values.SecretValue: st.just(True),
    values.PausedWord: st.sampled_from([True, False, "scale_in", "scale_out"]),
    values.ExtraTriggers: _TRIGGERS,
    values.Relabeling: st.sampled_from(
        [{"action": "labeldrop", "regex": "pod"}, {"targetLabel": "site", "replacement": "north"}, {"modulus": 3}]
    ),
}


def valid_value(check: Any) -> Values:
    """Values that a check takes, or nearly: rules between keys are not in it."""
    if isinstance(check, Integer):
        numbers = st.integers(check.minimum, min(check.maximum, check.minimum + 40))
        return st.one_of(numbers, numbers.map(str))
    if isinstance(check, Choice):
        return st.sampled_from(check.values)
    if isinstance(check, Text):
        return _text(check.pattern, min(check.maximum, 20))
    if isinstance(check, ListOf):
        return st.lists(valid_value(check.check), min_size=check.minimum, max_size=2)
    if isinstance(check, MapOf):
        return st.dictionaries(valid_value(check.key), valid_value(check.value), max_size=2)
    if isinstance(check, Section):
        return st.one_of(keys_of(check.cls), st.booleans())
    if isinstance(check, kubernetes.Kubernetes):
        return of_type(check.type_name)
    return _SPECIAL[type(check)]


def _text(pattern: str, longest: int) -> Values:
    regex = re.compile(pattern)
    return (
        st.from_regex(regex, fullmatch=True, alphabet=PRINTABLE)
        .map(lambda text: text[:longest])
        .filter(lambda text: regex.fullmatch(text) is not None)
    )


@functools.cache
def keys_of(cls: type, most: int = 3, chaos: bool = False, without: frozenset[str] = frozenset()) -> Values:
    """Dicts with some keys of a dataclass.

    :param chaos: whether a key may hold anything at all.
    :param without: keys to leave out.
    """
    known = {item.name: found for item in fields(cls) if (found := key_of(item)) is not None}
    choices = {name: valid_value(item.check) for name, item in known.items() if name not in without}
    # A variant takes any rule that there is; others name theirs.
    if "accept_risks" in choices and not isinstance(getattr(known["accept_risks"].check, "check", None), Choice):
        choices["accept_risks"] = st.lists(st.sampled_from(sorted(RULES)), unique=True)
    if chaos:
        choices = {name: st.one_of(JUNK, strategy) for name, strategy in choices.items()}

    def some(names: list[str]) -> Values:
        return st.fixed_dictionaries({name: choices[name] for name in names})

    return st.lists(st.sampled_from(sorted(choices)), unique=True, max_size=most).flatmap(some)


@functools.cache
def of_type(kind: str, field: tuple[str, str] = ("", ""), depth: int = 0) -> Values:
    """Values of one of Kubernetes' own types, a few fields deep."""
    kind = kind.rstrip("!")
    if kind.startswith("["):
        fewest = 1 if field[1] in REQUIRED.get(field[0], ()) else 0
        return st.lists(of_type(kind[1:-1].split("@")[0], field, depth + 1), min_size=fewest, max_size=2)
    if kind == "map Quantity" and field[0] == "VolumeResourceRequirements":
        return st.just({"storage": "1Gi"})
    if kind == "map Quantity":
        return st.dictionaries(st.sampled_from(["cpu", "memory"]), of_type("Quantity"))
    if kind.startswith("map "):
        return st.dictionaries(st.sampled_from(["disk", "example.org/zone"]), st.sampled_from(["a", "1", ""]))
    if kind in TYPES:
        return st.deferred(lambda: _object(kind, depth))
    return _scalar(kind, field)


def _object(kind: str, depth: int) -> Values:
    fields_of = TYPES[kind]
    required = [name for name, field_type in fields_of.items() if field_type.endswith("!")]
    # The schema does not require what a server does.
    required += ["image"] if kind == "Container" else []
    required += [name for name in REQUIRED.get(kind, ()) if name not in required]
    optional = [] if depth > 3 else sorted(set(fields_of) - set(required))

    def build(names: list[str]) -> Values:
        return st.fixed_dictionaries(
            {name: of_type(fields_of[name], (kind, name), depth + 1) for name in [*required, *names]}
        )

    if not optional:
        return build([])
    return st.lists(st.sampled_from(optional), unique=True, max_size=2).flatmap(build)


def _scalar(kind: str, field: tuple[str, str]) -> Values:
    if field in kubernetes._ENUMS:
        return st.sampled_from(kubernetes._ENUMS[field])
    if field == ("Container", "image"):
        return valid_value(kubernetes_values.IMAGE)
    if field in kubernetes._PATTERNS:
        return _text(kubernetes._PATTERNS[field].pattern, 15)
    if kind == "int" or kind == "number":
        low, high = kubernetes._BOUNDS.get(field, (0, 50))
        return st.integers(low, min(high, low + 50))
    return {
        "bool": st.booleans(),
        "Quantity": st.sampled_from(["100m", 1, "64Mi"]),
        "IntOrString": st.sampled_from([0, 1, "25%", "http"]),
    }.get(kind, st.sampled_from(["a", "b-c", "1"]))
