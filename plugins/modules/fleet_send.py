#!/usr/bin/python
# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sends a list of objects as kubernetes.core.k8s does, and keeps what became of each when the server goes away."""

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_send
short_description: Send a list of objects, and say of each what became of it
version_added: 1.0.0
description:
  - Does with a list of objects what M(kubernetes.core.k8s) does with O(continue_on_error=true), by the code of that
    collection. The role sends everything with it.
  - When the API server goes away in the middle, M(kubernetes.core.k8s) loses the results of the whole list. This module
    keeps them, so that a run can say what was written.
author:
  - queueops (@queueops)
extends_documentation_fragment:
  - queueops.celery._attributes
  - kubernetes.core.k8s_auth_options
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  resource_definition:
    description: Objects, in the order in which they are sent.
    type: list
    elements: dict
    required: true
    aliases: [definition]
  state:
    description: As for M(kubernetes.core.k8s).
    type: str
    default: present
    choices: [present, absent, patched]
  apply:
    description: Keep what was sent in an annotation, and merge by it.
    type: bool
    default: false
  merge_type:
    description: How a patch is merged.
    type: list
    elements: str
    choices: [merge, strategic-merge]
  hidden_fields:
    description: Fields that are left out of the results.
    type: list
    elements: str
  delete_options:
    description: Options of a removal, such as C(propagationPolicy).
    type: dict
    suboptions:
      propagationPolicy:
        description: What happens to objects that belong to one that is removed.
        type: str
        choices: [Foreground, Background, Orphan]
  continue_on_error:
    description: Whether the objects after one that was refused are sent as well.
    type: bool
    default: false
  wait:
    description: Wait until a removed object is gone.
    type: bool
    default: false
  wait_sleep:
    description: Seconds between two looks.
    type: int
    default: 5
  wait_timeout:
    description: Longest time to wait, in seconds.
    type: int
    default: 120
requirements:
  - the collection kubernetes.core >= 3.2.0
  - kubernetes >= 24.2.0, != 36.0.0, != 36.0.1
"""

EXAMPLES = r"""
- name: Send a list of objects
  queueops.celery.fleet_send:
    definition: "{{ celery_fleet.manifests }}"
    apply: true
    continue_on_error: true
"""

RETURN = r"""
result:
  description: The object, or C(results) with C(changed), C(method), C(result), C(diff) and C(error) of each.
  returned: always
  type: dict
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.queueops.celery.plugins.module_utils._cluster.connection import (
    cluster_module,
    connection_options,
)

try:
    from ansible_collections.kubernetes.core.plugins.module_utils.k8s import runner
    from ansible_collections.kubernetes.core.plugins.module_utils.k8s.exceptions import CoreException
except ImportError:
    # cluster_module says what is missing.
    pass

Perform = Callable[..., dict[str, Any]]


def argument_spec() -> dict[str, Any]:
    """Options of the connection, and those of kubernetes.core.k8s that a list needs."""
    return {
        **connection_options(),
        "resource_definition": {"type": "list", "elements": "dict", "required": True, "aliases": ["definition"]},
        "state": {"type": "str", "default": "present", "choices": ["present", "absent", "patched"]},
        "apply": {"type": "bool", "default": False},
        "merge_type": {"type": "list", "elements": "str", "choices": ["merge", "strategic-merge"]},
        "hidden_fields": {"type": "list", "elements": "str"},
        "delete_options": {
            "type": "dict",
            "options": {"propagationPolicy": {"type": "str", "choices": ["Foreground", "Background", "Orphan"]}},
        },
        "continue_on_error": {"type": "bool", "default": False},
        "wait": {"type": "bool", "default": False},
        "wait_sleep": {"type": "int", "default": 5},
        "wait_timeout": {"type": "int", "default": 120},
    }


class Told:
    """Sends one object after the other, and tells each failure in words.

    kubernetes.core puts the cause of a failure into its result. Where the server is away the cause is an exception,
    which no result can hold, so that Ansible would throw away those of the whole list.

    :param perform: kubernetes.core's own way to send one object.
    """

    def __init__(self, perform: Perform) -> None:
        self.perform = perform
        self.gone: Exception | None = None

    def __call__(self, *arguments: Any) -> dict[str, Any]:
        """Send one object; none is tried once the server has not answered any try for another."""
        if self.gone is not None:
            raise self.gone
        try:
            return self.perform(*arguments)
        except Exception as error:  # whatever a client and its network library raise
            cause = error.__cause__ or error
            if isinstance(getattr(cause, "reason", None), Exception):
                cause.reason = str(cause.reason)  # type: ignore[attr-defined]  # it was just found there
                self.gone = error
            raise


def main() -> None:
    """Entry point."""
    module = cluster_module(argument_spec())
    runner.perform_action = Told(runner.perform_action)
    try:
        runner.run_module(module)
    except CoreException as error:
        module.fail_from_exception(error)


if __name__ == "__main__":
    main()
