# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers of Prometheus to range queries, as tasks that came and as pods that there were."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from .._model.load_sizes import MOST_TASKS
from .._model.loads import MOST_PODS, Row, Sample
from .._schema.problems import Problems

#: Seconds since 1970 that still are a date of this century.
_LAST = 4e9
_HOW = (
    "write the path of a file with the answer of /api/v1/query_range as JSON, such as "
    '{"data": {"result": [{"values": [[1767571200, "12"]]}]}}.'
)


def read_samples(text: str, path: str, problems: Problems) -> tuple[Sample, ...]:
    """The samples of an answer, those of several series added up.

    :param path: what the file is called in messages.
    """
    found: dict[float, float] = {}
    try:
        for series in _series(json.loads(text)):
            for moment, value in series["values"]:
                at, number = _moment(moment), float(value)
                if math.isfinite(number):
                    found[at] = found.get(at, 0.0) + number
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        problems.add(path, f"the file is no answer of Prometheus; {_HOW}")
        return ()
    if not found:
        problems.add(path, f"the file has no sample; {_HOW}")
    return tuple(Sample(moment, found[moment]) for moment in sorted(found))


def _moment(written: Any) -> float:
    """Seconds since 1970.

    :raises ValueError: if it is none, such as milliseconds.
    """
    moment = float(written)
    if not 0 <= moment <= _LAST:
        raise ValueError(written)
    return moment


def check_tasks(samples: Sequence[Sample], path: str, problems: Problems) -> bool:
    """Note samples of more tasks than can be simulated.

    :returns: whether they can be.
    """
    total = sum(max(0.0, sample.value) for sample in samples)
    if total > MOST_TASKS:
        problems.add(
            path,
            f"the samples of the file are {total:,.0f} tasks together; at most {MOST_TASKS:,} are simulated. Ask "
            "Prometheus for fewer hours, and for tasks that came in each step, as increase() tells.",
        )
    return total <= MOST_TASKS


def check_pods(samples: Sequence[Sample], path: str, problems: Problems) -> None:
    """Note samples that are no numbers of pods."""
    _check_numbers(
        samples,
        MOST_PODS,
        f"pods at a time; at most {MOST_PODS} are simulated. Ask Prometheus for kube_deployment_spec_replicas of one "
        "Deployment.",
        path,
        problems,
    )


def check_waiting(samples: Sequence[Sample], path: str, problems: Problems) -> None:
    """Note samples that are no numbers of messages."""
    _check_numbers(
        samples,
        MOST_TASKS,
        f"messages at a time; 0 to {MOST_TASKS:,} are compared. Ask Prometheus for the messages that wait in the "
        "queues of one variant.",
        path,
        problems,
    )


def _check_numbers(samples: Sequence[Sample], most: int, said: str, path: str, problems: Problems) -> None:
    """Note the first sample below 0 or above the most."""
    wrong = next((sample.value for sample in samples if not 0 <= sample.value <= most), None)
    if wrong is not None:
        problems.add(path, f"the file has {wrong:g} {said}")


def _series(answer: Any) -> list[Any]:
    """The series of an answer, whole or without what is around them."""
    inner = answer.get("data", answer) if isinstance(answer, dict) else answer
    found: list[Any] = inner["result"] if isinstance(inner, dict) else inner
    return found


def step_of(samples: Sequence[Sample]) -> float:
    """Seconds between two samples: the shortest distance, because some may be missing."""
    return min((after.at - before.at for before, after in pairwise(samples)), default=60.0)


def start_of(samples: Sequence[Sample]) -> float:
    """The moment at which the first step begins, in seconds since 1970."""
    return samples[0].at - step_of(samples) if samples else 0.0


def rows_of_samples(samples: Sequence[Sample]) -> tuple[Row, ...]:
    """Tasks at even distances within the step before each sample. What is left of a task goes on to the next step."""
    found: list[Row] = []
    step, begin, left = step_of(samples), start_of(samples), 0.0
    for sample in samples:
        left += max(0.0, sample.value)
        number = int(left + 1e-9)
        left -= number
        first = sample.at - step - begin
        found += [Row(first + (place + 0.5) / number * step) for place in range(number)]
    return tuple(found)
