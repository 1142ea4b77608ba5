# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tasks of the hosts of a play leave for its last task: each host runs in a process of its own."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible import constants


@dataclass(frozen=True)
class HostFolder:
    """A file for each host.

    :param path: in the folder that Ansible removes at the end of the run.
    """

    path: Path

    @classmethod
    def of(cls, name: str) -> HostFolder:
        """The folder of that name."""
        return cls(Path(constants.DEFAULT_LOCAL_TMP) / f"queueops-celery-{name}")

    def write(self, host: str, data: Mapping[str, Any]) -> None:
        """Leave something, in place of what that host has left before."""
        self.path.mkdir(mode=0o700, exist_ok=True)
        # A host may have any name; a file may not.
        target = self.path / f"{host.encode().hex()}.json"
        spare = target.with_suffix(".new")
        spare.write_text(json.dumps(data), encoding="utf-8")
        spare.replace(target)

    def read(self) -> dict[str, Any]:
        """What was left, by host."""
        paths = sorted(self.path.glob("*.json")) if self.path.is_dir() else ()
        return {bytes.fromhex(path.stem).decode(): json.loads(path.read_text(encoding="utf-8")) for path in paths}

    def is_first(self, name: str) -> bool:
        """Whether nobody has done something of that name yet. It is done from now on."""
        self.path.mkdir(mode=0o700, exist_ok=True)
        try:
            os.close(os.open(self.path / name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        except FileExistsError:
            return False
        return True
