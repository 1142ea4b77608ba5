#!/usr/bin/python
# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads what runs now."""

from __future__ import annotations

DOCUMENTATION = r"""
module: worker_info
short_description: Read what a fleet of Celery workers looks like in its cluster
version_added: 1.0.0
description:
  - Reads a namespace once, one LIST per kind, and returns what the other modules need to know of it.
  - Given an inventory too, checks it first and then compares it with the cluster. What stands in the way comes back in
    RV(problems) and RV(missing), what is not asked for any more in RV(retired) and RV(orphans).
  - Reads only metadata of Secrets and ConfigMaps, never their content.
author:
  - queueops (@queueops)
extends_documentation_fragment:
  - queueops.celery._attributes
  - queueops.celery._attributes.reads
  - queueops.celery._attributes.cluster
  - queueops.celery._fleet
  - kubernetes.core.k8s_auth_options
options:
  create_namespace:
    description: Whether the namespace will be created, so that its absence is no problem.
    type: bool
    default: false
  prune:
    description:
      - Whether objects that the inventory does not ask for will be removed.
      - Without it they are named in a warning, and a variant cannot change its name while its old Deployment stays.
    type: bool
    default: false
  key_change:
    description:
      - What becomes of work that running workers hold under a Redis key that would change, or that old pods have too
        short a grace period for. A pod of theirs is asked how much that is, with a command in its container.
      - V(stop) reports it in RV(problems), V(drain) returns in RV(drains) a worker that stays on the old key,
        V(accept) asks no worker.
    type: str
    choices: [stop, drain, accept]
    default: stop
  wait:
    description:
      - Wait until every Deployment of the inventory is up and KEDA scales by every ScaledObject.
      - Then only RV(waiting) is returned.
    type: bool
    default: false
  wait_timeout:
    description:
      - Longest time to wait, in seconds. A variant whose C(probe.startup_seconds) is above 300 and above this is waited
        for that long.
    type: int
    default: 300
  wait_sleep:
    description: Time between two looks, in seconds.
    type: int
    default: 5
  wait_for:
    description: Names of the Deployments to wait for, whoever made them. Empty waits for those of the inventory.
    type: list
    elements: str
    default: []
requirements:
  - python >= 3.11
  - kubernetes >= 24.2.0, != 36.0.0, != 36.0.1
  - the collection kubernetes.core >= 3.2.0
"""

EXAMPLES = r"""
- name: Read all that a fleet has in its namespace
  queueops.celery.worker_info:
    namespace: shop
  register: shop

- name: List it
  ansible.builtin.debug:
    msg: "{{ shop.owned | map(attribute='name') }}"
"""

RETURN = r"""
observed:
  description: The namespace as the C(*_specs) modules want it.
  returned: when O(wait=false)
  type: dict
  contains:
    objects:
      description: Objects that are ours or that carry one of our names.
      type: list
      elements: dict
    autoscalers:
      description: What scales Deployments in the namespace.
      type: list
      elements: dict
    namespace_exists:
      description: Whether the namespace exists.
      type: bool
    missing_kinds:
      description: Kinds that the cluster does not know.
      type: list
      elements: str
    hidden_kinds:
      description: Kinds of what watches a fleet that may not be listed.
      type: list
      elements: str
problems:
  description: What in the cluster stands in the way of the inventory.
  returned: when O(wait=false)
  type: list
  elements: str
missing:
  description: What a real run would stop at and a dry run can go on without, such as a missing namespace.
  returned: when O(wait=false)
  type: list
  elements: str
owned:
  description: Everything of the fleet as definitions, in the order in which it is to be removed.
  returned: when O(wait=false)
  type: list
  elements: dict
retired:
  description: Objects of variants that are in the inventory and that do not need them any more.
  returned: when O(wait=false)
  type: list
  elements: dict
orphans:
  description: Objects of variants and services that the inventory does not have.
  returned: when O(wait=false)
  type: list
  elements: dict
drains:
  description: Deployments of one worker each that look after an old key, to be applied before anything else.
  returned: when O(wait=false)
  type: list
  elements: dict
draining:
  description: Workers of earlier runs that still look after an old key, each with what is left.
  returned: when O(wait=false)
  type: list
  elements: str
rivals:
  description: Other autoscalers that are to be removed before anything else, as definitions.
  returned: when O(wait=false)
  type: list
  elements: dict
blocked:
  description: ScaledObjects that a dry run cannot send, because KEDA refuses them while RV(rivals) are there.
  returned: when O(wait=false)
  type: list
  elements: str
cut:
  description: Adopted Deployments whose pods this run replaces under a shorter grace period than the inventory gives.
  returned: when O(wait=false)
  type: list
  elements: str
releases:
  description: Strategic merge patches that give back Deployments that were adopted and should not be any more.
  returned: when O(wait=false)
  type: list
  elements: dict
orphan_names:
  description: The same as RV(orphans), ready to print.
  returned: when O(wait=false)
  type: list
  elements: str
waiting:
  description: What was not up when the waiting ended, each with the reason.
  returned: when O(wait=true)
  type: list
  elements: str
waited:
  description: Time that was waited, in seconds.
  returned: when O(wait=true)
  type: int
"""

import time
from dataclasses import asdict
from typing import Any

from ansible_collections.queueops.celery.plugins.module_utils._build.workers import present_places
from ansible_collections.queueops.celery.plugins.module_utils._celery.adoption import cut_by_adoption, releases
from ansible_collections.queueops.celery.plugins.module_utils._check.preflight import (
    Findings,
    describe_object,
    named_objects,
    preflight,
    redis_hosts,
    removal_of,
    source_names,
    wanted_objects,
)
from ansible_collections.queueops.celery.plugins.module_utils._cluster.asking import AtRisk, work_at_risk
from ansible_collections.queueops.celery.plugins.module_utils._cluster.connection import (
    client_of,
    cluster_module,
    connection_options,
)
from ansible_collections.queueops.celery.plugins.module_utils._cluster.key_changes import POLICIES
from ansible_collections.queueops.celery.plugins.module_utils._cluster.lacking import advised
from ansible_collections.queueops.celery.plugins.module_utils._cluster.readiness import patience
from ansible_collections.queueops.celery.plugins.module_utils._cluster.reading import (
    Cluster,
    ClusterError,
    open_cluster,
    read_observed,
    wait_for_fleet,
)
from ansible_collections.queueops.celery.plugins.module_utils._model.fleet import Fleet
from ansible_collections.queueops.celery.plugins.module_utils._model.names import scaled_object_name
from ansible_collections.queueops.celery.plugins.module_utils._model.observed import (
    Observed,
    definition,
    leftovers,
    removal_order,
)
from ansible_collections.queueops.celery.plugins.module_utils._read.module_options import fleet_options
from ansible_collections.queueops.celery.plugins.module_utils._schema.placeholders import refuse_placeholders
from ansible_collections.queueops.celery.plugins.module_utils.fleet import read_fleet


def argument_spec() -> dict[str, Any]:
    """Options of the fleet, of the connection, and of waiting."""
    return {
        **connection_options(),
        **fleet_options(),
        "create_namespace": {"type": "bool", "default": False},
        "prune": {"type": "bool", "default": False},
        "key_change": {"type": "str", "choices": list(POLICIES), "default": "stop"},
        "wait": {"type": "bool", "default": False},
        "wait_timeout": {"type": "int", "default": 300},
        "wait_sleep": {"type": "int", "default": 5},
        "wait_for": {"type": "list", "elements": "str", "default": []},
    }


def describe(fleet: Fleet, observed: Observed, risk: AtRisk, findings: Findings) -> dict[str, Any]:
    """What the module returns of a fleet and its cluster."""
    wanted = [*wanted_objects(fleet), *(("Deployment", name) for name in risk.busy), *sorted(risk.needed)]
    unwanted = leftovers(observed, fleet.name, wanted, present_places(fleet))
    return {
        "observed": asdict(observed),
        "problems": [*findings.problems, *risk.problems],
        "drains": risk.drains,
        "draining": list(risk.busy.values()),
        "missing": list(findings.missing),
        "owned": [definition(item, fleet.namespace) for item in removal_order(observed.ours(fleet.name))],
        "retired": [definition(item, fleet.namespace) for item in removal_order(unwanted.retired)],
        "orphans": [definition(item, fleet.namespace) for item in removal_order(unwanted.orphans)],
        "switched": [definition(item, fleet.namespace) for item in unwanted.switched],
        "rivals": [removal_of(item, fleet.namespace) for item in findings.doomed],
        "blocked": sorted({scaled_object_name(item.target) for item in findings.doomed}),
        "cut": [item.deployment for item in cut_by_adoption(fleet, observed)],
        "releases": releases(fleet, observed),
        "orphan_names": [describe_object(item) for item in unwanted.orphans],
    }


def wait(cluster: Cluster, fleet: Fleet, params: dict[str, Any]) -> list[str]:
    """What has not come up in time, each with the reason."""
    others = set(params["wait_for"])
    adopted = {variant.deployment for variant in fleet.variants if variant.adopted}
    waiting = wait_for_fleet(
        cluster,
        fleet.name,
        others or {name for kind, name in wanted_objects(fleet) if kind == "Deployment"} | adopted,
        set() if others else {scaled_object_name(item.deployment) for item in fleet.variants if item.uses_keda},
        params["wait_timeout"] if others else patience(fleet, params["wait_timeout"]),
        params["wait_sleep"],
        scaled_jobs=set() if others else {item.deployment for item in fleet.variants if item.runs_as_jobs},
    )
    return [f"{item.name}: {item.reason}" for item in waiting]


def main() -> None:
    """Entry point."""
    module = cluster_module(argument_spec())
    params = module.params
    # The inventory first: its problems are reported with or without a cluster.
    is_empty = not params["variable_names"]
    # Who waits for named Deployments, as a removal does, does so whatever the inventory says.
    waits = params["wait"] and params["wait_for"]
    namespace = params["namespace"]
    fleet = Fleet(params["fleet"] or namespace, namespace, ()) if waits else read_fleet(module, may_be_empty=is_empty)
    try:
        cluster = open_cluster(lambda: client_of(module), fleet.namespace)
        if params["wait"]:
            start = time.monotonic()
            waiting = [] if module.check_mode else wait(cluster, fleet, params)
            module.exit_json(changed=False, waiting=waiting, waited=round(time.monotonic() - start))
        observed = read_observed(cluster, fleet.name, named_objects(fleet), source_names(fleet), redis_hosts(fleet))
        # Once more, with what services take over from Deployments that run.
        fleet = read_fleet(module, observed, is_empty)
        risk = work_at_risk(cluster, fleet, observed, params["key_change"], params["prune"])
    except ClusterError as error:
        module.fail_json(msg=advised(str(error)))
    findings = preflight(fleet, observed, params["create_namespace"], params["prune"])
    for warning in (*risk.warnings, *findings.warnings):
        module.warn(warning)
    found = describe(fleet, observed, risk, findings)
    if fleet.services and found["orphan_names"] and not params["prune"]:
        module.warn(
            f"The inventory does not ask for {', '.join(found['orphan_names'])} of fleet {fleet.name}, so they are "
            "left as they are. Remove them with celery_workers_prune: true."
        )
    refuse_placeholders(module, drains=found["drains"], releases=found["releases"])
    module.exit_json(changed=False, **found)


if __name__ == "__main__":
    main()
