#!/usr/bin/python
# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Computes Flower."""

from __future__ import annotations

DOCUMENTATION = r"""
module: flower_specs
short_description: Compute Flower for the brokers of Celery workers
version_added: 1.0.0
description:
  - Turns the same inventory as M(queueops.celery.worker_specs) into one Flower per broker, however many services share
    it, with its Service and, if wanted, Ingress or HTTPRoute, NetworkPolicy and claim.
  - Its password, its session secret and the broker's URL are references to Secrets. RV(generated) names the values that
    are to be generated, because nobody gives them and the cluster has none.
  - The Ingress and the HTTPRoute lead to Flower's pages, and neither to its metrics nor to its health check, which ask
    for no password (Flower 2.2).
  - Checks the whole inventory first and reports every problem in one message. Computes only.
author:
  - queueops (@queueops)
extends_documentation_fragment:
  - queueops.celery._attributes
  - queueops.celery._attributes.pure
  - queueops.celery._fleet
  - queueops.celery._fleet.observed
options:
  flower_enabled:
    description: Whether Flower is wanted. With V(false) nothing comes back.
    type: bool
    default: true
requirements:
  - python >= 3.11
seealso:
  - module: queueops.celery.worker_specs
  - module: queueops.celery.monitoring_specs
"""

EXAMPLES = r"""
- name: Compute Flower behind an Ingress
  queueops.celery.flower_specs:
    namespace: shop
    broker:
      host: redis
    services:
      billing:
        image: registry.example/billing:1.4
    config:
      billing:
        default: {}
    flower:
      secret:
        name: flower-login
      ingress:
        host: flower.example.org
        class_name: nginx
  register: flower

- name: Apply it
  kubernetes.core.k8s:
    apply: true
    definition: "{{ flower.resources }}"
"""

RETURN = r"""
resources:
  description: Manifests in the order in which they are to be applied.
  returned: success
  type: list
  elements: dict
flowers:
  description: One row per Flower, ready to print.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name of its Deployment and Service.
      type: str
      sample: flower
    services:
      description: Services whose broker it listens to.
      type: list
      elements: str
      sample: [billing]
    address:
      description: Where its pages are.
      type: str
      sample: https://flower.example.org/
    login:
      description: How one gets in. The password is in the Secret that it names.
      type: str
      sample: user flower, password in Secret flower-auth, key password
generated:
  description: Secret and key of each value that is to be generated.
  returned: success
  type: list
  elements: str
  sample: ["Secret flower-auth, key password"]
problems:
  description: Everything that is wrong with the inventory, each with the path where it was written.
  returned: failure
  type: list
  elements: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.queueops.celery.plugins.module_utils._build.flower import flower_resources, flower_table
from ansible_collections.queueops.celery.plugins.module_utils._build.secrets import generated
from ansible_collections.queueops.celery.plugins.module_utils._model.observed import observed_from_data
from ansible_collections.queueops.celery.plugins.module_utils._read.module_options import fleet_options, observed_option
from ansible_collections.queueops.celery.plugins.module_utils._schema.placeholders import exit_without_placeholders
from ansible_collections.queueops.celery.plugins.module_utils.fleet import read_fleet


def main(make: Any = None) -> None:
    """Entry point.

    :param make: what makes the module, where it does not run as a program.
    """
    spec = {**fleet_options(), **observed_option(), "flower_enabled": {"type": "bool", "default": True}}
    module = (make or AnsibleModule)(argument_spec=spec, supports_check_mode=True)
    observed = observed_from_data(module.params["observed"])
    fleet = read_fleet(module, observed)
    exit_without_placeholders(
        module,
        changed=False,
        resources=flower_resources(fleet, observed),
        flowers=flower_table(fleet),
        generated=generated(fleet, observed, module.params["output"]),
    )


if __name__ == "__main__":
    main()
