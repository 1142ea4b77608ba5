# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How much is tried: all of it in `make test-all`, and in `make test` what finds a fault of each kind.

Both are the same on every run.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")

#: run_checks sets it for all of its checks.
IS_THOROUGH = os.environ.get("THOROUGH") == "1"
#: One of so many.
_SHARE = 3


def examples(number: int) -> int:
    """How many examples of a property are tried, where this is the full number."""
    return number if IS_THOROUGH else max(10, number // _SHARE)


def some(values: Sequence[T], subject: str) -> Sequence[T]:
    """All values, or every third; which ones follows from the subject, so that several subjects try each of them."""
    return values if IS_THOROUGH else values[zlib.crc32(subject.encode()) % min(_SHARE, len(values)) :: _SHARE]
