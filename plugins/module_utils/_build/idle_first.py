# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What lets the workers of a fleet mark their own pods, and nothing else: an account, a right, and a policy over it.

The right alone would let a worker change every pod of the namespace, so it is never there without the policy.
"""

from __future__ import annotations

from typing import Any

from .._celery.idle_first import account_of, marking
from .._celery.programs.idle_first import ANNOTATION
from .._model.fleet import Fleet
from .._model.names import IDLE_FIRST, idle_first_name, idle_first_policy_name, ownership_labels
from .._model.observed import NOTHING, Observed
from .resources import resource

Object = dict[str, Any]

RBAC_GROUP = "rbac.authorization.k8s.io"
#: What a token of a pod says of it.
_POD_NAME = "authentication.kubernetes.io/pod-name"


def _same(field: str, what: str) -> Object:
    """A part of the metadata that may be missing, and must not change."""
    old, new = f"oldObject.metadata.{field}", f"object.metadata.{field}"
    return {
        "expression": f"has({new}) == has({old}) && (!has({new}) || {new} == {old})",
        "message": f"workers may not change {what} of a pod",
    }


def _kept(one: str, other: str) -> str:
    """Whether every annotation of one side but ours is on the other side as well, with the same value."""
    is_same = f"k in variables.{other} && variables.{other}[k] == variables.{one}[k]"
    return f"variables.{one}.all(k, k == '{ANNOTATION}' || ({is_same}))"


VARIABLES: list[Object] = [
    {"name": name, "expression": f"has({side}.metadata.annotations) ? {side}.metadata.annotations : {{}}"}
    for name, side in (("before", "oldObject"), ("after", "object"))
]

#: Everything that must hold of a change. What may differ is the one annotation of the worker's own pod.
VALIDATIONS: list[Object] = [
    {
        "expression": f"request.userInfo.extra['{_POD_NAME}'] == [object.metadata.name]",
        "message": "workers may change no pod but their own",
    },
    {"expression": "object.spec == oldObject.spec", "message": "workers may not change the spec of a pod"},
    _same("labels", "labels"),
    _same("ownerReferences", "owners"),
    _same("finalizers", "finalizers"),
    {
        "expression": f"{_kept('before', 'after')} && {_kept('after', 'before')}",
        "message": f"workers may change no annotation but {ANNOTATION}",
    },
]


def idle_first_resources(fleet: Fleet, observed: Observed = NOTHING) -> list[Object]:
    """Everything that workers need for it, in the order in which it is applied; nothing where none marks its pod.

    The right is bound last. What a later run finds by is made first.
    """
    accounts = sorted({account_of(variant, fleet.name) for variant in marking(fleet)})
    if not accounts:
        return []
    name = idle_first_name(fleet.name)
    made = [_service_account(fleet, observed)] if name in accounts else []
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["patch"]}]
    role = {**_object("Role", fleet, name, observed), "rules": rules}
    subjects = [{"kind": "ServiceAccount", "name": account, "namespace": fleet.namespace} for account in accounts]
    reference = {"apiGroup": RBAC_GROUP, "kind": "Role", "name": name}
    binding = {**_object("RoleBinding", fleet, name, observed), "subjects": subjects, "roleRef": reference}
    return [*made, role, *_policy(fleet, accounts, observed), binding]


def _service_account(fleet: Fleet, observed: Observed) -> Object:
    # The launcher mounts a token of its own; no other container gets one.
    return {
        **_object("ServiceAccount", fleet, idle_first_name(fleet.name), observed),
        "automountServiceAccountToken": False,
    }


def _policy(fleet: Fleet, accounts: list[str], observed: Observed) -> list[Object]:
    name = idle_first_policy_name(fleet.namespace, fleet.name)
    users = ", ".join(f"'system:serviceaccount:{fleet.namespace}:{account}'" for account in accounts)
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["pods", "pods/*"]}
    spec = {
        "failurePolicy": "Fail",
        "matchConstraints": {"resourceRules": [rule]},
        "matchConditions": [{"name": "workers-of-the-fleet", "expression": f"request.userInfo.username in [{users}]"}],
        "variables": VARIABLES,
        "validations": VALIDATIONS,
    }
    binding = {"policyName": name, "validationActions": ["Deny"]}
    return [
        {**_object("ValidatingAdmissionPolicy", fleet, name, observed), "spec": spec},
        {**_object("ValidatingAdmissionPolicyBinding", fleet, name, observed), "spec": binding},
    ]


def _object(kind: str, fleet: Fleet, name: str, observed: Observed) -> Object:
    labels = ownership_labels(fleet.name, component=IDLE_FIRST)
    found = resource(kind, fleet, name, labels, IDLE_FIRST, observed.find(kind, name), {})
    del found["spec"]
    return found
