# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Triggers that count pods, and names that a formula can hold."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any


def identifiers(queues: Iterable[str]) -> dict[str, str]:
    """Queues as words that a formula can hold, each its own.

    Digits alone get a word before them, because Prometheus still has the series of numbered triggers (C(backlog_0))
    that earlier releases made. Of queues that differ only in what no word can hold, all but one get a number.
    """
    found: dict[str, str] = {}
    for queue in sorted(set(queues)):
        word = re.sub(r"[^A-Za-z0-9_]", "_", queue)
        word = f"queue_{word}" if re.fullmatch(r"[0-9_]*", word) else word
        number, free = 1, word
        while free in found.values():
            number += 1
            free = f"{word}_{number}"
        found[queue] = free
    return found


def pods_trigger(name: str, selector: dict[str, str]) -> dict[str, Any]:
    """The pods that are there. Terminating ones are counted too (measured), so a rollout does not look like need."""
    labels = ",".join(f"{label}={value}" for label, value in sorted(selector.items()))
    return {"type": "kubernetes-workload", "name": name, "metadata": {"podSelector": labels, "value": "1"}}
