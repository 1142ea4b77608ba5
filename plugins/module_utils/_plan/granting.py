# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan that makes the account of a fleet, or takes it away."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from .._build.rights import ACCOUNT_VERSIONS, Account, account_resources
from .._check.preflight import no_namespace, redis_hosts, wanted_objects
from .._cluster.changes import identity
from .._model.fleet import Fleet
from .._model.names import COMPONENT_LABEL, FLEET_LABEL, RIGHTS, idle_first_policy_name
from .._model.observed import IDLE_FIRST_KINDS, Observed
from .._model.rights import CLUSTER, FLEET, KEDA, Right, Scope
from .comparing import differs
from .data import APPLY, DELETE, Merge, Object, Plan, Step
from .steps import namespace_manifest

#: Kind, namespace and name.
Key = tuple[str, str, str]


def scope_of(fleet: Fleet, observed: Observed, asks_pods: bool, removes_data: bool, keeps_history: bool) -> Scope:
    """What of a fleet decides on the rights of its account.

    :param observed: what of it runs, which a later run may have to take away.
    """
    made = frozenset(kind for kind, _name in wanted_objects(fleet))
    found = frozenset(item.kind for item in observed.ours(fleet.name))
    marks_pods = bool((made | found) & set(IDLE_FIRST_KINDS))
    return Scope(
        made=made,
        found=found,
        adopts=any(variant.adopted for variant in fleet.variants) or bool(observed.adopted(fleet.name)),
        replaces=fleet.autoscaler_conflict == "remove",
        uses_keda=any(variant.is_counted for variant in fleet.variants),
        has_redis=bool(redis_hosts(fleet)),
        asks_pods=asks_pods,
        removes_data=removes_data,
        keeps_history=keeps_history,
        marks_pods=marks_pods,
        policy=idle_first_policy_name(fleet.namespace, fleet.name) if marks_pods else "",
    )


@dataclass(frozen=True)
class Standing:
    """What there is of accounts in the namespaces that matter.

    :param live: objects of the kinds of an account, as the API server returned them.
    :param namespace_exists: whether the fleet's namespace is there.
    :param creates_namespace: whether the run may create it.
    """

    live: Mapping[Key, Object] = field(default_factory=dict)
    namespace_exists: bool = True
    creates_namespace: bool = False


def plan_account(account: Account, rights: Iterable[Right], standing: Standing, merge: Merge, checks: bool) -> Plan:
    """Make the account, and take away what an earlier run has made and this one does not ask for."""
    wanted = account_resources(account, rights)
    problems = (*_no_namespace(account, standing), *_foreign(account, wanted, standing))
    if problems:
        return Plan(problems=problems)
    kept = {_key(item) for item in wanted}
    doomed = [item for item in own_objects(account, standing) if _key(item) not in kept]
    changed = [item for item in wanted if differs(item, standing.live.get(_key(item)), merge)]
    makes_namespace = not standing.namespace_exists
    steps = (
        Step("Create the namespace", APPLY, (namespace_manifest(account.namespace),) if makes_namespace else ()),
        Step("Make the account", APPLY, tuple(changed)),
        Step("Take away what it needs no more", DELETE, tuple(map(_definition, doomed))),
    )
    # A dry run cannot send into a namespace that is not there yet.
    sends = not (makes_namespace and checks)
    return Plan(
        manifests=tuple(wanted),
        steps=tuple(step for step in steps if step.objects) if sends else (),
        unchanged=tuple(identity(item) for item in wanted if item not in changed),
        not_sent=() if sends else tuple(changed),
    )


def plan_withdrawal(account: Account, standing: Standing) -> Plan:
    """Take away the account with everything that was made for it. Bindings go first."""
    own = sorted(own_objects(account, standing), key=lambda item: -list(ACCOUNT_VERSIONS).index(str(item["kind"])))
    return Plan(steps=(Step("Take the account away", DELETE, tuple(map(_definition, own))),) if own else ())


def own_objects(account: Account, standing: Standing) -> list[Object]:
    """What runs before made for this account."""
    names = {account.role_name(place) for place in (FLEET, KEDA, CLUSTER)}
    return [item for item in standing.live.values() if _is_ours(account, item) and item["metadata"]["name"] in names]


def _is_ours(account: Account, item: Object) -> bool:
    labels = item["metadata"].get("labels") or {}
    return bool(labels.get(FLEET_LABEL) == account.fleet and labels.get(COMPONENT_LABEL) == RIGHTS)


def _no_namespace(account: Account, standing: Standing) -> Iterable[str]:
    if not standing.namespace_exists and not standing.creates_namespace:
        yield no_namespace(account.namespace)


def _foreign(account: Account, wanted: Iterable[Object], standing: Standing) -> Iterable[str]:
    """Objects with names of ours that others have made are never written."""
    for item in wanted:
        live = standing.live.get(_key(item))
        if live is not None and not _is_ours(account, live):
            labels = live["metadata"].get("labels") or {}
            owner = f"the fleet {labels[FLEET_LABEL]}" if labels.get(FLEET_LABEL) else "something else"
            yield (
                f"{identity(item)}{_where(item)} belongs to {owner}, so it is not written. "
                "Choose another celery_workers_rbac_account, or delete it."
            )


def _where(item: Object) -> str:
    namespace = item["metadata"].get("namespace")
    return f" in namespace {namespace}" if namespace else ""


def _definition(item: Object) -> Object:
    """Just enough of an object to delete it."""
    metadata = {name: item["metadata"][name] for name in ("name", "namespace") if name in item["metadata"]}
    return {"apiVersion": ACCOUNT_VERSIONS[str(item["kind"])], "kind": item["kind"], "metadata": metadata}


def _key(item: Object) -> Key:
    return str(item["kind"]), str(item["metadata"].get("namespace", "")), str(item["metadata"]["name"])
