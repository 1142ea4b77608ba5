# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prometheus' own tool: whether it takes rules, and what they say about series that a test makes up."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.installed import require_command

#: Seconds between two samples of every series, and between two evaluations of every rule.
STEP = 30

#: A sample that Prometheus did not get, and the one that it writes when a target does not show a series any more.
MISSING, GONE = "_", "stale"

Groups = list[dict[str, Any]]


@dataclass(frozen=True)
class Series:
    """One series.

    :param values: one sample per step from the beginning.
    """

    metric: str
    labels: Mapping[str, str]
    values: tuple[str, ...]

    @property
    def selector(self) -> str:
        """As Prometheus writes it."""
        return f"{self.metric}{_braces(self.labels)}"


@dataclass(frozen=True)
class Expected:
    """What an expression gives at a time.

    :param minute: minutes from the beginning.
    :param samples: labels, as Prometheus writes them, to value; empty for no result.
    """

    minute: float
    expr: str
    samples: Mapping[str, float]


@dataclass(frozen=True)
class Rendered:
    """What an alert that fires says at a time.

    :param labels: of the alert.
    :param annotations: of the alert; empty where it must not fire.
    """

    minute: float
    alert: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]


@dataclass(frozen=True)
class Scene:
    """Series, and what follows from them.

    :param groups: rules that are evaluated beside the expressions.
    :param pace: steps between two evaluations; more than one for a scene of many hours.
    """

    name: str
    series: Iterable[Series]
    expected: Sequence[Expected] = ()
    rendered: Sequence[Rendered] = ()
    groups: Groups = field(default_factory=list)
    pace: int = 1


def require_promtool() -> None:
    """Skip where Prometheus is not installed, and fail there in a pipeline."""
    require_command("promtool", "prometheus")


def check_rules(*files: Groups) -> str:
    """What Prometheus finds wrong with files of rules; empty for nothing."""
    with tempfile.TemporaryDirectory(prefix="promtool-") as name:
        paths = [_write(Path(name) / f"rules-{number}.json", {"groups": item}) for number, item in enumerate(files)]
        return _run(["check", "rules", "--lint=all", "--lint-fatal", *map(str, paths)])


def check_expressions(expressions: Iterable[str]) -> str:
    """What Prometheus finds wrong with expressions; empty for nothing."""
    rules = [{"record": f"check:number_{number}", "expr": expr} for number, expr in enumerate(expressions)]
    assert rules
    return check_rules([{"name": "check", "rules": rules}])


def play(scenes: Iterable[Scene]) -> str:
    """Let Prometheus evaluate all scenes in one run.

    :returns: what differs from what is expected, each with its scene and time; empty for nothing.
    """
    with tempfile.TemporaryDirectory(prefix="promtool-") as name:
        folder, files = Path(name), []
        for number, scene in enumerate(scenes):
            rules = _write(folder / f"rules-{number}.json", {"groups": scene.groups})
            content = {
                "rule_files": [str(rules)] if scene.groups else [],
                "evaluation_interval": f"{STEP * scene.pace}s",
                "tests": [_test(scene)],
            }
            # Its messages name the file, and not every release names the test.
            slug = re.sub(r"[^a-z0-9]+", "-", scene.name.lower())
            files.append(_write(folder / f"{number}-{slug}.json", content))
        assert files
        return _run(["test", "rules", *map(str, files)])


def _test(scene: Scene) -> dict[str, Any]:
    assert scene.expected or scene.rendered, scene.name
    series = [{"series": item.selector, "values": " ".join(item.values)} for item in scene.series]
    selectors = [item["series"] for item in series]
    assert len(set(selectors)) == len(selectors), f"{scene.name}: two series are the same"
    return {
        "name": scene.name,
        "interval": f"{STEP}s",
        "input_series": series,
        "promql_expr_test": [
            {
                "expr": item.expr,
                "eval_time": f"{round(item.minute * 60)}s",
                "exp_samples": [{"labels": labels, "value": value} for labels, value in item.samples.items()],
            }
            for item in scene.expected
        ],
        "alert_rule_test": [
            {
                "alertname": item.alert,
                "eval_time": f"{round(item.minute * 60)}s",
                "exp_alerts": [{"exp_labels": dict(item.labels), "exp_annotations": dict(item.annotations)}]
                if item.annotations
                else [],
            }
            for item in scene.rendered
        ],
    }


def _braces(labels: Mapping[str, str]) -> str:
    return "{" + ", ".join(f"{name}={json.dumps(value)}" for name, value in labels.items()) + "}"


def _write(path: Path, content: Any) -> Path:
    """JSON is YAML as well."""
    path.write_text(json.dumps(content, indent=1), encoding="utf-8")
    return path


def _run(words: list[str]) -> str:
    # Both outputs in one, so that every fault stands below the name of its file.
    done = subprocess.run(
        ["promtool", *words],
        # It keeps little, and may look seldom for what can be thrown away.
        env={**os.environ, "GOGC": "400"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=1800,
        check=False,
    )
    return "" if done.returncode == 0 else done.stdout.strip() or f"promtool ended with {done.returncode}"
