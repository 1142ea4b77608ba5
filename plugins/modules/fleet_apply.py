#!/usr/bin/python
# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of an action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_apply
short_description: Plan the fleet of a host and bring it into its state
version_added: 1.0.0
description:
  - Reads the variables of the role P(queueops.celery.celery_workers#role), checks them, compares what should run with
    what does, and sends only what differs through M(kubernetes.core.k8s). The role is made of this task alone.
  - Runs on the controller, whatever machine the host is. It needs no connection to the host.
  - Secret values are neither arguments nor results.
author:
  - queueops (@queueops)
extends_documentation_fragment:
  - queueops.celery._attributes
  - queueops.celery._attributes.changes
options:
  only_verify:
    description: Ask the running workers what is in force, and do nothing else.
    type: bool
    default: false
  only_report:
    description: Say what the runs of this play have done on all hosts, and do nothing else. It is the role's last task.
    type: bool
    default: false
  only_status:
    description: Read how the fleet of the host is, and do nothing else. The playbook C(status) is made of it.
    type: bool
    default: false
  only_status_page:
    description: Show how the fleets of all hosts of the play are, as O(only_status=true) has read them.
    type: bool
    default: false
requirements:
  - the collection kubernetes.core >= 3.2.0, to work on a cluster
  - kubernetes >= 24.2.0, != 36.0.0, != 36.0.1 in Ansible's own Python, to work on a cluster
"""

EXAMPLES = r"""
- name: Bring the fleet of each host into its state
  hosts: celery_fleets
  gather_facts: false
  roles:
    - queueops.celery.celery_workers
"""

RETURN = r"""
fleet:
  description: The workers as a table.
  returned: with the tag plan or apply
  type: list
  elements: str
scaling:
  description: The scalers, as lines of a table.
  returned: when a plan was made, and anything is scaled
  type: list
  elements: str
sizing:
  description: Numbers that follow from what is known of tasks, a line each.
  returned: when a plan was made, and there are any
  type: list
  elements: str
secret_uses:
  description: Secrets with those who read them, as lines of a table. Without any value.
  returned: when a plan was made, and there are any
  type: list
  elements: str
make_sure:
  description: What to check in the app.
  returned: when workers may go to zero, and are not asked
  type: list
  elements: str
routes:
  description: Tasks and their queues, as lines of a table.
  returned: when there are routes
  type: list
  elements: str
routing:
  description: How those who send tasks get the routes.
  returned: when there are routes
  type: list
  elements: str
flowers:
  description: The Flowers, as lines of a table.
  returned: when there are any
  type: list
  elements: str
generated:
  description: Passwords that are generated, each with where it is kept. Without any value.
  returned: when there are any
  type: list
  elements: str
alerts:
  description: The alerts, as lines of a table.
  returned: when there are any
  type: list
  elements: str
waited:
  description: Seconds that the run has waited for what it sent.
  returned: when something could be sent
  type: int
answers:
  description: What the asked workers said, as lines of a table.
  returned: when workers were asked
  type: list
  elements: str
asked:
  description: The workers that were asked.
  returned: when workers were asked
  type: list
  elements: dict
  contains:
    deployment:
      description: Name of the Deployment or ScaledJob.
      type: str
    pod:
      description: The pod that was asked.
      type: str
    tasks:
      description: Tasks that its worker knows.
      type: int
    early_tasks:
      description: Tasks that are acknowledged before they run, although the variant is acknowledged late.
      type: list
      elements: str
not_asked:
  description: Deployments and ScaledJobs without a ready pod.
  returned: when workers were asked
  type: list
  elements: str
placed:
  description: The file of each variant, as lines of a table.
  returned: with celery_workers_output=manifests
  type: list
  elements: str
path:
  description: The folder of the files.
  returned: with celery_workers_output=manifests
  type: str
files:
  description: The file of each object, by its kind and name.
  returned: with celery_workers_output=manifests
  type: dict
written:
  description: Files that were written.
  returned: with celery_workers_output=manifests
  type: list
  elements: str
removed:
  description: Files that were removed.
  returned: with celery_workers_output=manifests
  type: list
  elements: str
created:
  description: Objects that were created, or would be in check mode.
  returned: when something could be sent
  type: list
  elements: str
updated:
  description: Objects that were changed.
  returned: when something could be sent
  type: list
  elements: str
deleted:
  description: Objects that were removed.
  returned: when something could be sent
  type: list
  elements: str
unchanged:
  description: Objects that needed no change.
  returned: when something could be sent
  type: list
  elements: str
failed_objects:
  description: Objects that the API refused, each with the first cause.
  returned: when something could be sent
  type: list
  elements: str
summary:
  description: All of it in one line.
  returned: when something could be sent
  type: str
  sample: 2 created, 14 unchanged
problems:
  description: What stops the run.
  returned: when there are any
  type: list
  elements: str
notes:
  description: What is to be known or done beside the run.
  returned: always
  type: list
  elements: str
explained:
  description: Where each number comes from.
  returned: with celery_workers_explain
  type: list
  elements: str
in_step:
  description: Whether the hosts of the play wait for each other after every task.
  returned: where they do not
  type: bool
hosts:
  description: What was done on each host, or how its fleet is.
  returned: with O(only_report=true) or O(only_status_page=true), to callbacks that programs read
  type: list
  elements: dict
status:
  description: How the fleet is, as M(queueops.celery.fleet_status) returns it.
  returned: with O(only_status=true), to callbacks that programs read
  type: dict
status_file:
  description: The file that the status of all hosts was written to.
  returned: with O(only_status_page=true) and celery_workers_status_file
  type: str
report_files:
  description: Files that the report was written to.
  returned: with O(only_report=true), after the last host
  type: list
  elements: str
"""
