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
    type:
      description: Kind of the broker.
      type: str
      sample: redis
    asked:
      description: The pod that was asked.
      type: str
      sample: shop-worker-6c9d8f7b5-x2x7k
    queues:
      description: A row for each queue.
      type: list
      elements: dict
      contains:
        name:
          description: Name of the queue.
          type: str
          sample: default
        waiting:
          description: Messages that wait.
          type: int
          sample: 12
        by_priority:
          description: Messages that wait by priority step. Empty on RabbitMQ, which does not tell.
          type: dict
          sample: {"0": 10, "3": 2, "6": 0, "9": 0}
        unacked:
          description: Messages that were delivered and are not acknowledged. RabbitMQ tells it by its management API.
          type: int
          sample: 3
        held_for_eta:
          description: Unacknowledged messages whose ETA has not come. On RabbitMQ only pods tell, and only if every
            consumer answers.
          type: int
          sample: 1
        consumers:
          description: Consumers. On Redis the workers that answer over remote control, which only pods tell.
          type: int
          sample: 2
        workers:
          description: Nodes that consume it and answer. Null where none was asked.
          type: list
          elements: str
          sample: [shop.default@shop-worker-6c9d8f7b5-x2x7k]
        oldest_waiting_seconds:
          description: Seconds since the next message was sent. Only where messages have a timestamp, which Celery does
            not give them by itself.
          type: int
          sample: 90
        oldest_unacked_seconds:
          description: Seconds since the oldest unacknowledged message was delivered. Redis only.
          type: int
          sample: 30
    unacked:
      description: A row for each Redis hash of unacknowledged messages.
      type: list
      elements: dict
      contains:
        key:
          description: Name of the hash.
          type: str
          sample: unacked:shop.shop.default
        messages:
          description: Messages in it.
          type: int
          sample: 3
        oldest_seconds:
          description: Seconds since the oldest of them was delivered.
          type: int
          sample: 30
        in_use:
          description: Whether some worker uses it. Null where that is not known.
          type: bool
          sample: true
        stranded:
          description: Messages of it that no worker will acknowledge or give back, by queue.
          type: dict
          sample: {}
        stranded_without_queue:
          description: Such messages whose queue cannot be told.
          type: int
          sample: 0
        given_back:
          description: Messages that were given back to their queue, by queue.
          type: dict
          sample: {}
    leaks:
      description: A row for each kind of what is left over.
      type: list
      elements: dict
      contains:
        kind:
          description:
            - V(reply_queue), V(node_queue) or V(event_queue) for queues of remote control and of events that nobody
              reads; V(reply_binding), V(node_binding) or V(event_binding) for bindings in Redis of processes that are
              gone.
          type: str
          sample: reply_binding
        count:
          description: How many there are.
          type: int
          sample: 41
        messages:
          description: Messages in them.
          type: int
          sample: 0
        names:
          description: The first three.
          type: list
          elements: str
          sample: [0b7d6c0e-8c0b-3a8e-9d2c-3f6f7d0f1a11.reply.celery.pidbox]
        removed:
          description: Always 0, because this module changes nothing.
          type: int
          sample: 0
    quarantine:
      description: A row for each message in quarantine. Arguments of tasks are not among it.
      returned: with O(state=quarantined)
      type: list
      elements: dict
      contains:
        queue:
          description: The quarantine.
          type: str
          sample: default.quarantine
        origin:
          description: The queue that the message came from.
          type: str
          sample: default
        id:
          description: Id of the task.
          type: str
          sample: 7e9f6c3a-1f0e-4c55-9d5e-0c6a4f7d2b11
        task:
          description: Its name.
          type: str
          sample: shop.report
        starts:
          description: How often it was started. Null where the message does not say so.
          type: int
          sample: 3
        since:
          description: When it was put there. Null where the message does not say so.
          type: str
          sample: '2026-11-30T09:12:44Z'
        node:
          description: The worker that put it there. Null where the message does not say so.
          type: str
          sample: shop.default@shop-worker-6c9d8f7b5-x2x7k
        done:
          description: Whether it was given back or dropped.
          type: bool
          sample: false
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
