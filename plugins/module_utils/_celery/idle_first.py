# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which variants mark their pods, so that idle ones go first, and as which account their workers do it."""

from __future__ import annotations

from dataclasses import replace

from .._model.fleet import Fleet, Service, Variant, titles_of
from .._model.names import idle_first_name
from .._model.observed import Observed
from .._schema.versions import as_text, older

#: The oldest Kubernetes with policies that narrow what an account may change.
OLDEST_KUBERNETES = "1.30"


def marks_itself(variant: Variant) -> bool:
    """Whether the pods of a variant tell which of them are idle. Pods of others are not started by us, and Jobs end."""
    return variant.scaling.idle_first and not variant.adopted and not variant.runs_as_jobs


def marking(fleet: Fleet) -> list[Variant]:
    """The variants whose pods do."""
    return [variant for variant in fleet.variants if marks_itself(variant)]


def account_of(variant: Variant, fleet: str) -> str:
    """The ServiceAccount of a variant's pods: their own where they have one."""
    own = variant.pod.pod_overrides.get("serviceAccountName") or variant.pod.service_account_name
    return str(own or idle_first_name(fleet))


def without_marks(fleet: Fleet) -> Fleet:
    """The same fleet, whose pods do not tell which of them are idle."""

    def plain(variant: Variant) -> Variant:
        return replace(variant, scaling=replace(variant.scaling, idle_first=False))

    def settled(service: Service) -> Service:
        return replace(service, variants=tuple(map(plain, service.variants)))

    return replace(fleet, services=tuple(map(settled, fleet.services))) if marking(fleet) else fleet


def as_it_runs(fleet: Fleet, observed: Observed) -> Fleet:
    """The fleet for a look at what runs: without marks where no run has bound the right to make them."""
    is_bound = observed.find("RoleBinding", idle_first_name(fleet.name)) is not None
    return fleet if is_bound or "RoleBinding" in observed.hidden_kinds else without_marks(fleet)


def left_off(fleet: Fleet, why: str, mend: str) -> str:
    """What is said where the cluster does not let it."""
    return (
        f"idle_first of {titles_of(marking(fleet))} is left off: {why}. Nothing else changes, and any pod may be taken "
        f"when the number of pods falls. {mend}"
    )


def with_known_version(fleet: Fleet) -> Fleet:
    """The fleet without marks, and with a warning, where its cluster is known to be too old for them."""
    found = fleet.versions.kubernetes
    if not marking(fleet) or not older(found, OLDEST_KUBERNETES):
        return fleet
    why = f"it needs Kubernetes {OLDEST_KUBERNETES}, and celery_workers_kubernetes_version says {as_text(found)}"
    said = left_off(fleet, why, "Upgrade the cluster, or write idle_first: false.")
    return replace(without_marks(fleet), warnings=(*fleet.warnings, said))
