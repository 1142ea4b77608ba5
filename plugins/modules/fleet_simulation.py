#!/usr/bin/python
# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of an action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_simulation
short_description: Simulate how the fleet of a host scales over its loads
version_added: 1.0.0
description:
  - Reads the variables of the role P(queueops.celery.celery_workers#role) and plays the ScaledObjects that it would
    send over C(celery_workers_loads), task by task.
  - The playbook C(queueops.celery.plan) is made of this task.
  - Reads no cluster and changes nothing, but for the file that C(celery_workers_plan_report) names. Runs on the
    controller, whatever machine the host is.
author:
  - queueops (@queueops)
extends_documentation_fragment:
  - queueops.celery._attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options: {}
seealso:
  - module: queueops.celery.scaling_plan
"""

EXAMPLES = r"""
- name: Simulate a fleet
  hosts: celery_fleets
  gather_facts: false
  tasks:
    - name: Simulate it
      ansible.builtin.import_role:
        name: queueops.celery.celery_workers
        tasks_from: simulate.yml
"""

RETURN = r"""
plans:
  description: One row for each variant that has a load, as the module M(queueops.celery.scaling_plan) returns it.
  returned: success
  type: list
  elements: dict
notes:
  description: The same for people, a line each.
  returned: always
  type: list
  elements: str
report:
  description: The page for a browser.
  returned: if C(celery_workers_plan_report) names one, and something was simulated
  type: str
  sample: /home/me/plan.html
"""
