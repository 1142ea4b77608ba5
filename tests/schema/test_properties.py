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
from ansible_collections.queueops.celery.plugins.module_utils._adoption import adoptions, releases
from ansible_collections.queueops.celery.plugins.module_utils._fleet import VARIANT_CLASSES, parse_fleet
from ansible_collections.queueops.celery.plugins.module_utils._kubernetes_types import TYPES
from ansible_collections.queueops.celery.plugins.module_utils._model import Broker, Fleet, ServiceKeys
from ansible_collections.queueops.celery.plugins.module_utils._names import ownership_labels
from ansible_collections.queueops.celery.plugins.module_utils._observed import NOTHING, Observed, ObservedObject
from ansible_collections.queueops.celery.plugins.module_utils._options import inventory_from
from ansible_collections.queueops.celery.plugins.module_utils._problems import InventoryError
from ansible_collections.queueops.celery.plugins.module_utils._secrets import redacted_layers, secret_manifests
from ansible_collections.queueops.celery.plugins.module_utils._workers import handovers
from ansible_collections.queueops.celery.plugins.module_utils._yaml import as_yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.schema.key_values import JUNK, Values, keys_of, of_type
from tests.schema.manifest_schemas import assert_accepted
from tests.unit.inventories import Manifest, manifests_of
from tests.unit.others import merged, seen

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


def _parse(variables: dict[str, Any], observed: Observed | None = None) -> Fleet:
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
        "openedx_routing": "",
        "openedx_release": "",
        "routing_delivery": "none",
        "autoscaler_conflict": "fail",
        "take_over": False,
        "versions": {},
        "layers": redacted_layers(_layers(variables)),
        "variable_names": [],
        "known_variables": [],
    }
    return parse_fleet(inventory_from(options, observed))


def _fleet_or_problems(variables: dict[str, Any], observed: Observed | None = None) -> Fleet | None:
    """The fleet; None if the inventory has problems, all of which must be ones that a person can work with."""
    try:
        return _parse(variables, observed)
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
    adopted = {variant.deployment for variant in fleet.variants if variant.adopted}
    assert not adopted & set(deployments)
    assert scaled <= set(deployments) | adopted
    assert not [name for name in scaled - adopted if "replicas" in deployments[name]["spec"]]
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


# Deployments of somebody else.

_TAKEN_FROM_POD = (
    "securityContext",
    "serviceAccountName",
    "nodeSelector",
    "tolerations",
    "affinity",
    "topologySpreadConstraints",
    "priorityClassName",
)
_TAKEN_FROM_CONTAINER = ("imagePullPolicy", "workingDir", "envFrom", "securityContext")


def _fields(kind: str, names: tuple[str, ...]) -> Values:
    """Some fields of one of Kubernetes' types."""
    some = st.lists(st.sampled_from(names), unique=True, max_size=3)
    return some.flatmap(
        lambda chosen: st.fixed_dictionaries({name: of_type(TYPES[kind][name], (kind, name), 2) for name in chosen})
    )


_ENV_ENTRIES: list[Manifest] = [
    {"name": "SHOP", "value": "theirs"},
    {"name": "LEVEL", "value": ""},
    {"name": "PAY_TOKEN", "value": SECRET},
    {"name": "DATABASE", "value": f"mysql://user:{SECRET}@mysql/app"},
    {"name": "PAY_KEY", "valueFrom": {"secretKeyRef": {"name": "pay", "key": "key"}}},
]
_ENV = st.lists(st.sampled_from(_ENV_ENTRIES), unique_by=lambda item: str(item["name"]))
_MOUNTED: Values = st.dictionaries(
    st.sampled_from(["config", "data", "tmp"]),
    st.sampled_from([{"emptyDir": {}}, {"configMap": {"name": "settings-abc123"}}, {"secret": {"secretName": "s"}}]),
)
_WORDS = st.sampled_from(
    [
        ["celery", "--app=app.celery", "worker", "--queues=lms.default,reports"],
        ["celery", "-A", "app", "worker", "-Q", "lms.high", "-c4", "--", "task.acks_late=true"],
        ["celery", "worker", "--pool=solo"],
        ["uwsgi", "--http=:8000"],
        ["celery", f"--broker=redis://user:{SECRET}@redis", "worker"],
        [],
    ]
)


@st.composite
def _deployments(draw: st.DrawFn, name: str) -> Manifest:
    """A Deployment of somebody else, as an API server returns it."""
    volumes = draw(_MOUNTED)
    container: Manifest = {
        "name": draw(st.sampled_from([name, "worker", "app"])),
        "image": "registry.example/theirs:2",
        **draw(_fields("Container", _TAKEN_FROM_CONTAINER)),
        "env": draw(_ENV),
        draw(st.sampled_from(["args", "command"])): draw(_WORDS),
        "volumeMounts": [{"name": found, "mountPath": f"/mnt/{found}"} for found in volumes],
    }
    pod: Manifest = {
        **draw(_fields("PodSpec", _TAKEN_FROM_POD)),
        "volumes": [{"name": found, **source} for found, source in volumes.items()],
        "containers": draw(st.sampled_from([[container], [{"name": "proxy", "image": "x:1"}, container]])),
        "terminationGracePeriodSeconds": draw(st.integers(0, 900)),
    }
    labels = {"app.kubernetes.io/name": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "shop", "labels": labels},
        "spec": {
            "replicas": draw(st.integers(0, 3)),
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def _with_others(variables: dict[str, Any], data: st.DataObject) -> dict[str, Any]:
    """The same inventory with services that are made like Deployments, and variants that adopt them."""
    found = copy.deepcopy(variables)
    for name, service in found["services"].items():
        if data.draw(st.booleans()):
            service.pop("image", None)
            service["inherit_from"] = f"{name.replace('_', '-')}-worker"
        if data.draw(st.booleans()):
            service["secret_env"] = {"PAY_TOKEN": True, "DATABASE": True}
    for variants in found["config"].values():
        for name in variants:
            adopt = data.draw(st.sampled_from([None, None, True, False]))
            if adopt is not None:
                kinds: list[Manifest] = [{}, {"enable_keda": True}, {"replicas": 2, "enable_keda": False}]
                keys = data.draw(st.sampled_from(kinds))
                variants[name] = {**keys, "adopt": adopt}
    return found


@settings(max_examples=40)
@given(_variables(chaos=False), st.data())
def test_whatever_others_run_manifests_and_patches_are_sound_or_every_problem_has_a_path(
    variables: dict[str, Any], data: st.DataObject
) -> None:
    """Deployments of somebody else, adopted or what workers are made like; a second run finds nothing to do."""
    variables = _with_others(variables, data)
    names = list(dict.fromkeys(f"{name.replace('_', '-')}-worker" for name in variables["services"]))
    raws = [data.draw(_deployments(name)) for name in names if data.draw(st.sampled_from([True, True, False]))]
    assert_accepted(raws)
    observed = seen(*raws)
    assert SECRET not in str(observed)
    _fleet_or_problems(variables)
    fleet = _fleet_or_problems(variables, observed)
    if fleet is None:
        return
    _check(fleet, observed)
    patches = {patch["metadata"]["name"]: patch for patch in adoptions(fleet, observed)}
    after = [merged(raw, patches.get(raw["metadata"]["name"], {})) for raw in raws]
    assert_accepted(after)
    again = _parse(variables, seen(*after))
    assert adoptions(again, seen(*after)) == []
    assert manifests_of(again, seen(*after)) == manifests_of(fleet, observed)
    back = {patch["metadata"]["name"]: patch for patch in releases(Fleet("shop", "shop", ()), seen(*after))}
    assert set(back) == set(patches)
    for raw, changed in zip(raws, after, strict=True):
        given_back = merged(changed, back.get(raw["metadata"]["name"], {}))
        woken = 1 if raw["metadata"]["name"] in back and raw["spec"]["replicas"] == 0 else raw["spec"]["replicas"]
        given_back["metadata"].pop("annotations", None)
        assert given_back == {**raw, "spec": {**raw["spec"], "replicas": woken}}


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
