"""Makes the interpreters of ansible-test's environments quick. What they find stays the same.

It is imported when such an interpreter starts. The test "import" loads all that a file needs anew for each file, so
that the same text is compiled a hundred times. pylint reads the same libraries in each of its processes, and Python
looks again and again whether anything of what it has read can be thrown away.
"""

from __future__ import annotations

import builtins
import dataclasses
import functools
import gc
import os
from typing import Any

_compile, _exec = builtins.compile, builtins.exec


@functools.cache
def _compiled(source: str | bytes, filename: str, mode: str, flags: int) -> Any:
    """What a text compiles to. What it raises is not kept, so that it is raised each time."""
    return _compile(source, filename, mode, flags, dont_inherit=True)


def _compile_once(
    source: Any, filename: Any, mode: str, flags: int = 0, dont_inherit: bool = False, optimize: int = -1, **more: Any
) -> Any:
    if dont_inherit and optimize == -1 and not more and isinstance(source, (str, bytes)):
        return _compiled(source, filename, mode, flags)
    return _compile(source, filename, mode, flags, dont_inherit, optimize, **more)


def _exec_once(source: str, global_names: dict[str, Any], local_names: dict[str, Any]) -> None:
    """The methods of a dataclass are a text, too."""
    _exec(_compiled(source, "<string>", "exec", 0), global_names, local_names)


vars(builtins)["compile"] = _compile_once
vars(dataclasses)["exec"] = _exec_once
# pylint starts as many processes as it may use processors.
vars(os)["sched_getaffinity"] = lambda _process: {0}
gc.set_threshold(1_000_000, 20, 20)
