#!/usr/bin/python
# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads how a fleet is."""

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_status
short_description: See what the queues of a fleet hold, why it has so many pods, and what is wrong
version_added: 1.0.0
description:
  - Reads a namespace with one request per kind, compares it with the inventory, and says how each variant is.
  - What queues hold comes from KEDA's operator, through the API server, in one request for all variants. Where KEDA
    does not tell, one ready pod of the variant is asked with a command in its container. What is not known is null.
  - The playbook C(queueops.celery.status) does the same for every host of an inventory.
author:
  - queueops (@queueops)
extends_documentation_fragment:
  - queueops.celery._attributes
  - queueops.celery._attributes.reads
  - queueops.celery._attributes.cluster
  - queueops.celery._fleet
  - kubernetes.core.k8s_auth_options
options:
  keda_namespace:
    description:
      - Namespace of KEDA. Empty tries V(keda), then the namespace that the registration of KEDA's metrics server names.
    type: str
    default: ""
  ask_pods:
    description: Whether a pod of each variant is asked what its queues hold, where KEDA does not tell.
    type: bool
    default: true
requirements:
  - python >= 3.11
  - kubernetes >= 24.2.0, != 36.0.0, != 36.0.1
  - the collection kubernetes.core >= 3.2.0
seealso:
  - module: queueops.celery.worker_info
  - module: queueops.celery.worker_verify
"""

EXAMPLES = r"""
- name: See how a fleet is
  queueops.celery.fleet_status:
    namespace: shop
    broker:
      host: redis
    services:
      billing:
        app: billing.celery:app
        image: registry.example/billing:1.4
    config:
      billing:
        invoices:
          enable_keda: true
          min_replicas: 1
          longest_task_seconds: 300
  register: shop

- name: Show it as a page
  ansible.builtin.debug:
    msg: "{{ shop.page }}"

- name: Stop a deployment while a queue has nothing that consumes it
  ansible.builtin.assert:
    that: shop.status.problems | selectattr('rule', 'equalto', 'nothing-consumes') | length == 0
    fail_msg: "{{ shop.problems | join('\n') }}"
"""

RETURN = r"""
status:
  description: How the fleet is. What is not known is null.
  returned: success
  type: dict
  contains:
    at:
      description: When it was read.
      type: str
      sample: "2026-11-30T14:00:00Z"
    namespace:
      description: Namespace of the fleet.
      type: str
      sample: shop
    fleet:
      description: Id of the fleet.
      type: str
      sample: shop
    host:
      description: Host of the inventory; empty here.
      type: str
      sample: ""
    numbers:
      description: Where the numbers come from.
      type: list
      elements: str
      sample: ["KEDA's metrics (keda-operator in keda)"]
    problems:
      description:
        - What is wrong, the worst first, each with C(rule), C(severity), C(where), C(what), C(fix) and C(sentence).
      type: list
      elements: dict
    variants:
      description: One entry per variant.
      type: list
      elements: dict
      contains:
        service:
          description: Name of the service.
          type: str
        variant:
          description: Name of the variant.
          type: str
        deployment:
          description: Name of the Deployment.
          type: str
        queues:
          description: Queues that it consumes.
          type: list
          elements: str
        exists:
          description: Whether its Deployment exists.
          type: bool
        work:
          description:
            - C(waiting) and C(in_flight) messages, tasks that are C(running) and C(held_for_eta), the C(source) of
              these numbers, which is V(keda), V(pod) or V(unknown), and the C(reason) where one is not known.
          type: dict
        pods:
          description:
            - Pods that are C(ready) and C(wanted), their limits C(min) and C(max), who the number was C(set_by) and
              C(since) when, C(restarts) and C(oom_kills), and what keeps pods from coming up.
          type: dict
        formula:
          description: The formula with its numbers as C(text), its C(result), and the pods that it C(wants).
          type: dict
        scaler:
          description:
            - Its C(kind), C(state), C(reason), the C(annotations) that pause it, and the C(window) of its schedule that
              is open.
          type: dict
        image:
          description: Image of the workers.
          type: str
        image_since:
          description: Since when all of them run it.
          type: str
        drain:
          description: Since when it is drained, by whom and why, and which of its pods take work all the same.
          type: dict
        drift:
          description: Objects that are not as the inventory says, each with the names of the C(fields) that differ.
          type: list
          elements: dict
        rescales:
          description: The last changes of the number of pods, each with its C(time), who did it, and why.
          type: list
          elements: dict
        problems:
          description: Ids of the rules of its problems.
          type: list
          elements: str
    drift:
      description: The same for objects that belong to no variant.
      type: list
      elements: dict
    inventory:
      description: A fingerprint of what the inventory says, by which two of them can be compared.
      type: str
      sample: 3f9a0c5d7e21b846
    history:
      description:
        - Runs that have changed something, the newest first, each with C(time), C(what) (its playbook), C(by),
          C(collection), C(inventory), how many objects and which were C(created), C(changed) and C(removed), and why it
          C(failed).
      type: list
      elements: dict
    last_deploy:
      description: The newest of them that is a deploy; null where there is none.
      type: dict
    failed:
      description: Always null here, because the module fails then.
      type: str
problems:
  description: The same problems as sentences.
  returned: success
  type: list
  elements: str
  sample: ["billing invoices: 340 messages wait, 8 of 8 pods for 12 min: raise max_replicas or list_length"]
page:
  description: All of it as lines of text for people.
  returned: success
  type: list
  elements: str
"""

from typing import Any

from ansible_collections.queueops.celery.plugins.module_utils._cluster.connection import (
    client_of,
    cluster_module,
    connection_options,
    merge_of,
)
from ansible_collections.queueops.celery.plugins.module_utils._cluster.direct import DirectCluster
from ansible_collections.queueops.celery.plugins.module_utils._cluster.lacking import advised
from ansible_collections.queueops.celery.plugins.module_utils._cluster.reading import (
    ClusterError,
    open_cluster,
    utc_now,
)
from ansible_collections.queueops.celery.plugins.module_utils._read.module_options import fleet_options
from ansible_collections.queueops.celery.plugins.module_utils._status.data import as_data
from ansible_collections.queueops.celery.plugins.module_utils._status.rendering import page
from ansible_collections.queueops.celery.plugins.module_utils.fleet import read_fleet
from ansible_collections.queueops.celery.plugins.module_utils.status import look


def argument_spec() -> dict[str, Any]:
    """Options of the fleet, of the connection, and of where numbers come from."""
    return {
        **connection_options(),
        **fleet_options(),
        "keda_namespace": {"type": "str", "default": ""},
        "ask_pods": {"type": "bool", "default": True},
    }


def main() -> None:
    """Entry point."""
    module = cluster_module(argument_spec())
    fleet = read_fleet(module, only_reads=True)
    now = utc_now()
    try:
        opened = open_cluster(lambda: client_of(module), fleet.namespace)
        found = look(
            DirectCluster(opened.client, opened.namespace),
            fleet,
            lambda observed: read_fleet(module, observed, only_reads=True),
            merge_of(),
            now,
            keda_namespace=module.params["keda_namespace"] or "",
            asks_pods=module.params["ask_pods"],
        )
    except ClusterError as error:
        module.fail_json(msg=advised(str(error)))
    module.exit_json(
        changed=False,
        status=as_data(found),
        problems=[problem.sentence for problem in found.all_problems],
        page=page([found], now),
    )


if __name__ == "__main__":
    main()
