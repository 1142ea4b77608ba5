# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Python's garbage collector while plugins are loaded and while they work."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

#: Objects after which the collector looks for circles among them, instead of Python's 700.
_MANY = 100_000


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


@contextmanager
def rare_collection() -> Iterator[None]:
    """Work on a fleet with a garbage collector that looks less often.

    A fleet, its manifests and what was read of its cluster are many objects that stay until the end and make no
    circles. To search them again and again took a fifth of the processor time of the status of a thousand variants.
    """
    first, *others = gc.get_threshold()
    gc.set_threshold(_MANY, *others)
    try:
        yield
    finally:
        gc.set_threshold(first, *others)
