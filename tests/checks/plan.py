# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What `make plan` does: the playbook plan over an inventory and a load, with its page in build/plan.html.

plan.py <inventory> <file of loads, or nothing where the inventory has them> [anything, for suggestions]. Standard
library only: it runs in the environment of the demo.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.checks import layout

PAGE = layout.BUILD / "plan.html"


def simulated(inventory: str, loads: str, *suggest: str) -> int:
    """Run the playbook.

    :param suggest: whether better numbers are looked for as well, which takes some times as long.
    :returns: its exit code.
    """
    layout.link_tree()
    command = ["ansible-playbook", "queueops.celery.plan", "-i", inventory, *(["-e", f"@{loads}"] if loads else [])]
    # As YAML, so that the path may have spaces in it.
    command += ["-e", f'{{"celery_workers_plan_report": "{PAGE}", "celery_workers_plan_suggest": {len(suggest) > 0}}}']
    environment = layout.environment(Path(sys.prefix))
    return subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, check=False).returncode


if __name__ == "__main__":
    sys.exit(simulated(sys.argv[1], sys.argv[2], *sys.argv[3:]))
