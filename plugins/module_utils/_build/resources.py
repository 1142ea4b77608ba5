# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every object that the collection makes has in common."""

from __future__ import annotations

from typing import Any

from .._model.fleet import Fleet
from .._model.names import FLEET_LABEL, people_labels
from .._model.observed import API_VERSIONS, CLUSTER_KINDS, ObservedObject


def resource(
    kind: str,
    fleet: Fleet,
    name: str,
    labels: dict[str, str],
    component: str,
    live: ObservedObject | None,
    spec: dict[str, Any],
    extra_labels: dict[str, str] | None = None,
    annotations: dict[str, str] | None = None,
) -> dict[str, Any]:
    """One object with our labels.

    :param live: the object that exists; labels for people that it has stay as they are, unless the user sets them.
    """
    people = people_labels(fleet.name, name, component)
    kept = {key: value for key, value in (live.labels if live else {}).items() if key in people}
    metadata: dict[str, Any] = {
        "name": name,
        **({} if kind in CLUSTER_KINDS else {"namespace": fleet.namespace}),
        "labels": {**people, **kept, **(extra_labels or {}), **labels},
    }
    if annotations:
        metadata["annotations"] = dict(annotations)
    return {"apiVersion": API_VERSIONS[kind], "kind": kind, "metadata": metadata, "spec": spec}


def strategy_over(live: ObservedObject | None, wanted: dict[str, Any]) -> dict[str, Any]:
    """A rollout strategy as it is sent over a Deployment that exists.

    Of somebody else's a server has filled in C(rollingUpdate), and refuses it beside Recreate.
    """
    taken_over = live is not None and FLEET_LABEL not in live.labels
    return {**wanted, "rollingUpdate": None} if taken_over and wanted.get("type") == "Recreate" else wanted
