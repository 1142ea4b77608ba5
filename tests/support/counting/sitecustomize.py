# SPDX-License-Identifier: GPL-3.0-or-later
"""Python reads this file when it starts, where its folder is on PYTHONPATH: it notes what a process and its forks do.

Nothing of the program that is counted has to know it, so that any version of it can be counted.
"""

from __future__ import annotations

import os
import sys
from types import FrameType
from typing import Any

_LOG = os.environ.get("RUN_COUNTER_LOG", "")
#: Functions whose calls are counted where that is asked for: it makes a process twice as slow.
_COUNTED = ("parse_fleet", "place_of_host")
#: Where the plugins are whose files count when they are compiled.
_OURS = "/queueops/celery/plugins/"
_STARTS = ("subprocess.Popen", "os.posix_spawn", "os.system")


def _note(what: str, detail: Any = "") -> None:
    # One short write each, so that lines of several processes do not mix.
    line = f"{what} {' '.join(str(detail).split())[:300]}\n"
    handle = os.open(_LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(handle, line.encode())
    finally:
        os.close(handle)


def _heard(event: str, arguments: tuple[Any, ...]) -> None:
    if event in _STARTS:
        _note("start", arguments[1] if len(arguments) > 1 else arguments[0])
    elif event == "compile" and _OURS in str(arguments[1]):
        _note("compile", arguments[1])


def _called(frame: FrameType, event: str, _argument: Any) -> None:
    if event == "call" and frame.f_code.co_name in _COUNTED:
        _note("call", frame.f_code.co_name)


if _LOG:
    _note("python", sys.orig_argv)
    sys.addaudithook(_heard)
    if os.environ.get("RUN_COUNTER_CALLS"):
        sys.setprofile(_called)
