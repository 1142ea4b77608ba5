#!/usr/bin/python
# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Computes the Deployments of Celery workers."""

from __future__ import annotations

DOCUMENTATION = r"""
module: worker_specs
short_description: Compute Deployments of Celery workers, one per queue
version_added: 1.0.0
description:
  - Turns services and variants of an inventory into Deployments, PodDisruptionBudgets and ConfigMaps.
  - Checks the whole inventory first and reports every problem in one message.
  - Computes only. Send RV(resources) with M(kubernetes.core.k8s), or write them with M(queueops.celery.manifest_files).
author:
  - queueops (@queueops)
extends_documentation_fragment:
  - queueops.celery._attributes
  - queueops.celery._attributes.pure
  - queueops.celery._fleet
  - queueops.celery._fleet.observed
requirements:
  - python >= 3.11
seealso:
  - module: queueops.celery.keda_specs
"""

EXAMPLES = r"""
- name: Compute two worker groups of one service
  queueops.celery.worker_specs:
    namespace: shop
    broker:
      host: redis
    services:
      billing:
        app: billing.celery:app
        image: registry.example/billing:1.4
    config:
      billing:
        default: {}
        reports:
          concurrency: 1
          resources:
            limits:
              memory: 2Gi
  register: workers

- name: Apply them
  kubernetes.core.k8s:
    apply: true
    definition: "{{ workers.resources }}"
"""

RETURN = r"""
resources:
  description: Manifests in the order in which they are to be applied.
  returned: success
  type: list
  elements: dict
handovers:
  description:
    - Patches that make Deployments forget an applied number of replicas, to be sent before RV(resources).
    - Without them a scaler that takes over would start from one pod.
  returned: success
  type: list
  elements: dict
adoptions:
  description:
    - Strategic merge patches that narrow Deployments that others made, to be sent when every other worker is up, so
      that no queue is without a consumer.
  returned: success
  type: list
  elements: dict
workers:
  description: One row per variant, ready to print.
  returned: success
  type: list
  elements: dict
  contains:
    service:
      description: Name of the service.
      type: str
      sample: billing
    variant:
      description: Name of the variant.
      type: str
      sample: reports
    queues:
      description: Queues that it consumes.
      type: list
      elements: str
      sample: [reports]
    deployment:
      description: Name of its Deployment.
      type: str
      sample: billing-worker-reports
    replicas:
      description: Number of pods, or fewest and most.
      type: str
      sample: "0-30"
    list_length:
      description: Waiting messages per pod. V(none) without a scaler.
      type: int
      sample: 40
    scaler:
      description: Who decides on the number of pods.
      type: str
      sample: keda
    sees:
      description: What its scaler sees.
      type: str
      sample: backlog, in-flight
    to_zero:
      description: Whether it may go to zero pods, and why or why not.
      type: str
      sample: yes, in-flight work is seen
    slots:
      description: Tasks that a pod runs at once.
      type: int
      sample: 2
    sizing:
      description: Settings that follow from the task times, each with the reason.
      type: list
      elements: str
      sample: ["billing.reports: time_limit 3600: longest_task_seconds 3600"]
secrets:
  description: Names of the Secrets that the role makes for this fleet. Their values never pass through a module.
  returned: success
  type: list
  elements: str
problems:
  description: Everything that is wrong with the inventory, each with the path where it was written.
  returned: failure
  type: list
  elements: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.queueops.celery.plugins.module_utils._build.secrets import secret_names
from ansible_collections.queueops.celery.plugins.module_utils._build.workers import (
    handovers,
    worker_resources,
    worker_table,
)
from ansible_collections.queueops.celery.plugins.module_utils._celery.adoption import adoptions, unseen_adoptions
from ansible_collections.queueops.celery.plugins.module_utils._model.observed import observed_from_data
from ansible_collections.queueops.celery.plugins.module_utils._read.module_options import fleet_options, observed_option
from ansible_collections.queueops.celery.plugins.module_utils._schema.placeholders import exit_without_placeholders
from ansible_collections.queueops.celery.plugins.module_utils.fleet import read_fleet


def main(make: Any = None) -> None:
    """Entry point.

    :param make: what makes the module, where it does not run as a program.
    """
    module = (make or AnsibleModule)(argument_spec={**fleet_options(), **observed_option()}, supports_check_mode=True)
    observed = observed_from_data(module.params["observed"])
    fleet = read_fleet(module, observed)
    for warning in (*fleet.warnings, *unseen_adoptions(fleet, observed)):
        module.warn(warning)
    exit_without_placeholders(
        module,
        changed=False,
        resources=worker_resources(fleet, observed, module.check_mode),
        handovers=handovers(fleet, observed),
        adoptions=adoptions(fleet, observed),
        workers=worker_table(fleet, observed),
        secrets=secret_names(fleet),
    )


if __name__ == "__main__":
    main()
