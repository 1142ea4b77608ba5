# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes the dashboard of an inventory as a file for an import by hand: dashboard.py <inventory> <folder>.

Each host gets C(<folder>/<host>.json). The role does the work, as it does for C(delivery: file).
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path


def main(inventory: str, folder: str) -> int:
    """Run the shipped playbook for its dashboards alone; the manifests that it writes as well are thrown away."""
    target = Path(folder).resolve()
    with tempfile.TemporaryDirectory(prefix="dashboard-") as thrown_away:
        done = _play(inventory, target, Path(thrown_away))
    if done.returncode:
        print(done.stdout, done.stderr, file=sys.stderr)
        return done.returncode
    for path in sorted(target.glob("*.json")):
        print(f"Wrote {path}. In Grafana: Dashboards, New, Import.")
    return 0


def _play(inventory: str, target: Path, thrown_away: Path) -> subprocess.CompletedProcess[str]:
    site = (
        {"celery_workers_tutor_root": str(Path("tests/checks/demo_site").resolve())} if "openedx" in inventory else {}
    )
    variables = {
        "celery_workers_output": "manifests",
        "celery_workers_manifests_dir": str(thrown_away),
        "celery_workers_tutor_plugins_root": str(thrown_away),
        "celery_workers_flower_enabled": False,
        "celery_workers_dashboard_enabled": True,
        "celery_workers_dashboard__99_file": {
            "delivery": "file",
            "file": f"{target}/{{{{ inventory_hostname }}}}.json",
        },
        **site,
    }
    command = ["ansible-playbook", "queueops.celery.deploy", "-i", inventory, "-e", json.dumps(variables)]
    return subprocess.run(command, check=False, capture_output=True, text=True)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
