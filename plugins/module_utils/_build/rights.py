# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The account of a fleet: a ServiceAccount, and a Role with its RoleBinding in each namespace that it needs.

What it needs in no namespace is in a ClusterRole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from .._model.names import RIGHTS, ownership_labels, people_labels
from .._model.rights import CLUSTER, FLEET, Right, verbs_in_order

Object = dict[str, Any]

ACCOUNT, ROLE, BINDING = "ServiceAccount", "Role", "RoleBinding"
CLUSTER_ROLE, CLUSTER_BINDING = "ClusterRole", "ClusterRoleBinding"
RBAC_GROUP = "rbac.authorization.k8s.io"
#: Kinds that an account is made of, in the order in which they are applied.
ACCOUNT_VERSIONS = {
    ACCOUNT: "v1",
    **dict.fromkeys((ROLE, CLUSTER_ROLE, BINDING, CLUSTER_BINDING), f"{RBAC_GROUP}/v1"),
}
#: Those of them that are in no namespace.
EVERYWHERE = (CLUSTER_ROLE, CLUSTER_BINDING)


@dataclass(frozen=True)
class Account:
    """What an account is called, and whose it is.

    :param keda_namespace: where KEDA is.
    """

    name: str
    fleet: str
    namespace: str
    keda_namespace: str

    def role_name(self, place: str) -> str:
        """The Role in a namespace, or in none. In that of KEDA, and in none, other fleets have theirs."""
        return self.name if place == FLEET else f"{self.name}-{self.namespace}"

    def namespace_of(self, place: str) -> str:
        """The namespace that a place is; empty for none."""
        return {FLEET: self.namespace, CLUSTER: ""}.get(place, self.keda_namespace)


def account_resources(account: Account, rights: Iterable[Right]) -> list[Object]:
    """Everything that makes an account with these rights."""
    by_place: dict[str, list[Right]] = {FLEET: []}
    for right in rights:
        by_place.setdefault(right.place, []).append(right)
    own = _object(account, ACCOUNT, account.name, account.namespace)
    # No pod runs as this account, so none is given a token of it.
    found = [{**own, "automountServiceAccountToken": False}]
    for place, granted in by_place.items():
        name, namespace = account.role_name(place), account.namespace_of(place)
        role, bound = (CLUSTER_ROLE, CLUSTER_BINDING) if place == CLUSTER else (ROLE, BINDING)
        found.append({**_object(account, role, name, namespace), "rules": list(rules(granted))})
        subject = {"kind": ACCOUNT, "name": account.name, "namespace": account.namespace}
        reference = {"apiGroup": RBAC_GROUP, "kind": role, "name": name}
        binding = _object(account, bound, name, namespace)
        found.append({**binding, "subjects": [subject], "roleRef": reference})
    return sorted(found, key=lambda item: list(ACCOUNT_VERSIONS).index(str(item["kind"])))


def _object(account: Account, kind: str, name: str, namespace: str) -> Object:
    labels = {**people_labels(account.fleet, account.name, RIGHTS), **ownership_labels(account.fleet, component=RIGHTS)}
    metadata = {"name": name, **({"namespace": namespace} if namespace else {}), "labels": labels}
    return {"apiVersion": ACCOUNT_VERSIONS[kind], "kind": kind, "metadata": metadata}


def rules(rights: Iterable[Right]) -> Iterator[Object]:
    """Rules of a Role: resources of one group with the same verbs are one rule."""
    together: dict[tuple[str, tuple[str, ...], tuple[str, ...]], list[str]] = {}
    for right in rights:
        key = (right.group, tuple(verbs_in_order(right.verbs)), right.names)
        together.setdefault(key, []).append(right.resource)
    for (group, verbs, names), resources in together.items():
        rule: Object = {"apiGroups": [group], "resources": sorted(resources), "verbs": list(verbs)}
        yield {**rule, **({"resourceNames": list(names)} if names else {})}
