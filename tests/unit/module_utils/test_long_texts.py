# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A long text is read in a time that grows with its length, whatever it is made of and wherever it is written.

No time is measured: where it grew with the square of the length, a test here would take hours.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._model.broker import Broker
from ansible_collections.queueops.celery.plugins.module_utils._model.service_keys import ServiceKeys
from ansible_collections.queueops.celery.plugins.module_utils._model.watching import (
    Dashboard,
    Exporter,
    Flower,
    PrometheusRule,
    ServerPod,
    ServiceMonitor,
)
from ansible_collections.queueops.celery.plugins.module_utils._read.reader import VARIANT_CLASSES
from ansible_collections.queueops.celery.plugins.module_utils._read.redaction import redacted_layers, secret_texts
from ansible_collections.queueops.celery.plugins.module_utils._schema.keys import Section, keys_of
from ansible_collections.queueops.celery.plugins.module_utils._schema.kubernetes_values import CountOrPercent
from ansible_collections.queueops.celery.plugins.module_utils._schema.layers import PREFIX
from ansible_collections.queueops.celery.plugins.module_utils._schema.problems import InventoryError
from ansible_collections.queueops.celery.plugins.module_utils._schema.scalars import Choice, Flag, Integer, Number
from ansible_collections.queueops.celery.plugins.module_utils._schema.secret_signs import (
    without_secret_values,
    without_values,
)
from ansible_collections.queueops.celery.plugins.module_utils.fleet import parse_fleet

from tests.support.thorough import some
from tests.unit.inventories import IMAGE, inventory, manifests_of

_LENGTH, _IN_EVERY_KEY = 100_000, 8_000
#: Pieces that a pattern may begin to match again and again.
_HARD = ["a.", "aA", " ", "$(", "a://b:", "x://u:@", "KEY_", "-----BEGIN A PRIVATE KEY-----"]
_OTHERS = [
    *("a-", "0", "1h", "a\n", "a,", "a:1/", "/a", "@", "%2F", "'", '"', "[", "{", "=", "$(A)"),
    *("redis://u:p@", "password=", "Bearer ", "* ", "{service}"),
]
_ENDS = ["", "!"]


def _texts(piece: str, length: int = _LENGTH) -> Iterator[str]:
    for end in _ENDS:
        yield piece * (length // len(piece)) + end


def _shapes(text: str) -> Iterator[Any]:
    """A text in the places that the keys have for one."""
    entry = {"name": "A", "value": text}
    container = {"name": "x", "image": text, "command": [text], "args": [text], "env": [entry]}
    metadata = {"timezone": text, "start": text, "end": text, "serverAddress": text, "query": text, "threshold": text}
    yield from (text, [text], {text: "x"}, {"a": text}, [entry], [{"name": text}], [container])
    yield {"containers": [{**container, "name": "worker"}], "nodeName": text}
    yield [{"type": kind, "metadata": metadata} for kind in ("cron", "prometheus", "cpu")]
    yield {"requests": {"cpu": text}, "limits": {text: "1"}}


def _free(*classes: type) -> list[str]:
    """Keys that are no number, no switch and no word of a list."""
    plain = (Flag, Integer, Number, Choice, Section, CountOrPercent)
    return [name for cls in classes for name, found in keys_of(cls) if not isinstance(found.check, plain)]


def _read(variables: dict[str, Any]) -> None:
    layers = [{"name": PREFIX + name, "value": value} for name, value in variables.items()]
    secret_texts(layers)
    safe = {layer["name"].removeprefix(PREFIX): layer["value"] for layer in redacted_layers(layers)}
    with contextlib.suppress(InventoryError):
        manifests_of(parse_fleet(inventory(**safe, enabled=("flower", "exporter"))))


def _inventory(**more: Any) -> dict[str, Any]:
    own = {"services": {"shop": {"image": IMAGE}}, "config": {"shop": {"default": {}}}, "broker": {"host": "redis"}}
    return {**own, **more}


@pytest.mark.parametrize("piece", _HARD)
def test_a_long_text_in_every_key_of_a_variant_is_read(piece: str) -> None:
    text = next(_texts(piece, _IN_EVERY_KEY))
    for shape in _shapes(text):
        keys = dict.fromkeys(_free(*VARIANT_CLASSES), shape)
        _read(_inventory(config={"shop": {"default": {"enable_keda": True, **keys}}}))


@pytest.mark.parametrize("piece", [*_HARD, *some(_OTHERS, "keys")])
def test_a_long_text_in_single_keys_is_read(piece: str) -> None:
    """Keys whose text goes on into manifests, which nothing beside them refuses."""
    for text in _texts(piece):
        for key, shape in (
            ("env", {"A": text}),
            ("pod_annotations", {"a": text}),
            ("extra_params", [f"--x={text}"]),
            ("settings", {"broker_url": text}),
            ("working_dir", text),
            ("pod_overrides", {"containers": [{"name": "worker", "env": [{"name": "A", "value": text}]}]}),
        ):
            _read(_inventory(config={"shop": {"default": {key: shape}}}))


@pytest.mark.parametrize("piece", _HARD)
def test_a_long_text_in_every_other_part_is_read(piece: str) -> None:
    parts = {"flower": (Flower, ServerPod), "exporter": (Exporter, ServerPod), "service_monitor": (ServiceMonitor,)}
    parts |= {"prometheus_rule": (PrometheusRule,), "dashboard": (Dashboard,)}
    text = next(_texts(piece, _IN_EVERY_KEY))
    for shape in (text, [text], {"a": text}, [{"name": "A", "value": text}]):
        given: dict[str, Any] = {name: dict.fromkeys(_free(*classes), shape) for name, classes in parts.items()}
        service = {"image": IMAGE, **dict.fromkeys(_free(ServiceKeys), shape)}
        broker = dict.fromkeys(_free(Broker), shape)
        _read(_inventory(services={"shop": service}, broker=broker, **given))
        _read(_inventory(broker={"url": text}))


@pytest.mark.parametrize("piece", [*_HARD, *some(_OTHERS, "a server")])
def test_a_long_text_of_a_server_is_cleaned(piece: str) -> None:
    for text in _texts(piece):
        without_secret_values(text)
        without_values(text, {"a-secret", "x"})
