# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps a record of a run that has changed something, in a ConfigMap of the fleet. It never makes a run fail."""

from __future__ import annotations

import functools
import getpass
import json
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.queueops.celery.plugins.module_utils._cluster.changes import (
    first_cause,
    identity,
    list_results,
    status_in,
)
from ansible_collections.queueops.celery.plugins.module_utils._cluster.direct import DirectCluster
from ansible_collections.queueops.celery.plugins.module_utils._cluster.reading import ClusterError
from ansible_collections.queueops.celery.plugins.module_utils._model.fleet import Fleet
from ansible_collections.queueops.celery.plugins.module_utils._model.history import (
    KEY,
    REMOVE,
    Changes,
    Record,
    fingerprint,
    with_record,
)
from ansible_collections.queueops.celery.plugins.module_utils._model.names import (
    FLEET_LABEL,
    HISTORY,
    history_name,
    ownership_labels,
    people_labels,
)
from ansible_collections.queueops.celery.plugins.module_utils._schema.moments import kept
from ansible_collections.queueops.celery.plugins.plugin_utils._reports import HostReport, first_line_of
from ansible_collections.queueops.celery.plugins.plugin_utils._sending import ONLY_NEW

Object = dict[str, Any]
Send = Callable[[Object, bool, Collection[str]], Object]

#: How often a record is written when other runs write theirs at the same time.
_TRIES = 5
#: Who runs it, as AWX and Tower say.
_RUN_BY = ("awx_user_name", "tower_user_name")
_ROOT = Path(__file__).parents[2]


@dataclass
class Keeper:
    """The way to the history of a fleet.

    :param send: runs kubernetes.core.k8s once.
    """

    send: Send
    cluster: DirectCluster
    fleet: Fleet

    def remember(self, report: HostReport, what: str, now: datetime, by: str, failed: str, most: int) -> Iterator[str]:
        """Add a record of a run; what kept it from that, as a warning.

        :param what: its playbook.
        :param failed: why it failed; empty if it did not.
        """
        name = history_name(self.fleet.name)
        if what == REMOVE and (not failed or f"ConfigMap {name}" in report.removed):
            # The history is gone with everything else.
            return
        record = Record(
            time=kept(now),
            what=what,
            by=by,
            collection=collection_version(),
            inventory="" if what == REMOVE else fingerprint(self.fleet),
            created=Changes.of(report.created),
            changed=Changes.of(report.changed),
            removed=Changes.of(report.removed),
            failed=first_line_of(failed),
        )
        cause = self.keep(record, most).removesuffix(".")
        if cause:
            yield (
                f"The history of the fleet lacks this run: ConfigMap {name}: {cause}. Grant list, get, create and "
                "patch on configmaps, or set celery_workers_history: 0."
            )

    def keep(self, record: Record, most: int) -> str:
        """Add a record; what kept it from that, or nothing.

        :param most: records that are kept.
        """
        cause = ""
        for _try in range(_TRIES):
            try:
                told = self._send(self._next(record, most))
            except ClusterError as error:
                return str(error)
            cause, is_taken = _fault(told)
            if not is_taken:
                break
        return cause

    def _send(self, config_map: Object) -> Object:
        is_new = "resourceVersion" not in config_map["metadata"]
        new = [identity(config_map)] if is_new else []
        # One that another run has made meanwhile holds that run's record, and is read again.
        return self.send({"merge_type": ["merge"], "definition": [config_map], ONLY_NEW: True}, False, new)

    def _next(self, record: Record, most: int) -> Object:
        """The ConfigMap with one record more. It names the version that was read, so that no other record is lost."""
        name = history_name(self.fleet.name)
        live = self.cluster.read_contents("ConfigMap", f"{FLEET_LABEL}={self.fleet.name}").get(name) or {}
        version = (live.get("metadata") or {}).get("resourceVersion")
        text = str((live.get("data") or {}).get(KEY) or "")
        return {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": name,
                "namespace": self.fleet.namespace,
                "labels": {
                    **people_labels(self.fleet.name, name, HISTORY),
                    **ownership_labels(self.fleet.name, component=HISTORY),
                },
                **({"resourceVersion": version} if version else {}),
            },
            "data": {KEY: with_record(text, record, most)},
        }


def _fault(told: Object) -> tuple[str, bool]:
    """Why nothing was written, and whether another run was faster."""
    items = list_results(told)
    error = items[0].get("error") if items else told if told.get("failed") else None
    if not error:
        return "", False
    text = str(error.get("msg") or "")
    code = (status_in(text) or {}).get("code")
    return first_cause(error), code == 409 or text.startswith("Conflict")


@functools.cache
def collection_version() -> str:
    """The version of this collection: as it was installed, or of its source."""
    try:
        manifest = json.loads((_ROOT / "MANIFEST.json").read_text(encoding="utf-8"))
        return str(manifest["collection_info"]["version"])
    except (OSError, ValueError, KeyError):
        pass
    try:
        return str(yaml.safe_load((_ROOT / "galaxy.yml").read_text(encoding="utf-8"))["version"])
    except (OSError, yaml.YAMLError, KeyError, TypeError):
        return ""


def run_by(host_vars: Mapping[str, Any]) -> str:
    """Who runs it: the user of AWX or Tower, else of the controller; empty where nobody is known."""
    for name in _RUN_BY:
        if isinstance(host_vars.get(name), str) and host_vars[name]:
            return str(host_vars[name])
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # A container may run under a number that has no name.
        return ""
