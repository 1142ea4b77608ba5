# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pods of the emulator whose broker is empty, for stories that take workers away and are not about their messages."""

from __future__ import annotations

import contextlib
import json
from typing import Any

from tests.support._exec import ExecRequest, ExecResult, nothing_runs

_MARK = "celery-worker-answer:"


def idle_pods(request: ExecRequest) -> ExecResult:
    """The emulator's exec handler: nothing waits and nothing runs. Nothing else is answered."""
    question: Any = None
    with contextlib.suppress(ValueError):
        question = json.loads(request.command[-1])
    if not isinstance(question, dict) or not question.get("leaves"):
        return nothing_runs(request)
    answer = {"by_queue": dict.fromkeys(question["queues"], 0), "running": []}
    return ExecResult(f"{_MARK}{json.dumps(answer)}\n")
