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
  - Gives what M(queueops.celery.worker_specs) and M(queueops.celery.keda_specs) give, and routes, Flower, the exporter,
    monitors, alerts and the dashboard. The role sends the same.
  - Checks the whole inventory first and reports every problem in one message. Computes only.
author:
  - queueops (@queueops)
extends_documentation_fragment:
  - queueops.celery._attributes
  - queueops.celery._attributes.pure
  - queueops.celery._fleet
  - queueops.celery._fleet.observed
  - queueops.celery._fleet.routing
options:
  transport_options:
    description:
      - Service to kombu transport options that its settings get over those that it has, for workers whose command line
        is not made by this collection. Adopted workers get their keys without it.
      - For O(routing_delivery) V(tutor_plugin) and V(settings_overlay).
    type: dict
    default: {}
requirements:
  - python >= 3.11
seealso:
  - module: queueops.celery.worker_specs
  - module: queueops.celery.keda_specs
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

- name: Compute a Tutor plugin with the recommended routes of Open edX
  queueops.celery.fleet_specs:
    namespace: openedx
    preset: openedx
    openedx_routing: recommended
    services:
      lms:
        image: docker.io/overhangio/openedx:22.0.3
      cms:
        image: docker.io/overhangio/openedx:22.0.3
    routing_delivery: tutor_plugin
    redis_policy: volatile-lru
  register: openedx

- name: Write it where Tutor looks for plugins
  ansible.builtin.copy:
    content: "{{ openedx.tutor_plugin }}"
    dest: "{{ ansible_env.HOME }}/.local/share/tutor-plugins/queueops_celery.py"
    mode: "0644"

- name: Compute a fleet with alerts and a dashboard
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
          alerts:
            failure_ratio: 0.05
    prometheus_rule_enabled: true
    prometheus_rule:
      labels:
        release: prometheus
    dashboard_enabled: true
  register: monitoring

- name: Apply them
  kubernetes.core.k8s:
    apply: true
    definition: "{{ monitoring.resources }}"

- name: Keep the dashboard as a file for an import by hand
  ansible.builtin.copy:
    content: "{{ monitoring.dashboard }}"
    dest: celery-dashboard.json
    mode: "0644"
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
  description: One row per route, ready to print.
  returned: success
  type: list
  elements: dict
  contains:
    task:
      description: Full name of the task.
      type: str
      sample: billing.tasks.monthly_report
    queue:
      description: Queue that it is sent to.
      type: str
      sample: reports
    producer:
      description: Service that sends it, whose settings decide.
      type: str
      sample: billing
    loaded_by:
      description:
        - V(entry) of the routing table, C(setting NAME) where the code of the task names its queue itself, or
          V(upstream default) where nothing has to be delivered.
      type: str
      sample: entry
    reason:
      description: Why the preset recommends it. Empty for routes of the inventory.
      type: str
      sample: large archives
tutor_plugin:
  description: Text of the file C(queueops_celery.py). Empty unless O(routing_delivery) is V(tutor_plugin).
  returned: success
  type: str
  sample: "from tutor import hooks"
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
alerts:
  description: One row per alert, ready to print.
  returned: success
  type: list
  elements: dict
  contains:
    alert:
      description: Name of the alert.
      type: str
      sample: CeleryWorkWithoutWorkers
    severity:
      description: Its severity.
      type: str
      sample: critical
    for:
      description: Time that it must last.
      type: str
      sample: 5m
    service:
      description: Name of the service.
      type: str
      sample: billing
    variant:
      description: Name of the variant.
      type: str
      sample: default
rule_groups:
  description:
    - The same as groups of rules, for a Prometheus without the operator.
    - Empty unless O(prometheus_rule_enabled).
  returned: success
  type: list
  elements: dict
dashboard:
  description: JSON of the dashboard, as Grafana imports it. Empty unless O(dashboard_enabled).
  returned: success
  type: str
dashboard_file:
  description: Where it is to be written; empty unless the dashboard is delivered as a file.
  returned: success
  type: str
  sample: dashboards/shop.json
problems:
  description: Everything that is wrong with the inventory, each with the path where it was written.
  returned: failure
  type: list
  elements: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.queueops.celery.plugins.module_utils._build.alerts import alert_table, rule_groups
from ansible_collections.queueops.celery.plugins.module_utils._build.dashboards import dashboard_file, dashboard_text
from ansible_collections.queueops.celery.plugins.module_utils._build.flower import flower_table
from ansible_collections.queueops.celery.plugins.module_utils._build.routing import (
    RoutingOptions,
    routing_table,
    routing_warnings,
    tutor_plugin,
)
from ansible_collections.queueops.celery.plugins.module_utils._build.scalers import scaler_table
from ansible_collections.queueops.celery.plugins.module_utils._build.secret_table import secret_table
from ansible_collections.queueops.celery.plugins.module_utils._build.secrets import generated, secret_names
from ansible_collections.queueops.celery.plugins.module_utils._build.workers import (
    handovers,
    worker_table,
)
from ansible_collections.queueops.celery.plugins.module_utils._celery.adoption import adoptions, unseen_adoptions
from ansible_collections.queueops.celery.plugins.module_utils._model.fleet import Fleet
from ansible_collections.queueops.celery.plugins.module_utils._model.observed import Observed, observed_from_data
from ansible_collections.queueops.celery.plugins.module_utils._plan.described import all_resources
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
    spec = {
        **fleet_options(),
        **observed_option(),
        **routing_options(),
        "transport_options": {"type": "dict", "default": {}},
    }
    module = (make or AnsibleModule)(argument_spec=spec, supports_check_mode=True)
    params = module.params
    observed = observed_from_data(params["observed"])
    fleet = read_fleet(module, observed)
    options = RoutingOptions(params["redis_policy"], params["disable_hpa"], params["transport_options"])
    on_openedx = params["preset"] == "openedx"
    warnings = (*fleet.warnings, *unseen_adoptions(fleet, observed))
    for warning in (*warnings, *routing_warnings(fleet, params["openedx_release"], on_openedx)):
        module.warn(warning)
    resources = all_resources(fleet, observed, module.check_mode)
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
        tutor_plugin=tutor_plugin(fleet, options) if fleet.routing_delivery == "tutor_plugin" else "",
        flowers=flower_table(fleet),
        generated=generated(fleet, observed, params["output"]),
        **watched(fleet, observed),
    )


def watched(fleet: Fleet, observed: Observed) -> dict[str, Any]:
    """Alerts and the dashboard, where they are wanted."""
    wanted = fleet.monitoring
    return {
        "alerts": alert_table(fleet),
        "rule_groups": rule_groups(fleet, observed) if wanted.prometheus_rule is not None else [],
        "dashboard": dashboard_text(fleet) if wanted.dashboard is not None else "",
        "dashboard_file": dashboard_file(fleet),
    }


if __name__ == "__main__":
    main()
