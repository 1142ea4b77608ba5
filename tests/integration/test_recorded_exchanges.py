# SPDX-License-Identifier: GPL-3.0-or-later
"""The emulator answers as the recorded server did: every exchange is sent to it and the answers are compared."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.api_client import ApiClient, Reply
from tests.support.kubernetes_emulator import DEFAULT_TOKEN, FORBIDDEN_TOKEN, Emulator

Json = dict[str, Any]

RECORDINGS = Path(__file__).parents[2].parent / "shared" / "fixtures" / "api-exchanges.json"
if not RECORDINGS.is_file():
    pytest.skip(f"no recorded exchanges at {RECORDINGS}", allow_module_level=True)

EXCHANGES: list[Json] = json.loads(RECORDINGS.read_text(encoding="utf-8"))["exchanges"]

NOT_EMULATED = {
    "server-side apply creates": "field ownership is not kept",
    "server-side apply: conflict with another manager": "field ownership is not kept",
    "external metric of a trigger (KEDA metrics API)": "no scaler runs; Emulator.respond() gives a fixed answer",
    "external metric: unknown name": "no scaler runs; Emulator.respond() gives a fixed answer",
    "external metrics: without selector": "no scaler runs; Emulator.respond() gives a fixed answer",
}

# Recorded while the controllers were still at work; the emulator's have finished by then.
UNSETTLED = {
    "merge patch with the same values": {"status"},
    "ScaledObject: merge patch": {"status", "labels"},
}

TOKENS = {
    "forbidden": FORBIDDEN_TOKEN,
    "forbidden: create": FORBIDDEN_TOKEN,
    "forbidden at cluster scope": FORBIDDEN_TOKEN,
    "unauthorized: bad token": "unknown",
    "anonymous": None,
}

DIFFERS_EVERY_TIME = {
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "deletionTimestamp",
    "lastUpdateTime",
    "lastTransitionTime",
}


def deployment(name: str, **spec: Any) -> Json:
    container = {"name": "c", "image": "img:1", "resources": {"requests": {"cpu": "0.5", "memory": "1024Mi"}}}
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "capture"},
        "spec": {"selector": {"matchLabels": {"app": name}}, "template": template, **spec},
    }


def scaled_object(name: str, target: str, **spec: Any) -> Json:
    trigger = {"type": "redis", "metadata": {"address": "127.0.0.1:16390", "listName": "cap", "listLength": "5"}}
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": name, "namespace": "capture"},
        "spec": {"scaleTargetRef": {"name": target}, "triggers": [trigger], **spec},
    }


def hpa(name: str, target: str) -> Json:
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": target}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": name, "namespace": "capture"},
        "spec": {"scaleTargetRef": reference, "maxReplicas": 3},
    }


W = deployment("w")
SCALED_W = [W, scaled_object("w", "w")]
# What exists before an exchange. Exchanges that are not named need only the namespaces.
EXISTING: dict[str, list[Json]] = {
    "create again": [W],
    "merge patch with the same values": [W],
    "merge patch: selector is immutable": [W],
    "put: stale resourceVersion": [W],
    "ScaledObject: create": [W],
    "ScaledObject: strategic merge patch": SCALED_W,
    "ScaledObject: merge patch": SCALED_W,
    "ScaledObject: min above max (schema rule)": SCALED_W,
    "ScaledObject: second on the same target (KEDA webhook)": SCALED_W,
    "ScaledObject: target has an HPA (KEDA webhook)": [deployment("h"), hpa("h-hpa", "h")],
    "ScaledObject: formula names an unknown trigger (KEDA webhook)": [deployment("ssa")],
    "ScaledObject: fallback with cpu trigger only (KEDA webhook)": [deployment("ssa")],
    "scale: get": [deployment("w", replicas=0)],
    "delete": [deployment("ssa")],
    "ScaledObject: delete (finalizer)": [scaled_object("nt", "not-there")],
}
# … and these see it after it was patched once.
CHANGED_BEFORE = {"ScaledObject: with status"}

PLURALS = {
    "Deployment": "apps/v1/namespaces/capture/deployments",
    "ScaledObject": "keda.sh/v1alpha1/namespaces/capture/scaledobjects",
    "HorizontalPodAutoscaler": "autoscaling/v2/namespaces/capture/horizontalpodautoscalers",
}


@pytest.fixture(scope="module")
def running() -> Iterator[Emulator]:
    with Emulator(namespaces=["capture"], forbidden_user="system:serviceaccount:capture:nobody") as emulator:
        yield emulator


@pytest.fixture
def emulator(running: Emulator) -> Emulator:
    running.reset()
    with ApiClient(running.url, DEFAULT_TOKEN) as client:
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        namespace = {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": "capture-restricted", "labels": labels},
        }
        assert client.post("/api/v1/namespaces", namespace).status == 201
    return running


def exchange(note: str) -> Json:
    return next(one for one in EXCHANGES if one["note"] == note)


def replay(emulator: Emulator, recorded: Json) -> Reply:
    note, request = recorded["note"], copy.deepcopy(recorded["request"])
    with ApiClient(emulator.url, DEFAULT_TOKEN) as client:
        existing = SCALED_W if note in CHANGED_BEFORE else EXISTING.get(note, [])
        for obj in existing:
            assert client.post(f"/apis/{PLURALS[obj['kind']]}", obj).status == 201
        if note in CHANGED_BEFORE:
            replay_request(client, exchange("ScaledObject: merge patch")["request"])
    if note == "put: stale resourceVersion":
        # The recorded uid is another object's; only the version shall be wrong.
        live = emulator.get("Deployment", "w", "capture")
        assert live is not None
        request["body"]["metadata"]["uid"] = live["metadata"]["uid"]
    with ApiClient(emulator.url, TOKENS.get(note, DEFAULT_TOKEN)) as client:
        return replay_request(client, request)


def replay_request(client: ApiClient, request: Json) -> Reply:
    return client.request(request["method"], request["path"], request["body"], content_type=request["content_type"])


def comparable(value: Any, ignored: frozenset[str] = frozenset()) -> Any:
    """A body without field ownership, and with a mark in place of what differs every time."""
    if isinstance(value, list):
        return [comparable(item, ignored) for item in value]
    if not isinstance(value, dict):
        return value
    if value.get("type") == "Active":
        # Unknown until KEDA has polled for the first time, which the emulator is taken to have done.
        return {"type": "Active"}
    return {
        key: "<set>" if key in DIFFERS_EVERY_TIME and item else comparable(item, ignored)
        for key, item in value.items()
        if key != "managedFields" and key not in ignored
    }


def unhashed(resource: Json) -> Json:
    return {key: value for key, value in resource.items() if key != "storageVersionHash"}


def notes(kind: str) -> list[str]:
    """The notes of the discovery exchanges, of those not emulated, or of all others."""
    discovery = {"version", "api versions", "group list", "resources of apps/v1", "resources of keda.sh/v1alpha1"}
    groups = {"discovery": discovery, "refused": set(NOT_EMULATED)}
    known = groups.get(kind)
    return [
        one["note"]
        for one in EXCHANGES
        if (one["note"] in known if known is not None else one["note"] not in discovery | set(NOT_EMULATED))
    ]


@pytest.mark.parametrize("note", notes("answered"))
def test_answer_equals_the_recorded_one(emulator: Emulator, note: str) -> None:
    recorded = exchange(note)
    reply = replay(emulator, recorded)

    ignored = frozenset(UNSETTLED.get(note, ()))
    assert reply.status == recorded["status"]
    assert comparable(reply.body, ignored) == comparable(recorded["body"], ignored)
    assert reply.warnings == recorded["warnings"]


@pytest.mark.parametrize("note", notes("refused"))
def test_what_is_not_emulated_is_refused_aloud(emulator: Emulator, note: str) -> None:
    reply = replay(emulator, exchange(note))

    assert reply.status == 501
    assert (reply.body["kind"], reply.body["reason"]) == ("Status", "NotImplemented")


def test_every_exception_names_a_recorded_exchange() -> None:
    recorded = {one["note"] for one in EXCHANGES}
    assert {*NOT_EMULATED, *UNSETTLED, *TOKENS, *EXISTING, *CHANGED_BEFORE} <= recorded


def test_version_is_the_recorded_one(emulator: Emulator) -> None:
    recorded = exchange("version")
    reply = replay(emulator, recorded)
    assert reply.status == 200
    assert reply.body.items() <= recorded["body"].items()
    assert {"major", "minor", "gitVersion"} <= set(reply.body)


def test_api_versions_are_the_recorded_ones(emulator: Emulator) -> None:
    recorded = exchange("api versions")
    reply = replay(emulator, recorded)
    assert reply.status == 200
    for body in (reply.body, recorded["body"]):
        body["serverAddressByClientCIDRs"][0].pop("serverAddress")
    assert reply.body == recorded["body"]


#: The recorded cluster has no Gateway API and no Grafana operator.
NOT_RECORDED = {"gateway.networking.k8s.io", "grafana.integreatly.org"}


def test_groups_are_among_the_recorded_ones(emulator: Emulator) -> None:
    recorded = exchange("group list")
    reply = replay(emulator, recorded)
    known = {group["name"]: group for group in recorded["body"]["groups"]}
    assert {"apps", "autoscaling", "keda.sh", "policy", "monitoring.coreos.com"} <= {
        g["name"] for g in reply.body["groups"]
    }
    for group in reply.body["groups"]:
        assert group["preferredVersion"] in group["versions"]
        if group["name"] not in NOT_RECORDED:
            assert group["preferredVersion"] == known[group["name"]]["preferredVersion"]
            assert all(version in known[group["name"]]["versions"] for version in group["versions"])


@pytest.mark.parametrize(
    ("note", "required"),
    [
        ("resources of apps/v1", {"deployments", "deployments/scale", "deployments/status", "replicasets"}),
        ("resources of keda.sh/v1alpha1", {"scaledobjects", "triggerauthentications", "clustertriggerauthentications"}),
    ],
)
def test_resources_are_described_as_recorded(emulator: Emulator, note: str, required: set[str]) -> None:
    recorded = exchange(note)
    reply = replay(emulator, recorded)
    known = {resource["name"]: unhashed(resource) for resource in recorded["body"]["resources"]}
    described = {resource["name"]: resource for resource in reply.body["resources"]}
    assert required <= set(described)
    assert described == {name: known[name] for name in described}
    assert reply.body["groupVersion"] == recorded["body"]["groupVersion"]
