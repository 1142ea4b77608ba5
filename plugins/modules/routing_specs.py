#!/usr/bin/python
# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Computes what producers load so that tasks reach their queues."""

from __future__ import annotations

DOCUMENTATION = r"""
module: routing_specs
short_description: Compute what producers load so that tasks reach their queues
version_added: 1.0.0
description:
  - Turns O(explicit_queues), and for Open edX O(openedx_routing), into what the processes that send tasks must load.
    A queue is chosen where a task is sent, so a change of the workers alone changes nothing.
  - O(routing_delivery) says in which form. Whatever it is, every producer must restart with it.
  - Refuses routes to queues whose workers do not know the task, because they would throw its messages away.
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
"""

EXAMPLES = r"""
- name: Compute the routes of one producer
  queueops.celery.routing_specs:
    namespace: shop
    broker:
      host: redis
    services:
      billing:
        image: registry.example/billing:1.4
    config:
      billing:
        default: {}
        reports: {}
    explicit_queues:
      billing:
        billing.tasks.monthly_report:
          queue: reports
    routing_delivery: task_routes
  register: routing

- name: Apply them, for producers to mount at /etc/celery/routes
  kubernetes.core.k8s:
    apply: true
    definition: "{{ routing.resources }}"

- name: Compute a Tutor plugin with the recommended routes of Open edX
  queueops.celery.routing_specs:
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
"""

RETURN = r"""
resources:
  description: ConfigMaps to apply, one for each service that sends something elsewhere. Empty for a Tutor plugin.
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
problems:
  description: Everything that is wrong with the inventory, each with the path where it was written.
  returned: failure
  type: list
  elements: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.queueops.celery.plugins.module_utils._build.routing import (
    RoutingOptions,
    routing_resources,
    routing_table,
    routing_warnings,
    tutor_plugin,
)
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
    own = {**routing_options(), "transport_options": {"type": "dict", "default": {}}}
    module = (make or AnsibleModule)(
        argument_spec={**fleet_options(), **observed_option(), **own}, supports_check_mode=True
    )
    params = module.params
    # The warnings of the inventory are those of worker_specs; nobody wants to read them twice.
    fleet = read_fleet(module, observed_from_data(params["observed"]))
    for warning in routing_warnings(fleet, params["openedx_release"], params["preset"] == "openedx"):
        module.warn(warning)
    options = RoutingOptions(params["redis_policy"], params["disable_hpa"], params["transport_options"])
    delivery = fleet.routing_delivery
    exit_without_placeholders(
        module,
        changed=False,
        resources=routing_resources(fleet),
        routes=routing_table(fleet),
        tutor_plugin=tutor_plugin(fleet, options) if delivery == "tutor_plugin" else "",
    )


if __name__ == "__main__":
    main()
