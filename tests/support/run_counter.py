# SPDX-License-Identifier: GPL-3.0-or-later
"""Counts what a run does that costs time everywhere: programs that it starts, and how often it reads its inventory."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_HOOK = Path(__file__).parent / "counting"


@dataclass(frozen=True)
class Counts:
    """What one run did.

    :param programs: command of each program that was started, ansible-playbook itself left out.
    :param parses: how often an inventory was parsed.
    :param places: how often it was worked out where the fleet of a host lives.
    :param compiled: files of this collection's plugins that were compiled, each as often as that was done.
    """

    programs: tuple[str, ...]
    parses: int
    places: int
    compiled: tuple[str, ...] = ()


@dataclass(frozen=True)
class RunCounter:
    """Counts in a file of its own.

    :param log: a file that does not exist yet.
    :param calls: whether parses and places are counted as well; without it they are not known.
    """

    log: Path
    calls: bool = True

    def environment(self, before: Mapping[str, str]) -> dict[str, str]:
        """Variables that make a run be counted."""
        path = os.pathsep.join(filter(None, [str(_HOOK), before.get("PYTHONPATH", "")]))
        return {"RUN_COUNTER_LOG": str(self.log), "RUN_COUNTER_CALLS": "yes" * self.calls, "PYTHONPATH": path}

    def counts(self) -> Counts:
        """What has been counted since the last look."""
        lines = [line.partition(" ") for line in self.log.read_text(encoding="utf-8").splitlines()]
        self.log.unlink()
        programs = tuple(detail for what, _space, detail in lines if what == "start")
        calls = [detail for what, _space, detail in lines if what == "call"]
        compiled = tuple(detail for what, _space, detail in lines if what == "compile")
        return Counts(programs, calls.count("parse_fleet"), calls.count("place_of_host"), compiled)
