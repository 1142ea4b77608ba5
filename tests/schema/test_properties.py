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
from ansible_collections.queueops.celery.plugins.module_utils._build.secrets import secret_names
from ansible_collections.queueops.celery.plugins.module_utils._build.watching import watching_resources
from ansible_collections.queueops.celery.plugins.module_utils._build.workers import handovers
from ansible_collections.queueops.celery.plugins.module_utils._celery.adoption import adoptions, releases
from ansible_collections.queueops.celery.plugins.module_utils._model.broker import Broker
from ansible_collections.queueops.celery.plugins.module_utils._model.fleet import Fleet
from ansible_collections.queueops.celery.plugins.module_utils._model.names import ownership_labels
from ansible_collections.queueops.celery.plugins.module_utils._model.observed import (
    NOTHING,
    WATCHING_KINDS,
    Observed,
    ObservedObject,
)
from ansible_collections.queueops.celery.plugins.module_utils._model.service_keys import ServiceKeys
from ansible_collections.queueops.celery.plugins.module_utils._model.watching import (
    PARTS,
    Dashboard,
    Exporter,
    Flower,
    PrometheusRule,
    ServerPod,
    ServiceMonitor,
)
from ansible_collections.queueops.celery.plugins.module_utils._read.module_options import inventory_from
from ansible_collections.queueops.celery.plugins.module_utils._read.reader import VARIANT_CLASSES
from ansible_collections.queueops.celery.plugins.module_utils._read.redaction import redacted_layers
from ansible_collections.queueops.celery.plugins.module_utils._schema.documents import as_yaml
from ansible_collections.queueops.celery.plugins.module_utils._schema.kubernetes_types import TYPES
from ansible_collections.queueops.celery.plugins.module_utils._schema.problems import InventoryError
from ansible_collections.queueops.celery.plugins.module_utils.fleet import parse_fleet
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.schema.key_values import JUNK, Values, keys_of, of_type
from tests.schema.manifest_schemas import assert_accepted
from tests.support.secret_manifests import secret_manifests
from tests.support.thorough import examples
from tests.unit.inventories import Manifest, manifests_of
from tests.unit.others import merged, seen

#: A value that nobody writes by chance.
SECRET = "Tr0ub4dor&3"

#: Kinds that a cluster need not know.
_OPTIONAL_KINDS = {"HTTPRoute", "ServiceMonitor", "PodMonitor", "PrometheusRule", "GrafanaDashboard"}


def _joined(parts: list[dict[str, Any]]) -> dict[str, Any]:
    return {key: value for part in parts for key, value in part.items()}


_SECRET_KEYS = (
    "password",
    "sentinel_password",
    "access_key_id",
    "secret_access_key",
    "cookie_secret",
    "client_secret",
)


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
    jobs = {"run_as": "jobs", "idempotent": True}
    scaled = st.sampled_from([{}, {"enable_keda": True, "min_replicas": 1}, jobs])
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


#: Keys of Flower that go together, which chance alone would hardly find.
_LOGINS: list[dict[str, Any]] = [
    {},
    {"password": True},
    {"secret": {"name": "login", "cookie_secret_key": "c"}},
    {
        "oauth": {
            "provider": "github",
            "client_id": "abc",
            "client_secret": True,
            "redirect_uri": "https://flower.example.org/login",
            "allow": ".*@example.org",
        }
    },
]
_EXPOSED: list[dict[str, Any]] = [
    {},
    {"ingress": {"host": "flower.example.org"}},
    {"http_route": {"host": "flower.example.org", "gateway": "public"}},
    {"network_policy": {"allow_from": [{"podSelector": {}}]}, "persistence": True},
]
_PART_CLASSES: dict[str, tuple[type, ...]] = {
    "flower": (Flower, ServerPod),
    "exporter": (Exporter, ServerPod),
    "service_monitor": (ServiceMonitor,),
    "prometheus_rule": (PrometheusRule,),
    "dashboard": (Dashboard,),
}
_URL = "http://prometheus.monitoring:9090"
_ASKED: list[Any] = [
    {},
    _URL,
    {"url": _URL, "insecure_skip_verify": True, "headers": {"X-Scope-OrgID": "shop"}},
    {"url": _URL, "secret": {"name": "login", "token_key": "token", "ca_key": "ca.crt"}},
    {"url": _URL, "secret": {"name": "login", "username_key": "user", "password_key": "password"}},
    {"url": _URL, "secret": {"name": "login"}},
    {"url": f"http://ann:{SECRET}@prometheus"},
]
_ENABLED: Values = st.lists(st.sampled_from(PARTS), unique=True).map(tuple)


def _part(part: str, chaos: bool) -> Values:
    """Some keys of a part that watches."""
    keys = _keys(_PART_CLASSES[part], chaos)
    if part != "flower":
        return keys
    return st.tuples(st.sampled_from(_LOGINS), st.sampled_from(_EXPOSED), keys).map(list).map(_joined)


def _secretly(value: Any, key: str = "") -> Any:
    """The same inventory with a secret value wherever one belongs."""
    if key == "secret_env" and isinstance(value, dict):
        return {name: SECRET if item is True else item for name, item in value.items()}
    if key in _SECRET_KEYS and value is True:
        return SECRET
    if isinstance(value, dict):
        return {name: _secretly(item, str(name)) for name, item in value.items()}
    return value


def _layers(variables: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"name": f"celery_workers_{name}", "value": _secretly(value)}
        for name, value in variables.items()
        if name != "enabled"
    ]


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
        **{part: {} for part in PARTS},
        **{f"{part}_enabled": part in variables.get("enabled", ()) for part in PARTS},
        "prometheus": {},
        "output": "cluster",
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
        # What workers are made like is named by its Deployment: no variable says it.
        assert problem.path.startswith(("celery_workers_", "Deployment ")), problem
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
    for server in fleet.monitoring.servers:
        if data.draw(st.booleans()):
            selector = data.draw(st.sampled_from([{}, {"app": server.name}]))
            found.append(
                ObservedObject("Deployment", server.name, ownership_labels(fleet.name), selector=selector, replicas=1)
            )
    missing = data.draw(st.lists(st.sampled_from(WATCHING_KINDS), unique=True, max_size=3))
    return Observed(tuple(found), missing_kinds=tuple(missing))


def _everything(fleet: Fleet, observed: Observed = NOTHING) -> list[Manifest]:
    return [*manifests_of(fleet, observed), *watching_resources(fleet, observed)]


def _check(fleet: Fleet, observed: Observed) -> list[Manifest]:
    manifests = _everything(fleet, observed)
    assert_accepted(manifests)
    assert not [item for item in manifests if item["kind"] in set(observed.missing_kinds) & _OPTIONAL_KINDS]
    scaled = {item["spec"]["scaleTargetRef"]["name"] for item in manifests if item["kind"] == "ScaledObject"}
    deployments = {item["metadata"]["name"]: item for item in manifests if item["kind"] == "Deployment"}
    adopted = {variant.deployment for variant in fleet.variants if variant.adopted}
    assert not adopted & set(deployments)
    assert scaled <= set(deployments) | adopted
    assert not [name for name in scaled - adopted if "replicas" in deployments[name]["spec"]]
    assert _unique_selectors(deployments)
    text = json.dumps(manifests)
    assert json.dumps(_everything(fleet, observed)) == text, "the order of keys is not always the same"
    assert SECRET not in text
    assert _find_their_pods(manifests, deployments)
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


def _find_their_pods(manifests: list[Manifest], deployments: dict[str, Manifest]) -> bool:
    """Whether every Service leads to the pods of the one Deployment that has its name."""
    pods = {name: item["spec"]["template"]["metadata"]["labels"] for name, item in deployments.items()}
    return all(
        [name for name, labels in pods.items() if item["spec"]["selector"].items() <= labels.items()]
        == [item["metadata"]["name"]]
        for item in manifests
        if item["kind"] == "Service"
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
    assert _everything(again) == first
    _check(fleet, _observe(fleet, data))
    _check_secrets(variables, fleet)


def _check_secrets(variables: dict[str, Any], fleet: Fleet) -> None:
    made = secret_manifests(_layers(variables), "shop", enabled=variables.get("enabled", ()))
    assert_accepted(made)
    assert {item["metadata"]["name"] for item in made} == set(secret_names(fleet))


@given(_variables(chaos=True))
def test_an_inventory_of_anything_at_all_gives_sound_manifests_or_problems_with_a_path(
    variables: dict[str, Any],
) -> None:
    fleet = _fleet_or_problems(variables)
    if fleet is not None:
        _check(fleet, NOTHING)


@st.composite
def _watched(draw: st.DrawFn, chaos: bool = False) -> dict[str, Any]:
    """An inventory whose services and brokers are good ones, with anything that watches them."""
    brokers = [
        {"host": "redis"},
        {"host": "redis", "password": True, "tls": {"ca_secret": "ca"}},
        {"type": "redis-sentinel", "hosts": ["a"], "master_name": "main"},
        {"type": "rabbitmq", "host": "rabbit", "username": "shop", "password": True},
        {"secret": {"name": "theirs"}},
        {"type": "sqs", "region": "eu-west-1", "pod_identity": True},
    ]
    own = draw(st.dictionaries(st.sampled_from(["a", "b_b"]), st.sampled_from(brokers), max_size=2))
    return {
        "services": {
            name: {
                "image": "registry.example/app:1",
                "queue_name": "{service}.{variant}",
                **({"broker": own[name]} if name in own else {}),
            }
            for name in ("a", "b_b", "c")
        },
        "config": {
            name: {"default": {"enable_keda": True, "max_wait_seconds": 60}, "high": {"replicas": 2}}
            for name in ("a", "b_b", "c")
        },
        "broker": draw(st.sampled_from(brokers[:-1])),
        "enabled": draw(_ENABLED),
        **{part: draw(st.one_of(_part(part, chaos), JUNK) if chaos else _part(part, chaos)) for part in PARTS},
        "flower__50_group": draw(_part("flower", chaos)) if chaos else {},
        "prometheus": draw(st.one_of(st.sampled_from(_ASKED), *([JUNK] if chaos else []))),
    }


@settings(max_examples=examples(60))
@given(_watched(chaos=True))
def test_anything_at_all_among_what_watches_gives_sound_manifests_or_problems_with_a_path(
    variables: dict[str, Any],
) -> None:
    fleet = _fleet_or_problems(variables)
    if fleet is not None:
        _check(fleet, NOTHING)


def test_whatever_watches_a_fleet_is_sound_or_every_problem_has_a_path() -> None:
    seen_so_far = {"refused": 0, "watched": 0}

    # All of them: what is counted must be enough.
    @settings(max_examples=50)
    @given(_watched(), st.data())
    def check(variables: dict[str, Any], data: st.DataObject) -> None:
        fleet = _fleet_or_problems(variables)
        if fleet is None:
            seen_so_far["refused"] += 1
            return
        seen_so_far["watched"] += bool(fleet.monitoring.servers)
        found = _check(fleet, NOTHING)
        assert len(fleet.monitoring.servers) == len([item for item in found if item["kind"] == "Service"])
        _check(fleet, _observe(fleet, data))
        _check_secrets(variables, fleet)

    check()
    # Else it would say nothing.
    assert seen_so_far["watched"] >= 8
    assert seen_so_far["refused"] <= 40


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


def _held_by_a_server(toleration: Manifest) -> Manifest:
    """A toleration with what no schema says: a server would have refused it otherwise."""
    found = {**toleration, "operator": toleration.get("operator", "Equal")}
    if not found.get("key") or found["operator"] == "Exists":
        found = {**{key: item for key, item in found.items() if key != "value"}, "operator": "Exists"}
    return {**found, "effect": "NoExecute"} if "tolerationSeconds" in found else found


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
    if "tolerations" in pod:
        pod["tolerations"] = [_held_by_a_server(item) for item in pod["tolerations"]]
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


def _is_accepted(manifest: Manifest) -> bool:
    """Whether a server takes it: only what it has taken can run."""
    try:
        assert_accepted([manifest])
    except AssertionError:
        return False
    return True


@settings(max_examples=examples(40))
@given(_variables(chaos=False), st.data())
def test_whatever_others_run_manifests_and_patches_are_sound_or_every_problem_has_a_path(
    variables: dict[str, Any], data: st.DataObject
) -> None:
    """Deployments of somebody else, adopted or what workers are made like; a second run finds nothing to do."""
    variables = _with_others(variables, data)
    names = list(dict.fromkeys(f"{name.replace('_', '-')}-worker" for name in variables["services"]))
    raws = [data.draw(_deployments(name)) for name in names if data.draw(st.sampled_from([True, True, False]))]
    assume(all(_is_accepted(raw) for raw in raws))
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
    assert _everything(again, seen(*after)) == _everything(fleet, observed)
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
