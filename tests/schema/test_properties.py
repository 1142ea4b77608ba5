# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever an inventory holds: either every problem has a path and a message, or the manifests are sound.

Sound means: a server takes them, names are unique, selectors match, a scaler and a fixed number of pods exclude each
other, the same input gives the same bytes, and no secret value stands in any of them.
"""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
import yaml
from ansible_collections.queueops.celery.plugins.module_utils._fleet import VARIANT_CLASSES, parse_fleet
from ansible_collections.queueops.celery.plugins.module_utils._model import Broker, Fleet, ServiceKeys
from ansible_collections.queueops.celery.plugins.module_utils._names import ownership_labels
from ansible_collections.queueops.celery.plugins.module_utils._observed import NOTHING, Observed, ObservedObject
from ansible_collections.queueops.celery.plugins.module_utils._options import inventory_from
from ansible_collections.queueops.celery.plugins.module_utils._problems import InventoryError
from ansible_collections.queueops.celery.plugins.module_utils._secrets import redacted_layers, secret_manifests
from ansible_collections.queueops.celery.plugins.module_utils._workers import handovers
from ansible_collections.queueops.celery.plugins.module_utils._yaml import as_yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.schema.key_values import JUNK, Values, keys_of
from tests.schema.manifest_schemas import assert_accepted
from tests.unit.inventories import Manifest, manifests_of

#: A value that nobody writes by chance.
SECRET = "Tr0ub4dor&3"


def _joined(parts: list[dict[str, Any]]) -> dict[str, Any]:
    return {key: value for part in parts for key, value in part.items()}


#: Keys that only one variant can have, and one that asks for a consumer.
_NOT_SHARED = frozenset({"name", "queues", "known_queues"})
_NAMES = st.lists(st.sampled_from(["lms", "a-b", "a_b"]), unique=True, min_size=1, max_size=2)


def _keys(classes: tuple[type, ...], chaos: bool, without: frozenset[str] = frozenset()) -> Values:
    some = st.sampled_from(classes).flatmap(lambda cls: keys_of(cls, 2, chaos, frozenset() if chaos else without))
    return st.lists(some, max_size=2).map(_joined)


def _services(names: list[str], chaos: bool) -> Values:
    keys = _keys((ServiceKeys, *VARIANT_CLASSES), chaos, _NOT_SHARED)
    service = keys.map(lambda found: {"image": "registry.example/app:1", "queue_name": "{service}.{variant}", **found})
    return st.fixed_dictionaries(dict.fromkeys(names, service))


def _config(names: list[str], chaos: bool) -> Values:
    scaled = st.sampled_from([{}, {"enable_keda": True, "min_replicas": 1}])
    keys = st.tuples(scaled, _keys(VARIANT_CLASSES, chaos)).map(list).map(_joined)
    variants = st.dictionaries(st.sampled_from(["default", "high", "high_mem"]), keys, min_size=1, max_size=2)
    return st.fixed_dictionaries(dict.fromkeys(names, variants))


def _brokers(chaos: bool) -> Values:
    parts = keys_of(Broker, chaos=chaos).map(lambda found: {"host": "redis", **found})
    whole = st.sampled_from(
        [
            {"type": "redis-sentinel", "hosts": ["a", "b"], "master_name": "main", "sentinel_password": True},
            {"type": "rabbitmq", "host": "rabbit", "username": "shop", "password": True, "scaler": {"password": True}},
            {"type": "sqs", "region": "eu-west-1", "access_key_id": True, "secret_access_key": True},
        ]
    )
    return st.one_of(whole, st.just({"host": "redis"}), st.just({"url": f"redis://user:{SECRET}@redis:6379/1"}), parts)


def _variables(chaos: bool) -> Values:
    return _NAMES.flatmap(lambda names: _variables_of(names, chaos))


def _variables_of(names: list[str], chaos: bool) -> Values:
    likely: dict[str, Values] = {
        "services": _services(names, chaos),
        "config": _config(names, chaos),
        "queue_defaults": _keys(VARIANT_CLASSES, chaos, _NOT_SHARED),
        "broker": _brokers(chaos),
    }
    layers: dict[str, Values] = {
        "config__50_group": _config(names, chaos),
        "services__90_host": _services(names, chaos),
    }
    if chaos:
        likely = {name: st.one_of(strategy, strategy, JUNK) for name, strategy in likely.items()}
    return st.fixed_dictionaries(likely, optional=layers)


def _secretly(value: Any, key: str = "") -> Any:
    """The same inventory with a secret value wherever one belongs."""
    if key == "secret_env" and isinstance(value, dict):
        return {name: SECRET if item is True else item for name, item in value.items()}
    if key in ("password", "sentinel_password", "access_key_id", "secret_access_key") and value is True:
        return SECRET
    if isinstance(value, dict):
        return {name: _secretly(item, str(name)) for name, item in value.items()}
    return value


def _layers(variables: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"name": f"celery_workers_{name}", "value": _secretly(value)} for name, value in variables.items()]


def _parse(variables: dict[str, Any]) -> Fleet:
    """What the role does: secrets out, then a module's options, then the model."""
    options: dict[str, Any] = {
        "namespace": "shop",
        "fleet": "",
        "preset": "",
        "services": {},
        "config": {},
        "queue_defaults": {},
        "broker": {},
        "explicit_queues": {},
        "versions": {},
        "layers": redacted_layers(_layers(variables)),
        "variable_names": [],
        "known_variables": [],
    }
    return parse_fleet(inventory_from(options))


def _fleet_or_problems(variables: dict[str, Any]) -> Fleet | None:
    """The fleet; None if the inventory has problems, all of which must be ones that a person can work with."""
    try:
        return _parse(variables)
    except InventoryError as error:
        problems = error.problems
    assert problems
    for problem in problems:
        assert problem.path.startswith("celery_workers_"), problem
        assert len(problem.message) > 10, problem
        assert SECRET not in str(problem)
    return None


def _observe(fleet: Fleet, data: st.DataObject) -> Observed:
    """A cluster in which any of the fleet's objects may exist, in some state of an earlier run."""
    found = []
    for variant in fleet.variants:
        if not data.draw(st.booleans()):
            continue
        replicas = data.draw(st.integers(0, 3))
        applied = data.draw(st.booleans())
        found.append(
            ObservedObject(
                kind="Deployment",
                name=variant.deployment,
                labels=ownership_labels(fleet.name, variant.service, variant.name),
                replicas=replicas,
                selector=data.draw(st.sampled_from([{}, {"app": variant.deployment}])),
                last_applied=json.dumps({"spec": {"replicas": replicas, "paused": False}}) if applied else "",
            )
        )
    return Observed(tuple(found))


def _check(fleet: Fleet, observed: Observed) -> list[Manifest]:
    manifests = manifests_of(fleet, observed)
    assert_accepted(manifests)
    scaled = {item["spec"]["scaleTargetRef"]["name"] for item in manifests if item["kind"] == "ScaledObject"}
    deployments = {item["metadata"]["name"]: item for item in manifests if item["kind"] == "Deployment"}
    assert scaled <= set(deployments)
    assert not [name for name in scaled if "replicas" in deployments[name]["spec"]]
    assert _unique_selectors(deployments)
    text = "".join(as_yaml(item) for item in manifests)
    assert "".join(as_yaml(item) for item in manifests_of(fleet, observed)) == text
    assert SECRET not in text
    for patch in handovers(fleet, observed):
        assert "replicas" not in deployments[patch["metadata"]["name"]]["spec"]
    return manifests


def _unique_selectors(deployments: dict[str, Manifest]) -> bool:
    """No selector matches the pods of another Deployment."""
    return not any(
        one["spec"]["selector"]["matchLabels"].items() <= other["spec"]["template"]["metadata"]["labels"].items()
        for name, one in deployments.items()
        for other_name, other in deployments.items()
        if name != other_name
    )


@given(_variables(chaos=False), st.data())
def test_an_inventory_of_valid_values_gives_sound_manifests_or_problems_with_a_path(
    variables: dict[str, Any], data: st.DataObject
) -> None:
    before = copy.deepcopy(variables)
    fleet = _fleet_or_problems(variables)
    assert variables == before, "reading an inventory must not change it"
    if fleet is None:
        return
    first = _check(fleet, NOTHING)
    again = _parse(variables)
    assert manifests_of(again) == first
    _check(fleet, _observe(fleet, data))
    for secret in secret_manifests(_layers(variables), "shop"):
        assert_accepted([secret])


@given(_variables(chaos=True))
def test_an_inventory_of_anything_at_all_gives_sound_manifests_or_problems_with_a_path(
    variables: dict[str, Any],
) -> None:
    fleet = _fleet_or_problems(variables)
    if fleet is not None:
        _check(fleet, NOTHING)


@pytest.mark.parametrize("words", [["--concurrency", "--pool", "-c", "-P", "-E", "--", "--autoscale", "-ED", "-c4"]])
@given(data=st.data())
def test_any_extra_params_give_sound_manifests_or_problems_with_a_path(words: list[str], data: st.DataObject) -> None:
    tails = st.sampled_from(["", "=0", "=abc", "=4", "=solo", "=gevent", "=4,0", " 4", "="])
    written = data.draw(st.lists(st.tuples(st.sampled_from(words), tails).map("".join), max_size=3))
    variables = {
        "services": {"lms": {"image": "app:1"}},
        "config": {"lms": {"default": {"extra_params": written}}},
        "broker": {"host": "redis"},
    }
    fleet = _fleet_or_problems(variables)
    if fleet is not None:
        _check(fleet, NOTHING)
        assert fleet.variants[0].slots >= 1


_TEXTS = st.text(st.characters(exclude_categories=["C"], include_characters="\n\t"))


@given(
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), _TEXTS),
        lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_TEXTS, inner, max_size=3)),
    )
)
def test_yaml_files_hold_what_was_computed(value: Any) -> None:
    assert yaml.safe_load(as_yaml({"value": value})) == {"value": value}
