#!/usr/bin/python
# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Computes everything of a fleet at once."""

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_specs
short_description: Compute everything that a fleet of Celery workers needs
version_added: 1.0.0
description:
  - Gives what M(queueops.celery.routing_specs), M(queueops.celery.worker_specs), M(queueops.celery.keda_specs),
    M(queueops.celery.flower_specs) and M(queueops.celery.monitoring_specs) give, in the time that one of them takes.
    The role calls it.
  - Checks the whole inventory first and reports every problem in one message. Computes only.
author:
  - queueops (@queueops)
extends_documentation_fragment:
  - queueops.celery._attributes
  - queueops.celery._attributes.pure
  - queueops.celery._fleet
  - queueops.celery._fleet.observed
  - queueops.celery._fleet.routing
requirements:
  - python >= 3.11
seealso:
  - module: queueops.celery.worker_specs
  - module: queueops.celery.keda_specs
  - module: queueops.celery.routing_specs
  - module: queueops.celery.flower_specs
  - module: queueops.celery.monitoring_specs
"""

EXAMPLES = r"""
- name: Compute a fleet with Flower
  queueops.celery.fleet_specs:
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
    flower_enabled: true
    flower:
      secret:
        name: flower-login
  register: shop

- name: Apply it
  kubernetes.core.k8s:
    apply: true
    definition: "{{ shop.resources }}"
"""

RETURN = r"""
resources:
  description: Manifests of everything that is wanted, in the order in which they are to be applied.
  returned: success
  type: list
  elements: dict
handovers:
  description: The same as RV(queueops.celery.worker_specs#module:handovers).
  returned: success
  type: list
  elements: dict
adoptions:
  description: The same as RV(queueops.celery.worker_specs#module:adoptions).
  returned: success
  type: list
  elements: dict
workers:
  description: The same as RV(queueops.celery.worker_specs#module:workers).
  returned: success
  type: list
  elements: dict
secrets:
  description: The same as RV(queueops.celery.worker_specs#module:secrets).
  returned: success
  type: list
  elements: str
secret_uses:
  description: One row per Secret that the fleet reads, with RV(secret_uses[].secret), RV(secret_uses[].keys),
    RV(secret_uses[].used_by) and who makes it. Without any value.
  returned: success
  type: list
  elements: dict
  contains:
    secret:
      description: Name of the Secret.
      type: str
      returned: always
    keys:
      description: Its keys that are read, V(all) where it is read as a whole.
      type: list
      elements: str
      returned: always
    used_by:
      description: Kind and name of the objects that read it.
      type: list
      elements: str
      returned: always
    made_by:
      description: V(the role), or V(you) for a Secret that must exist already.
      type: str
      returned: always
scalers:
  description: The same as RV(queueops.celery.keda_specs#module:scalers).
  returned: success
  type: list
  elements: dict
routes:
  description: The same as RV(queueops.celery.routing_specs#module:routes).
  returned: success
  type: list
  elements: dict
tutor_plugin:
  description: The same as RV(queueops.celery.routing_specs#module:tutor_plugin).
  returned: success
  type: str
flowers:
  description: The same as RV(queueops.celery.flower_specs#module:flowers).
  returned: success
  type: list
  elements: dict
generated:
  description: The same as RV(queueops.celery.flower_specs#module:generated).
  returned: success
  type: list
  elements: str
alerts:
  description: The same as RV(queueops.celery.monitoring_specs#module:alerts).
  returned: success
  type: list
  elements: dict
dashboard:
  description: The same as RV(queueops.celery.monitoring_specs#module:dashboard), where it is delivered as a file.
  returned: success
  type: str
dashboard_file:
  description: The same as RV(queueops.celery.monitoring_specs#module:dashboard_file).
  returned: success
  type: str
problems:
  description: Everything that is wrong with the inventory, each with the path where it was written.
  returned: failure
  type: list
  elements: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.queueops.celery.plugins.module_utils._build.alerts import alert_table
from ansible_collections.queueops.celery.plugins.module_utils._build.dashboards import dashboard_file, dashboard_text
from ansible_collections.queueops.celery.plugins.module_utils._build.flower import flower_table
from ansible_collections.queueops.celery.plugins.module_utils._build.routing import (
    RoutingOptions,
    routing_resources,
    routing_table,
    routing_warnings,
    tutor_plugin,
)
from ansible_collections.queueops.celery.plugins.module_utils._build.scalers import scaler_resources, scaler_table
from ansible_collections.queueops.celery.plugins.module_utils._build.secret_table import secret_table
from ansible_collections.queueops.celery.plugins.module_utils._build.secrets import generated, secret_names
from ansible_collections.queueops.celery.plugins.module_utils._build.watching import watching_resources
from ansible_collections.queueops.celery.plugins.module_utils._build.workers import (
    handovers,
    worker_resources,
    worker_table,
)
from ansible_collections.queueops.celery.plugins.module_utils._celery.adoption import adoptions, unseen_adoptions
from ansible_collections.queueops.celery.plugins.module_utils._model.observed import observed_from_data
from ansible_collections.queueops.celery.plugins.module_utils._read.module_options import (
    fleet_options,
    observed_option,
    routing_options,
)
from ansible_collections.queueops.celery.plugins.module_utils._schema.placeholders import exit_without_placeholders
from ansible_collections.queueops.celery.plugins.module_utils.fleet import read_fleet


def main(make: Any = None) -> None:
    """Entry point.

    :param make: what makes the module, where it does not run as a program.
    """
    spec = {**fleet_options(), **observed_option(), **routing_options()}
    module = (make or AnsibleModule)(argument_spec=spec, supports_check_mode=True)
    params = module.params
    observed = observed_from_data(params["observed"])
    fleet = read_fleet(module, observed)
    on_openedx = params["preset"] == "openedx"
    warnings = (*fleet.warnings, *unseen_adoptions(fleet, observed))
    for warning in (*warnings, *routing_warnings(fleet, params["openedx_release"], on_openedx)):
        module.warn(warning)
    options, delivers = RoutingOptions(params["redis_policy"], params["disable_hpa"]), fleet.routing_delivery
    resources = [
        *routing_resources(fleet),
        *worker_resources(fleet, observed, module.check_mode),
        *scaler_resources(fleet, observed),
        *watching_resources(fleet, observed),
    ]
    exit_without_placeholders(
        module,
        changed=False,
        resources=resources,
        secret_uses=secret_table(resources, secret_names(fleet)),
        handovers=handovers(fleet, observed),
        adoptions=adoptions(fleet, observed),
        workers=worker_table(fleet, observed),
        secrets=secret_names(fleet),
        scalers=scaler_table(fleet),
        routes=routing_table(fleet),
        tutor_plugin=tutor_plugin(fleet, options) if delivers == "tutor_plugin" else "",
        flowers=flower_table(fleet),
        generated=generated(fleet, observed, module.params["output"]),
        alerts=alert_table(fleet),
        dashboard=dashboard_text(fleet) if dashboard_file(fleet) else "",
        dashboard_file=dashboard_file(fleet),
    )


if __name__ == "__main__":
    main()
