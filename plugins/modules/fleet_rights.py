#!/usr/bin/python
# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of an action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_rights
short_description: Make an account with just the rights that a fleet of Celery workers needs
version_added: 1.0.0
description:
  - Reads the variables of the role P(queueops.celery.celery_workers#role) and makes a ServiceAccount, a Role and a
    RoleBinding in the namespace of the fleet, and a Role and a RoleBinding in that of KEDA where the status reads its
    metrics. The account may do what C(celery_workers_rbac_features) names, for what this inventory makes and for what
    the fleet has in the cluster, and nothing else.
  - Nothing is granted in the whole cluster.
  - C(celery_workers_rbac_kubeconfig) names a file on the controller for a kubeconfig that logs the account in. Its
    token ends by itself, and a run in the second half of its time renews it.
  - C(celery_workers_rbac_state) V(absent) takes the account away. No other task of the collection does, and the
    account itself may not.
  - Whoever runs it must hold the rights that it grants, as an administrator of the cluster does.
  - With C(celery_workers_output) V(manifests) it writes a file that an administrator applies.
  - The playbook C(queueops.celery.rbac) is made of this task. It runs on the controller, whatever machine the host is,
    and needs no connection to the host.
author:
  - queueops (@queueops)
extends_documentation_fragment:
  - queueops.celery._attributes
  - queueops.celery._attributes.changes
options: {}
requirements:
  - the collection kubernetes.core >= 3.2.0
  - kubernetes >= 24.2.0, != 36.0.0, != 36.0.1 in Ansible's own Python
"""

EXAMPLES = r"""
- name: Make an account that may deploy and look
  hosts: celery_fleets
  gather_facts: false
  tasks:
    - name: Make the account
      ansible.builtin.import_role:
        name: queueops.celery.celery_workers
        tasks_from: rbac.yml
      vars:
        celery_workers_rbac_features: [deploy, wait, status]
        celery_workers_rbac_kubeconfig: "kubeconfigs/{{ inventory_hostname }}.yml"
"""

RETURN = r"""
created:
  description: Objects and files that were created.
  returned: when nothing is wrong, and no files are written for an administrator
  type: list
  elements: str
  sample: [ServiceAccount celery-workers, Role celery-workers, RoleBinding celery-workers]
updated:
  description: Objects and files that were changed.
  returned: as RV(created)
  type: list
  elements: str
deleted:
  description: Objects and files that were taken away.
  returned: as RV(created)
  type: list
  elements: str
path:
  description: The file for an administrator.
  returned: with C(celery_workers_output=manifests), when an account is made
  type: str
rights:
  description: What the account may do, a line for each resource.
  returned: when an account is made
  type: list
  elements: str
  sample: ["list on pods in namespace shop"]
notes:
  description: What was done.
  returned: always
  type: list
  elements: str
"""
