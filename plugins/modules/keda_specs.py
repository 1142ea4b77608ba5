#!/usr/bin/python
# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Computes the scalers of Celery workers."""

from __future__ import annotations

DOCUMENTATION = r"""
module: keda_specs
short_description: Compute KEDA ScaledObjects and other scalers for Celery workers
version_added: 1.0.0
description:
  - Turns the same inventory as M(queueops.celery.worker_specs) into one ScaledObject per variant with C(enable_keda),
    and the TriggerAuthentications that they read the broker with.
  - Where the service is C(idempotent), the scaler sees what workers hold as well. In-flight work holds pods and wakes
    one, and never adds any. That, priorities and several queues are put together by a formula (KEDA 2.12 or later).
  - A variant with C(scaler=hpa) gets a HorizontalPodAutoscaler by CPU or memory instead.
  - Checks the whole inventory first and reports every problem in one message. Computes only.
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
  - module: queueops.celery.worker_specs
"""

EXAMPLES = r"""
- name: Compute the scaler of one variant
  queueops.celery.keda_specs:
    namespace: shop
    broker:
      host: redis
    services:
      billing:
        image: registry.example/billing:1.4
    config:
      billing:
        default:
          enable_keda: true
          min_replicas: 1
          max_replicas: 8
          list_length: 20
  register: scalers

- name: Apply it
  kubernetes.core.k8s:
    apply: true
    definition: "{{ scalers.resources }}"
"""

RETURN = r"""
resources:
  description: Manifests in the order in which they are to be applied, after the Deployments.
  returned: success
  type: list
  elements: dict
scalers:
  description: One row per variant that is scaled, ready to print.
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
      sample: default
    scaled_object:
      description: Name of the ScaledObject, or of the HorizontalPodAutoscaler.
      type: str
      sample: billing-worker-scaledobject
    deployment:
      description: Name of the Deployment that it scales.
      type: str
      sample: billing-worker
    min_replicas:
      description: Fewest pods.
      type: int
      sample: 1
    max_replicas:
      description: Most pods.
      type: int
      sample: 8
    sees:
      description: What it measures.
      type: list
      elements: str
      sample: [backlog, in-flight]
    formula:
      description: Pods that the work asks for, as KEDA computes it. Empty where one trigger says it by itself.
      type: str
      sample: max((backlog_p0 + backlog_p3) / 20, min(inflight / 2, max(pods, 1)))
    to_zero:
      description: Whether it may go to zero pods, and why or why not.
      type: str
      sample: no, idempotent is false, so running work is invisible
problems:
  description: Everything that is wrong with the inventory, each with the path where it was written.
  returned: failure
  type: list
  elements: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.queueops.celery.plugins.module_utils._build.scalers import scaler_resources, scaler_table
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
    # The warnings of the inventory are those of worker_specs; nobody wants to read them twice.
    exit_without_placeholders(
        module, changed=False, resources=scaler_resources(fleet, observed), scalers=scaler_table(fleet)
    )


if __name__ == "__main__":
    main()
