# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting for what is to come. How long it takes says how busy the machine is, so all tests wait equally long."""

from __future__ import annotations

import time
from collections.abc import Callable

#: Seconds. It ends what hangs; what works never waits as long.
PATIENCE = 240.0


def wait_until(holds: Callable[[], object], why: Callable[[], object] = str, pause: float = 0.05) -> None:
    """Wait until something holds that does not pass by itself.

    :param why: what to show if it never does.
    """
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, f"not reached within {PATIENCE:g} s: {why()}"
        time.sleep(pause)
