#!/usr/bin/python
# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of an action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_queues
short_description: See what the queues of a fleet hold, clean up its brokers, and look after quarantined messages
version_added: 1.0.0
description:
  - Reads the variables of the role P(queueops.celery.celery_workers#role) and surveys every broker of the fleet, with a
    command in a pod of its workers, or from this machine with C(celery_workers_ask_broker_from=controller).
  - With O(state=cleaned) it looks for what is left over, which is reply and event queues that nobody reads, bindings of
    processes that are gone, and messages that no worker will acknowledge any more. It takes the former away and gives
    the latter back to their queues if C(celery_workers_gc) is true, and shows them otherwise. No message of a task is
    ever deleted.
  - With O(state=quarantined) it shows the messages in quarantine, which C(max_starts) has put there. It gives them back
    to their queues with C(celery_workers_quarantine_do=return). It drops them with C(celery_workers_quarantine_do=drop)
    if C(celery_workers_quarantine_confirm) is true as well.
  - The playbooks C(queueops.celery.queues), C(queueops.celery.gc) and C(queueops.celery.quarantine) are made of this
    task.
  - Runs on the controller, whatever machine the host is. It needs no connection to the host.
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
options:
  state:
    description:
      - V(listed) says what each queue holds, and changes nothing.
      - V(cleaned) says what is left over, and takes it away with C(celery_workers_gc).
      - V(quarantined) says what is in quarantine, and does with it what C(celery_workers_quarantine_do) says.
    type: str
    required: true
    choices: [listed, cleaned, quarantined]
seealso:
  - module: queueops.celery.queue_info
requirements:
  - the collection kubernetes.core >= 3.2.0
  - kubernetes >= 24.2.0, != 36.0.0, != 36.0.1 in Ansible's own Python
  - redis or amqp in Ansible's own Python, with C(celery_workers_ask_broker_from=controller)
"""

EXAMPLES = r"""
- name: See what is left over in the brokers
  hosts: celery_fleets
  gather_facts: false
  tasks:
    - name: Clean up
      ansible.builtin.import_role:
        name: queueops.celery.celery_workers
        tasks_from: gc.yml
"""

RETURN = r"""
brokers:
  description: What each broker holds, as the module M(queueops.celery.queue_info) returns it.
  returned: when the cluster was read
  type: list
  elements: dict
  contains:
    broker:
      description: Address of the broker without a login.
      type: str
      sample: redis redis:6379/0
    asked:
      description: The pod that was asked.
      type: str
      sample: shop-worker-6c9d8f7b5-x2x7k
    queues:
      description: A row for each queue.
      type: list
      elements: dict
    unacked:
      description: A row for each Redis hash of unacknowledged messages.
      type: list
      elements: dict
    leaks:
      description: A row for each kind of what is left over.
      type: list
      elements: dict
    quarantine:
      description: A row for each message in quarantine. Arguments of tasks are not among it.
      returned: with O(state=quarantined)
      type: list
      elements: dict
    unread:
      description: What of it could not be read, and why.
      type: str
    error:
      description: Why it is not known.
      type: str
notes:
  description: What was found and done, a line each.
  returned: always
  type: list
  elements: str
"""
