# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How Celery is started in a container, and with which Python our own scripts run beside it.

A command prefix ends in C(celery), as a program or as a module, or in a program that hands its arguments to Celery.
Only the first two say where Celery's Python is, so that a script of ours can take their place.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Sequence

from .._model.variant_keys import Pod

CELERY = "celery"


def celery_command(pod: Pod, app: str) -> list[str]:
    """The words before the name of a command of Celery."""
    return [*pod.command_prefix, *([f"--app={app}"] if pod.pass_app else [])]


def python_words(pod: Pod) -> list[str] | None:
    """The words that start Python where the pod's Celery is; None where the prefix does not say."""
    return _python_of(pod.command_prefix, pod.probe.python)


def check_python(pod: Pod) -> str:
    """A Python for a script that needs no Celery: the one of the prefix without its starter, which costs a second."""
    return pod.probe.python or (python_words(pod) or ["python"])[-1]


def ping_words(pod: Pod) -> list[str]:
    """The words that start Celery without its app, for one question."""
    return list(pod.command_prefix) if python_words(pod) is not None else [pod.probe.python or "python", "-m", CELERY]


def _python_of(prefix: Sequence[str], written: str | None = None) -> list[str] | None:
    if len(prefix) > 2 and list(prefix[-2:]) == ["-m", CELERY]:
        return [*prefix[:-3], written] if written else list(prefix[:-2])
    folder, name = posixpath.split(prefix[-1])
    if name != CELERY:
        return None
    return [*prefix[:-1], written or posixpath.join(folder, "python")]


def python_in(words: Iterable[str], launcher: str) -> list[str] | None:
    """The words that start Python where a running worker's Celery is.

    :param words: the command and arguments of its container.
    :param launcher: path of the script of ours that may start it.
    :returns: None where they do not say, as for a bare C(celery).
    """
    line = list(words)
    if launcher in line:
        return line[: line.index(launcher)] or None
    end = next((number for number, word in enumerate(line) if posixpath.basename(word) == CELERY), None)
    if end is None or line[: end + 1] == [CELERY]:
        return None
    return _python_of(line[: end + 1])
