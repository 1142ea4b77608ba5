#!/usr/bin/python
# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reports what a list task did."""

from __future__ import annotations

DOCUMENTATION = r"""
module: change_report
short_description: Show what a kubernetes.core.k8s list task changed
version_added: 1.0.0
description:
  - M(kubernetes.core.k8s) applies a list of objects in one task, but shows no diff and does not say which one failed.
  - This module turns the registered result into one diff per object and a summary, without what the server adds for
    itself and without the values of Secrets.
  - Fails if the API refused an object, naming each with the API's first cause.
author:
  - queueops (@queueops)
extends_documentation_fragment:
  - queueops.celery._attributes
  - queueops.celery._attributes.changes
attributes:
  idempotent:
    support: full
    details:
      - Reports the change of another task, and changes nothing itself.
options:
  sent:
    description: The definitions of the list task, in the same order.
    type: list
    elements: dict
    required: true
  result:
    description: The registered result of the list task, which ran with C(continue_on_error). Empty if it was skipped.
    type: dict
    default: {}
  not_sent:
    description: Definitions that a dry run could not send, because their namespace or kind does not exist yet.
    type: list
    elements: dict
    default: []
  existing:
    description:
      - Kind and name of the objects that existed before, so that created and changed ones are told apart.
      - Without it an object counts as created only if its result says so, which takes diff mode.
    type: list
    elements: str
requirements:
  - python >= 3.11
  - PyYAML
"""

EXAMPLES = r"""
- name: Apply two ConfigMaps
  kubernetes.core.k8s:
    apply: true
    continue_on_error: true
    definition: "{{ two_config_maps }}"
  register: applied

- name: Show what changed
  queueops.celery.change_report:
    sent: "{{ two_config_maps }}"
    result: "{{ applied }}"
"""

RETURN = r"""
created:
  description: Objects that were created, as kind and name.
  returned: always
  type: list
  elements: str
  sample: ["Deployment lms-worker-high"]
updated:
  description: Objects that were changed.
  returned: always
  type: list
  elements: str
deleted:
  description: Objects that were deleted.
  returned: always
  type: list
  elements: str
unchanged:
  description: Objects that needed no change.
  returned: always
  type: list
  elements: str
failed_objects:
  description: Objects that the API refused, each with the first cause.
  returned: always
  type: list
  elements: str
summary:
  description: All of it in one line.
  returned: always
  type: str
  sample: 2 created, 14 unchanged
"""

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.queueops.celery.plugins.module_utils._cluster.changes import failure_message, report
from ansible_collections.queueops.celery.plugins.module_utils._schema.documents import HAS_YAML


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "sent": {"type": "list", "elements": "dict", "required": True},
            "result": {"type": "dict", "default": {}},
            "not_sent": {"type": "list", "elements": "dict", "default": []},
            "existing": {"type": "list", "elements": "str"},
        },
        supports_check_mode=True,
    )
    if not HAS_YAML:
        module.fail_json(msg=missing_required_lib("PyYAML"))
    params = module.params
    found = report(params["sent"], params["result"], params["not_sent"], params["existing"], module._diff)
    for warning in found.warnings:
        module.warn(warning)
    outcome = {
        "changed": bool(found.created or found.changed or found.deleted),
        "created": found.created,
        "updated": found.changed,
        "deleted": found.deleted,
        "unchanged": found.unchanged,
        "failed_objects": found.failed,
        "summary": found.summary,
        "diff": found.diff,
    }
    if found.failed:
        module.fail_json(msg=failure_message(found), **outcome)
    module.exit_json(**outcome)


if __name__ == "__main__":
    main()
