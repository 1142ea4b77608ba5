#!/usr/bin/python
# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Computes what Prometheus and Grafana need of Celery workers."""

from __future__ import annotations

DOCUMENTATION = r"""
module: monitoring_specs
short_description: Compute exporter, monitors, alerts and dashboard for Celery workers
version_added: 1.0.0
description:
  - Turns the same inventory as M(queueops.celery.worker_specs) into a ServiceMonitor or PodMonitor, a PrometheusRule
    with alerts whose thresholds are those of each variant, a Grafana dashboard, and celery-exporter. What is not
    enabled is left out.
  - What waits and what is in flight comes from KEDA, pods from kube-state-metrics, tasks from Flower.
  - A kind that RV(queueops.celery.worker_info#module:observed.missing_kinds) names is left out as well.
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
  - module: queueops.celery.flower_specs
"""

EXAMPLES = r"""
- name: Compute alerts and the dashboard
  queueops.celery.monitoring_specs:
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
  description: Manifests in the order in which they are to be applied.
  returned: success
  type: list
  elements: dict
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
from ansible_collections.queueops.celery.plugins.module_utils._build.watching import monitoring_resources
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
    monitoring = fleet.monitoring
    exit_without_placeholders(
        module,
        changed=False,
        resources=monitoring_resources(fleet, observed),
        alerts=alert_table(fleet),
        rule_groups=rule_groups(fleet, observed) if monitoring.prometheus_rule is not None else [],
        dashboard=dashboard_text(fleet) if monitoring.dashboard is not None else "",
        dashboard_file=dashboard_file(fleet),
    )


if __name__ == "__main__":
    main()
