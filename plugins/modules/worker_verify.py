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

from typing import Any

from ansible_collections.queueops.celery.plugins.module_utils._cluster.asking import ask_fleet
from ansible_collections.queueops.celery.plugins.module_utils._cluster.connection import (
    client_of,
    cluster_module,
    connection_options,
)
from ansible_collections.queueops.celery.plugins.module_utils._cluster.lacking import advised
from ansible_collections.queueops.celery.plugins.module_utils._cluster.reading import ClusterError, open_cluster
from ansible_collections.queueops.celery.plugins.module_utils._read.module_options import fleet_options
from ansible_collections.queueops.celery.plugins.module_utils.fleet import read_fleet


def argument_spec() -> dict[str, Any]:
    """Options of the fleet, of the connection, and of asking."""
    return {
        **connection_options(),
        **fleet_options(),
        "canary": {"type": "bool", "default": True},
    }


def main() -> None:
    """Entry point."""
    module = cluster_module(argument_spec())
    fleet = read_fleet(module)
    try:
        cluster = open_cluster(lambda: client_of(module), fleet.namespace)
        found, silent = ask_fleet(cluster, fleet, module.params["canary"] and not module.check_mode)
    except ClusterError as error:
        module.fail_json(msg=advised(str(error)))
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
