# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a cluster lets workers mark their own pods, and the fleet as it is where it does not."""

from __future__ import annotations

from ansible_collections.queueops.celery.plugins.module_utils._build.idle_first import idle_first_resources
from ansible_collections.queueops.celery.plugins.module_utils._celery.idle_first import (
    OLDEST_KUBERNETES,
    left_off,
    marking,
    without_marks,
)
from ansible_collections.queueops.celery.plugins.module_utils._cluster.direct import DirectCluster
from ansible_collections.queueops.celery.plugins.module_utils._cluster.lacking import (
    GRANTED_BY,
    GRANTS_MORE,
    missing_rights,
)
from ansible_collections.queueops.celery.plugins.module_utils._cluster.reading import ClusterError
from ansible_collections.queueops.celery.plugins.module_utils._model.fleet import Fleet
from ansible_collections.queueops.celery.plugins.module_utils._model.names import idle_first_policy_name
from ansible_collections.queueops.celery.plugins.module_utils._model.observed import (
    API_VERSIONS,
    CLUSTER_KINDS,
    IDLE_FIRST_KINDS,
    Observed,
)
from ansible_collections.queueops.celery.plugins.module_utils._plan.comparing import differs
from ansible_collections.queueops.celery.plugins.plugin_utils._kubernetes_core import merged


def as_allowed(cluster: DirectCluster, fleet: Fleet, observed: Observed, warnings: list[str]) -> Fleet:
    """The fleet as the cluster lets it be: without marks, and with a warning, where it does not let workers make them.

    A right without the policy that narrows it is never granted.

    :param warnings: takes what is to be said.
    """
    if not marking(fleet):
        return fleet
    if not all(cluster.serves(kind) for kind in CLUSTER_KINDS):
        why = f"the cluster has no ValidatingAdmissionPolicy of {API_VERSIONS[CLUSTER_KINDS[0]]}"
        warnings.append(left_off(fleet, why, f"It needs Kubernetes {OLDEST_KUBERNETES} or later."))
        return without_marks(fleet)
    refusals = [*_unreadable(cluster, fleet, observed), *_refused(cluster, fleet, observed)]
    if not refusals:
        return fleet
    lacking = list(dict.fromkeys(right for text in refusals for right in missing_rights(text)))
    if lacking:
        why = f"the account lacks {', '.join(lacking)}"
        mend = f"An administrator grants that with {GRANTED_BY}, or runs this playbook once."
    else:
        why, mend = refusals[0].rstrip("."), "Fix the cause, or write idle_first: false."
        if GRANTS_MORE in why:
            why, mend = "the account may not let workers patch pods", f"An administrator grants that with {GRANTED_BY}."
    warnings.append(left_off(fleet, why, mend))
    return without_marks(fleet)


def _unreadable(cluster: DirectCluster, fleet: Fleet, observed: Observed) -> list[str]:
    """What may not be looked at, so that nobody knows whether it is as it should be."""
    found = []
    for kind in (one for one in observed.hidden_kinds if one in IDLE_FIRST_KINDS):
        try:
            if kind in CLUSTER_KINDS:
                cluster.named_object(kind, API_VERSIONS[kind], idle_first_policy_name(fleet.namespace, fleet.name))
            else:
                cluster.list_objects(kind, API_VERSIONS[kind])
        except ClusterError as error:
            found.append(str(error))
    return found


def _refused(cluster: DirectCluster, fleet: Fleet, observed: Observed) -> list[str]:
    """What the server would not take of what is needed and not there yet."""
    found = []
    for wanted in idle_first_resources(fleet, observed):
        kind, name = str(wanted["kind"]), str(wanted["metadata"]["name"])
        live = cluster.live.get((kind, name))
        # Nothing can be tried in a namespace that does not exist yet. A right is bound when its Role is there, and who
        # may make that Role may bind it.
        is_possible = observed.namespace_exists or kind in CLUSTER_KINDS
        is_possible = is_possible and (kind != "RoleBinding" or ("Role", name) in cluster.live)
        if is_possible and differs(wanted, live, merged):
            found.append(cluster.refusal(wanted, live is not None))
    return [text for text in found if text]
