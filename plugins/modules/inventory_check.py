#!/usr/bin/python
# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks at the hosts of a play beside each other. The work is done by the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: inventory_check
short_description: Check the hosts of an inventory against each other
version_added: 1.0.0
description:
  - Fails where two hosts describe one fleet, which is one namespace of one cluster, or where their fleets make
    objects of the same name in one namespace. Hosts that a C(--limit) leaves out count as well, because their
    workers are there.
  - Only hosts that the play is written for count. The role calls it for each host before anything else.
  - With O(play_follows=true) it also fails where no host would run, and where several fleets would be removed at once
    without being asked for.
  - Reads variables only, and asks no cluster.
author:
  - queueops (@queueops)
extends_documentation_fragment:
  - queueops.celery._attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: N/A
    details:
      - Nothing is ever changed.
  idempotent:
    support: full
options:
  play_follows:
    description:
      - Whether this is the first play of a playbook of the collection, which runs on all hosts. The play that follows
        runs on the group C(celery_fleets), or on what C(-e celery_workers_hosts) names.
    type: bool
    default: false
  removes:
    description: Whether the play that follows removes fleets. Used with O(play_follows=true).
    type: bool
    default: false
notes:
  - It runs on the controller, and needs no connection.
"""

EXAMPLES = r"""
- name: Check the hosts against each other
  queueops.celery.inventory_check:
"""

RETURN = r"""
checked:
  description: The hosts that were checked against all others.
  returned: always
  type: list
  elements: str
"""
