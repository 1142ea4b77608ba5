# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Numbers of things, as sentences have them."""

from __future__ import annotations


def counted(number: int, thing: str) -> str:
    """The number and the thing: 1 pod, 2 pods."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def messages_wait(number: int) -> str:
    """How many messages wait."""
    return f"{counted(number, 'message')} {'waits' if number == 1 else 'wait'}"
