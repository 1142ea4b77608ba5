#!/usr/bin/python
# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of an action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_scale
short_description: Pause, drain, resume and boost Celery workers
version_added: 1.0.0
description:
  - Reads the variables of the role P(queueops.celery.celery_workers#role) and pauses KEDA's scaling of variants, or
    resumes it, by annotations of their ScaledObjects, or gives them a floor for some time, or lets their workers take
    nothing new. It changes nothing else.
  - C(celery_workers_only) chooses services and variants. Without it the whole fleet is meant.
  - The playbooks C(queueops.celery.pause), C(queueops.celery.drain), C(queueops.celery.resume) and
    C(queueops.celery.boost) are made of this task.
  - Runs on the controller, whatever machine the host is. It needs no connection to the host.
author:
  - queueops (@queueops)
extends_documentation_fragment:
  - queueops.celery._attributes
  - queueops.celery._attributes.changes
options:
  state:
    description:
      - V(paused) stops scaling as C(celery_workers_pause_direction) and C(celery_workers_pause_replicas) say. Deploys
        keep the pause until C(celery_workers_pause_until).
      - V(drained) tells the workers to take nothing from any queue, pauses their scalers, and waits for
        C(celery_workers_drain_timeout) seconds until they run nothing. They are told over Celery's remote control,
        with a command in one of their pods. Deploys keep it so.
      - V(resumed) lets KEDA scale again, whoever paused it, and lets workers that are drained take work again.
      - V(boosted) gives a floor of C(celery_workers_boost_min) pods until C(celery_workers_boost_until).
    type: str
    required: true
    choices: [paused, drained, resumed, boosted]
requirements:
  - the collection kubernetes.core >= 3.2.0
  - kubernetes >= 24.2.0, != 36.0.0, != 36.0.1 in Ansible's own Python
"""

EXAMPLES = r"""
- name: Stop the scale-down while a release is rolled out
  hosts: celery_fleets
  gather_facts: false
  tasks:
    - name: Pause
      ansible.builtin.import_role:
        name: queueops.celery.celery_workers
        tasks_from: pause.yml
      vars:
        celery_workers_pause_direction: scale_in
        celery_workers_pause_until: 2h
        celery_workers_pause_reason: release 42
"""

RETURN = r"""
updated:
  description: ScaledObjects and Deployments that were changed.
  returned: when nothing is wrong
  type: list
  elements: str
  sample: [ScaledObject lms-worker-high-scaledobject]
created:
  description: Always empty. Nothing is made.
  returned: when nothing is wrong
  type: list
  elements: str
deleted:
  description: Always empty. Nothing is taken away.
  returned: when nothing is wrong
  type: list
  elements: str
failed_objects:
  description: Objects that the API refused, each with the first cause.
  returned: when nothing is wrong
  type: list
  elements: str
summary:
  description: All of it in one line.
  returned: when nothing is wrong
  type: str
  sample: 1 changed
waited:
  description: Seconds that the run has waited for what it sent.
  returned: when nothing is wrong
  type: int
problems:
  description: What stops the run.
  returned: when there are any
  type: list
  elements: str
unchanged:
  description: ScaledObjects that were as they should be already.
  returned: when nothing is wrong
  type: list
  elements: str
notes:
  description: What was done, a line for each variant.
  returned: always
  type: list
  elements: str
"""
