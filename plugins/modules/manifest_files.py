#!/usr/bin/python
# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes manifests as a tree of files."""

from __future__ import annotations

DOCUMENTATION = r"""
module: manifest_files
short_description: Write manifests as a tree of files with a kustomization
version_added: 1.0.0
description:
  - Writes one file per object below O(path)C(/)O(name), in a folder per service, and a C(kustomization.yaml) that lists
    them.
  - Keeps an index of the files that are its own. Files of an earlier run that nothing asks for any more are removed.
    A file that stands in the way and that is not in the index stops the run.
  - Each host has a tree of its own, so many hosts can be written at the same time.
author:
  - queueops (@queueops)
extends_documentation_fragment:
  - queueops.celery._attributes
  - queueops.celery._attributes.changes
options:
  path:
    description: Folder that holds the trees of all hosts. It is made if it is missing.
    type: path
    required: true
  name:
    description: Name of this tree, usually the inventory hostname.
    type: str
    required: true
  resources:
    description: Manifests to write. Secrets are refused, because they do not belong beside the rest.
    type: list
    elements: dict
    required: true
  state:
    description: V(absent) removes the tree's own files.
    type: str
    default: present
    choices: [present, absent]
  patches:
    description:
      - Strategic merge patches of objects that others make. They are written below C(patches) and stand in no
        kustomization.
    type: list
    elements: dict
    default: []
  extra_files:
    description: Names of files in the tree that another task writes. The kustomization and the index list them.
    type: list
    elements: str
    default: []
requirements:
  - python >= 3.11
  - PyYAML
"""

EXAMPLES = r"""
- name: Compute a worker group
  queueops.celery.worker_specs:
    namespace: shop
    services:
      billing:
        image: registry.example/billing:1.4
    config:
      billing:
        default: {}
  register: workers

- name: Write it as files
  queueops.celery.manifest_files:
    path: manifests
    name: "{{ inventory_hostname }}"
    resources: "{{ workers.resources }}"
"""

RETURN = r"""
path:
  description: Folder of the tree.
  returned: success
  type: str
  sample: manifests/shop
files:
  description: File of each object, by kind and name.
  returned: success
  type: dict
  sample:
    Deployment billing-worker: billing/deployment-billing-worker.yaml
written:
  description: Files that were written, or would be in check mode.
  returned: success
  type: list
  elements: str
removed:
  description: Files that were removed, or would be in check mode.
  returned: success
  type: list
  elements: str
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.queueops.celery.plugins.module_utils._cluster.manifest_tree import (
    TreeError,
    plan_for,
    write_tree,
)
from ansible_collections.queueops.celery.plugins.module_utils._schema.documents import HAS_YAML
from ansible_collections.queueops.celery.plugins.module_utils._schema.placeholders import refuse_placeholders


def _name_of(item: dict[str, Any]) -> str:
    metadata = item.get("metadata")
    return str(metadata.get("name") or "") if isinstance(metadata, dict) else ""


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "name": {"type": "str", "required": True},
            "resources": {"type": "list", "elements": "dict", "required": True},
            "state": {"type": "str", "default": "present", "choices": ["present", "absent"]},
            "patches": {"type": "list", "elements": "dict", "default": []},
            "extra_files": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    if not HAS_YAML:
        module.fail_json(msg=missing_required_lib("PyYAML"))
    resources = module.params["resources"]
    if any(item.get("kind") == "Secret" for item in resources):
        module.fail_json(
            msg="resources holds a Secret; write Secrets with a task of their own that has no_log and mode 0600."
        )
    nameless = [n for n, item in enumerate(resources) if not item.get("kind") or not _name_of(item)]
    if nameless:
        module.fail_json(msg=f"resources[{nameless[0]}] is no Kubernetes object; it needs kind and metadata.name.")
    refuse_placeholders(module, resources=resources, patches=module.params["patches"])
    wanted = module.params["state"] == "present"
    beside = (module.params["patches"], module.params["extra_files"])
    try:
        tree = plan_for(Path(module.params["path"]), module.params["name"], resources, *beside, wanted)
    except TreeError as error:
        module.fail_json(msg=str(error))
    if not module.check_mode:
        try:
            write_tree(tree.root, tree.plan)
        except OSError as error:
            module.fail_json(msg=str(TreeError.of(tree.root, error)))
    module.exit_json(**tree.described())


if __name__ == "__main__":
    main()
