#!/usr/bin/python
# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks running workers what is really in force."""

from __future__ import annotations

DOCUMENTATION = r"""
module: worker_verify
short_description: Ask running Celery workers whether they do what the inventory promises
version_added: 1.0.0
description:
  - Runs a short Python program in one ready pod of every variant, with the image's own Python, and compares what the
    worker says with the inventory.
  - Finds tasks that keep early acknowledgement, queues that are not consumed, and transport options of the app that the
    worker's command line has replaced.
  - Sends one harmless built-in task (C(celery.accumulate)) through a queue of each variant that tracks in-flight
    work, and looks for it in the variant's own Redis key. Switch that off with O(canary=false).
author:
  - queueops (@queueops)
extends_documentation_fragment:
  - queueops.celery._attributes
  - queueops.celery._attributes.cluster
  - queueops.celery._fleet
  - kubernetes.core.k8s_auth_options
attributes:
  check_mode:
    support: full
    details:
      - Asks, but sends no message.
  diff_mode:
    support: N/A
    details:
      - Changes nothing in the cluster.
  idempotent:
    support: full
options:
  canary:
    description: Whether a message is sent through a queue of each variant that tracks in-flight work.
    type: bool
    default: true
requirements:
  - python >= 3.11
  - kubernetes >= 24.2.0, != 36.0.0, != 36.0.1
  - the collection kubernetes.core >= 3.2.0
seealso:
  - module: queueops.celery.worker_info
"""

EXAMPLES = r"""
- name: Ask the workers of a fleet
  queueops.celery.worker_verify:
    namespace: shop
    broker:
      host: redis
    services:
      billing:
        app: billing.celery:app
        image: registry.example/billing:1.4
        idempotent: true
    config:
      billing:
        default:
          enable_keda: true
          longest_task_seconds: 300
  register: asked

- name: Stop if work could be lost
  ansible.builtin.assert:
    that: asked.problems | length == 0
    fail_msg: "{{ asked.problems | join('\n') }}"
"""

RETURN = r"""
problems:
  description: What would lose, hide or strand work.
  returned: success
  type: list
  elements: str
asked:
  description: One row per variant that was asked.
  returned: success
  type: list
  elements: dict
  contains:
    deployment:
      description: Name of the Deployment.
      type: str
      sample: billing-worker
    pod:
      description: The pod that answered.
      type: str
      sample: billing-worker-7d4b9c-x2x7k
    tasks:
      description: Registered tasks.
      type: int
      sample: 41
    early_tasks:
      description: Tasks that keep early acknowledgement.
      type: list
      elements: str
      sample: [billing.tasks.touch]
not_asked:
  description: Deployments without a ready pod.
  returned: success
  type: list
  elements: str
"""

import copy
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

try:
    from ansible_collections.kubernetes.core.plugins.module_utils.args_common import AUTH_ARG_SPEC
    from ansible_collections.kubernetes.core.plugins.module_utils.k8s.client import get_api_client
    from ansible_collections.kubernetes.core.plugins.module_utils.k8s.core import AnsibleK8SModule
except ImportError:
    HAS_KUBERNETES_CORE = False
    AUTH_ARG_SPEC = {}
else:
    HAS_KUBERNETES_CORE = True

from ansible_collections.queueops.celery.plugins.module_utils._asking import ask, ready_pod
from ansible_collections.queueops.celery.plugins.module_utils._cluster import (
    Cluster,
    ClusterError,
    open_cluster,
    pods_of,
)
from ansible_collections.queueops.celery.plugins.module_utils._model import Fleet
from ansible_collections.queueops.celery.plugins.module_utils._names import FLEET_LABEL
from ansible_collections.queueops.celery.plugins.module_utils._options import fleet_options, read_fleet
from ansible_collections.queueops.celery.plugins.module_utils._verification import (
    Finding,
    question_for,
    verified,
)

#: Seconds after which a worker that did not answer is asked once more.
PAUSE = 5


def argument_spec() -> dict[str, Any]:
    """Options of the fleet, of the connection, and of asking."""
    return {
        **copy.deepcopy(AUTH_ARG_SPEC),
        **fleet_options(),
        "canary": {"type": "bool", "default": True},
    }


def ask_fleet(cluster: Cluster, fleet: Fleet, canaries: bool) -> tuple[list[Finding], list[str]]:
    """What every variant says, and the Deployments that have nobody to ask."""
    deployments = {
        item["metadata"]["name"]: item
        for item in cluster.list_objects("Deployment", "apps/v1", selector=f"{FLEET_LABEL}={fleet.name}") or []
    }
    pods = cluster.list_objects("Pod", "v1", selector=f"{FLEET_LABEL}={fleet.name}") or []
    found, silent = [], []
    for service in fleet.services:
        for variant in service.variants:
            live = deployments.get(variant.deployment)
            pod = ready_pod(pods_of(live, pods)) if live is not None else None
            if pod is None:
                silent.append(variant.deployment)
                continue
            answer = ask(cluster, pod, question_for(variant, service, canaries))
            # Without a probe a pod is ready before its worker is.
            if question_for(variant, service, canaries).inspects and not (answer.answered or answer.error):
                time.sleep(PAUSE)
                answer = ask(cluster, pod, question_for(variant, service, canaries))
            found.append(verified(variant, service, pod["metadata"]["name"], answer))
    return found, silent


def main() -> None:
    """Entry point."""
    if not HAS_KUBERNETES_CORE:
        module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
        module.fail_json(msg=missing_required_lib("the collection kubernetes.core", reason="to read a cluster"))
    module = AnsibleK8SModule(module_class=AnsibleModule, argument_spec=argument_spec(), supports_check_mode=True)
    fleet = read_fleet(module)
    try:
        cluster = open_cluster(lambda: get_api_client(module), fleet.namespace)
        found, silent = ask_fleet(cluster, fleet, module.params["canary"] and not module.check_mode)
    except ClusterError as error:
        module.fail_json(msg=str(error))
    for finding in found:
        for warning in finding.warnings:
            module.warn(warning)
    module.exit_json(
        changed=False,
        problems=[problem for finding in found for problem in finding.problems],
        asked=[
            {
                "deployment": finding.deployment,
                "pod": finding.pod,
                "tasks": finding.tasks,
                "early_tasks": list(finding.early_tasks),
            }
            for finding in found
        ],
        not_asked=silent,
    )


if __name__ == "__main__":
    main()
