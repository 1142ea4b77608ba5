# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Python's garbage collector while plugins are loaded."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_collection() -> Iterator[None]:
    """Load what stays until the end of the program, with the garbage collector off.

    The collector would search all that Ansible and the Kubernetes client have loaded several times meanwhile, and find
    nothing. What is loaded is frozen at the end: neither this process nor those that Ansible forks from it look at it
    again. Both took a third of the processor time of a run. U(https://docs.python.org/3/library/gc.html#gc.freeze)
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_on:
            gc.enable()
