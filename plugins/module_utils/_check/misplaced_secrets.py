# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets that stand where everybody may read them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from .._schema.layers import (
    NULL_DEPTH,
    PREFIX,
    Layer,
    without_layer,
)
from .._schema.problems import Problems
from .._schema.scalars import MISPLACED, SECRET_FAULTS
from .._schema.secret_signs import has_url_with_password, plain_secret

_BROKER_URL_PATH = re.compile(r"^celery_workers_(broker(__\d\d_\w+)?|services(__\d\d_\w+)?\.[^.]+\.broker)\.url$")


def refuse_misplaced_secrets(layers: Iterable[Layer], problems: Problems) -> None:
    """A secret in a URL, in a command line or in an annotation is there for everybody who may read Deployments."""
    # Where it cannot be read what is accepted, nothing is said of what may be.
    unread = any(".accept_risks" in path for path in (*(problem.path for problem in problems.found), *problems.meant))
    refused = {without_layer(problem.path) for problem in problems.found}
    for layer in layers:
        names = NULL_DEPTH.get(_base_of(layer), 0)
        for path, text in _texts(layer.value, layer.name, names):
            # What is wrong with a broker's URL is said where it is read, if it is read at all.
            hidden = MISPLACED in text and not _BROKER_URL_PATH.search(path)
            if without_layer(path) not in refused and (hidden or has_url_with_password(text)):
                problems.add(
                    path,
                    SECRET_FAULTS.get(
                        text,
                        "don't put a password here: anyone who can read Deployments would see it. Secrets go into "
                        "secret_env, the broker's into celery_workers_broker.",
                    ),
                )
        for path, name, text in () if unread else _environment_texts(layer.value, layer.name, names):
            # What is accepted arrives as it was written, so a marker is always one that nobody accepts.
            named = any(problem.message.startswith(f"{name} ") for problem in problems.found)
            if MISPLACED in text and not named and without_layer(path) not in refused:
                problems.add(path, plain_secret(name, "env"))


def _base_of(layer: Layer) -> str:
    return layer.name.partition("__")[0].removeprefix(PREFIX)


def _texts(value: Any, path: str, names: int) -> Iterable[tuple[str, str]]:
    """Every text but those of an environment, which has a rule of its own that knows what the user accepts.

    :param names: how many levels of keys are names that the user chose: a service may be called env.
    """
    if isinstance(value, Mapping):
        for key, item in value.items():
            if names > 0 or key != "env" or not isinstance(item, (Mapping, list, tuple)):
                yield from _texts(item, f"{path}.{key}", names - 1)
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _texts(item, f"{path}[{index}]", 0)
    elif isinstance(value, str):
        yield path, value


def _environment_texts(value: Any, path: str, names: int) -> Iterable[tuple[str, str, str]]:
    """Path, name and text of every entry of an environment."""
    if isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _environment_texts(item, f"{path}[{index}]", 0)
    if not isinstance(value, Mapping):
        return
    for key, item in value.items():
        if names > 0 or key != "env":
            yield from _environment_texts(item, f"{path}.{key}", names - 1)
        elif isinstance(item, Mapping):
            yield from (
                (inner, str(name), text)
                for name, child in item.items()
                for inner, text in _texts(child, f"{path}.env.{name}", 0)
            )
        elif isinstance(item, (list, tuple)):
            for index, entry in enumerate(item):
                name = str(entry.get("name", "")) if isinstance(entry, Mapping) else ""
                yield from ((inner, name, text) for inner, text in _texts(entry, f"{path}.env[{index}]", 0))
