# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster whose Deployments run: what an API server returns of them, and pods that answer what they are told to."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._build.workers import worker_resources
from ansible_collections.queueops.celery.plugins.module_utils._cluster.reading import Cluster
from ansible_collections.queueops.celery.plugins.module_utils._model.fleet import Fleet
from ansible_collections.queueops.celery.plugins.module_utils._model.observed import Observed, observed_object

from tests.unit.inventories import Manifest, of_kind

MARK = "celery-worker-answer:"


def running(fleet: Fleet, replicas: int | None = 2) -> list[Manifest]:
    """The Deployments of a fleet as an API server returns them once they are up."""
    found = copy.deepcopy(of_kind(worker_resources(fleet), "Deployment"))
    for item in found:
        item["spec"]["replicas"] = replicas
    return found


def observed(*deployments: Manifest) -> Observed:
    """What a run reads of Deployments."""
    return Observed(tuple(observed_object("Deployment", item) for item in deployments))


def pod_of(deployment: Manifest, name: str = "", ready: bool = True, **status: Any) -> Manifest:
    """A pod of a Deployment."""
    template = deployment["spec"]["template"]
    metadata = {**template["metadata"], "name": name or f"{deployment['metadata']['name']}-1"}
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": template["spec"],
        "status": {"phase": "Running", "conditions": conditions, **status},
    }


class _Listed:
    def __init__(self, items: list[Manifest]) -> None:
        self.items_found = items

    def to_dict(self) -> dict[str, Any]:
        return {"items": self.items_found}


class Client:
    """As much of kubernetes.core's client as lists objects."""

    def __init__(self, *objects: Manifest) -> None:
        self.objects = objects
        self.client = SimpleNamespace(client=None)
        self.configuration = SimpleNamespace(host="https://cluster.example")

    def resource(self, kind: str, _api_version: str) -> str:
        return kind

    def get(self, resource: str, namespace: str, label_selector: str = "", **_options: Any) -> _Listed:
        wanted = dict(pair.split("=") for pair in label_selector.split(",") if pair).items()
        found = [item for item in self.objects if item["kind"] == resource]
        return _Listed([item for item in found if wanted <= (item["metadata"].get("labels") or {}).items()])


def cluster_of(*objects: Manifest) -> Cluster:
    """A namespace with these objects."""
    return Cluster(Client(*objects), "shop")


#: Pod and question to what the command prints on its standard output and error output.
Says = Callable[[str, dict[str, Any]], tuple[str, str]]


def answering(**answer: Any) -> Says:
    """Every pod prints this answer after what its app prints while it is imported."""
    return lambda _pod, _question: (f"app is loading\n{MARK}{json.dumps(answer)}\n", "")


def let_pods_say(monkeypatch: pytest.MonkeyPatch, says: Says) -> list[tuple[str, str, dict[str, Any]]]:
    """Put this in the place of the kubernetes library's way into a container.

    :returns: pod, container and question of everything that is asked; it grows.
    """
    asked: list[tuple[str, str, dict[str, Any]]] = []

    def stream(_enter: Any, path: str, query: list[tuple[str, str]], **_options: Any) -> Any:
        prefix, _pods, pod, end = path.rsplit("/", 3)
        assert (prefix, end) == ("/api/v1/namespaces/shop", "exec")
        (container,) = (value for name, value in query if name == "container")
        question: dict[str, Any] = json.loads([value for name, value in query if name == "command"][-1])
        asked.append((pod, container, question))
        output, errors = says(pod, question)
        return SimpleNamespace(
            run_forever=lambda timeout: None,
            read_stdout=lambda timeout: output,
            read_stderr=lambda timeout: errors,
            close=lambda: None,
        )

    monkeypatch.setattr("kubernetes.stream.stream", stream)
    return asked


def labels_of(manifest: Manifest) -> Mapping[str, str]:
    """Labels of the pods of a Deployment."""
    labels: Mapping[str, str] = manifest["spec"]["template"]["metadata"]["labels"]
    return labels


def selector_of(manifest: Manifest) -> Mapping[str, str]:
    """What a Deployment selects its pods by."""
    selector: Mapping[str, str] = manifest["spec"]["selector"]["matchLabels"]
    return selector
