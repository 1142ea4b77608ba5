# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes the tables of docs/rights.md from what the playbook rbac and its tests read.

Run with C(--write) to renew them, without it to check that they are up to date.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator

import yaml
from ansible_collections.queueops.celery.plugins.module_utils._build.rights import rules
from ansible_collections.queueops.celery.plugins.module_utils._model.observed import (
    API_VERSIONS,
    CLUSTER_KINDS,
    IDLE_FIRST_KINDS,
)
from ansible_collections.queueops.celery.plugins.module_utils._model.rights import (
    BASE_KINDS,
    CLUSTER,
    FEATURES,
    FLEET,
    TABLE,
    Row,
    Scope,
    resource_of,
    rights_of,
)

from tests.checks import layout
from tests.checks.key_reference import code, table

TARGET = layout.ROOT / "docs" / "rights.md"
_BLOCK = re.compile(r"(<!-- rights: (?P<name>[\w-]+) -->\n).*?(<!-- rights: end -->\n)", re.DOTALL)

#: What sets of kinds are called.
SETS = {
    "every": "every [kind](#kinds)",
    "read": "every kind that is [read](#kinds)",
    "made": "every kind that the inventory [makes](#kinds)",
    "adopted": "`deployments.apps`, where the fleet adopts some",
    "removed": "every kind that the inventory makes or the fleet has",
    "ConfigMap": "`configmaps`, where the broker is in the namespace",
    "history": "`configmaps`, unless `celery_workers_history` is 0",
    "scaled": "`deployments.apps` and, with KEDA, `scaledobjects.keda.sh` and `scaledjobs.keda.sh`",
    "stopped": "`deployments.apps` and `scaledjobs.keda.sh`, once used",
    "scalers": "`deployments.apps` and `scaledobjects.keda.sh`",
}
#: What makes an object of a kind.
MADE_BY = {
    "ConfigMap": "the history, routes, heartbeat probes, settings of Flower and of the exporter, a dashboard",
    "Secret": "a broker with a password, `secret_env`, Flower",
    "PersistentVolumeClaim": "`persistence` of Flower; deleted only with `celery_workers_remove_data`",
    "TriggerAuthentication": "variants that KEDA scales, on a broker with a password",
    **dict.fromkeys(IDLE_FIRST_KINDS, "`idle_first: true`"),
    "Deployment": "every variant, beat, Flower, the exporter",
    "Service": "Flower, the exporter",
    "Ingress": "`ingress` of Flower",
    "HTTPRoute": "`http_route` of Flower",
    "NetworkPolicy": "`network_policy` of Flower",
    "PodDisruptionBudget": "variants that may have more than one pod",
    "ScaledObject": "variants that KEDA scales",
    "ScaledJob": "variants with `run_as: jobs`",
    "HorizontalPodAutoscaler": "variants with `scaler: hpa`",
    "ServiceMonitor": "`celery_workers_service_monitor_enabled`",
    "PodMonitor": "`celery_workers_service_monitor` with `type: pod_monitor`",
    "PrometheusRule": "`celery_workers_prometheus_rule_enabled`",
    "GrafanaDashboard": "`celery_workers_dashboard` with `delivery: grafana_dashboard`",
}
#: A site with KEDA and a broker with a password.
SMALL = Scope(
    made=frozenset({"Deployment", "PodDisruptionBudget", "ScaledObject", "Secret", "TriggerAuthentication"}),
    uses_keda=True,
    keeps_history=True,
)


def feature_rows() -> Iterator[tuple[str, ...]]:
    """What features need. Those that need the same share a row."""
    found: dict[tuple[str, ...], list[str]] = {}
    for row in TABLE:
        verbs = ", ".join(map(code, row.verbs))
        told: tuple[str, ...] = (verbs, _resources(row), row.why, row.without or "the run stops")
        found.setdefault(told, []).append(code(row.feature))
    for told, features in found.items():
        yield ", ".join(features), *told


def _resources(row: Row) -> str:
    if row.kinds:
        found = SETS.get(row.kinds) or code(_named(*resource_of(row.kinds)))
        return f"{found}, with `run_as: jobs`" if row.when == "uses_jobs" else found
    found = ", ".join(code(_named(group, resource)) for group, resource in row.resources)
    if row.place == CLUSTER:
        return f"{found} in the whole cluster{', of that name' if row.named else ''}"
    if row.when == "marks_pods":
        return f"{found}, with `idle_first: true`"
    if row.when == "uses_jobs":
        return f"{found}, with `run_as: jobs`"
    return found if row.place == FLEET else f"{found} in the namespace of KEDA, of {' and '.join(map(code, row.names))}"


def _named(group: str, resource: str) -> str:
    main, slash, rest = resource.partition("/")
    return f"{main}.{group}{slash}{rest}" if group else resource


def kind_rows() -> Iterator[tuple[str, ...]]:
    """Every kind, with when it is read and what makes it."""
    for kind in API_VERSIONS:
        read = "once it is made" if kind in CLUSTER_KINDS else "if it may be, and once it is made"
        usual = "always" if kind in BASE_KINDS else "once it is made, and by a removal"
        yield (
            code(_named(*resource_of(kind))),
            read if kind in IDLE_FIRST_KINDS else usual,
            MADE_BY[kind],
        )


def blocks() -> dict[str, list[str]]:
    """The generated parts of the page."""
    small = [right for right in rights_of(SMALL) if right.place == FLEET]
    role = yaml.safe_dump({"rules": list(rules(small))}, sort_keys=False, default_flow_style=None, width=110)
    return {
        "features": list(table(("feature", "lets the account"), ((code(n), text) for n, text in FEATURES.items()))),
        "table": list(table(("features", "verbs", "on", "to", "without it"), feature_rows())),
        "kinds": list(table(("resource", "is read", "is made for"), kind_rows())),
        "role": [f"```yaml\n{role}```", ""],
    }


def main() -> int:
    """Write or compare; the exit code is 1 when the page is stale."""
    found = blocks()
    page = TARGET.read_text(encoding="utf-8")
    text = _BLOCK.sub(lambda block: f"{block[1]}\n" + "\n".join(found[block["name"]]) + f"\n{block[3]}", page)
    if "--write" in sys.argv[1:]:
        TARGET.write_text(text, encoding="utf-8")
        return 0
    missing = [name for name in found if f"<!-- rights: {name} -->" not in page]
    if text != page or missing:
        print("docs/rights.md is not what the code says; run `make docs` and commit the result.")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
