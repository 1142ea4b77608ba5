#!/usr/bin/python
# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes the inventory for a Tutor project."""

from __future__ import annotations

DOCUMENTATION = r"""
module: tutor_inventory
short_description: Write the inventory for a site that Tutor runs
version_added: 1.0.0
description:
  - Reads a rendered Tutor project, with the settings of tutor-contrib-celery and tutor-contrib-pod-autoscaling, and
    writes an inventory for this collection with one host for the site. Comments say what to check.
  - A file that a person changed is never overwritten. If the project has changed since, the new suggestion is written
    beside it, as C(.new), and a warning names both.
  - No password is written. Where the site's Redis has one, the inventory refers to a variable for a vault.
author:
  - queueops (@queueops)
extends_documentation_fragment:
  - queueops.celery._attributes
  - queueops.celery._attributes.changes
options:
  root:
    description: The Tutor project root, as C(tutor config printroot) prints it.
    type: path
    required: true
  path:
    description: Folder of the inventory. It is made if it is missing. Several sites can be imported into one.
    type: path
    required: true
  site:
    description: Name of the inventory host. The empty default takes the host name of LMS.
    type: str
    default: ""
requirements:
  - python >= 3.11
  - PyYAML
seealso:
  - module: queueops.celery.tutor_info
"""

EXAMPLES = r"""
- name: Write the inventory for a Tutor project
  queueops.celery.tutor_inventory:
    root: ~/.local/share/tutor
    path: inventory
"""

RETURN = r"""
site:
  description: Name of the inventory host.
  returned: success
  type: str
  sample: learn.example.com
variables:
  description: File that holds the variables of the site, below O(path).
  returned: success
  type: str
  sample: host_vars/learn.example.com/celery.yml
written:
  description: Files that were written, or would be in check mode, below O(path).
  returned: success
  type: list
  elements: str
beside:
  description: Files that a person changed, each with the one that holds the new suggestion.
  returned: success
  type: dict
  sample:
    host_vars/learn.example.com/celery.yml: host_vars/learn.example.com/celery.yml.new
"""

from collections.abc import Iterator
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.queueops.celery.plugins.module_utils._openedx.import_inventory import (
    ImportPlan,
    import_diff,
    planned_import,
    site_name,
    variables_file,
    write_import,
)
from ansible_collections.queueops.celery.plugins.module_utils._openedx.tutor import (
    MISSHAPEN,
    TutorError,
    misshapen,
    read_project,
)
from ansible_collections.queueops.celery.plugins.module_utils._schema.documents import HAS_YAML


def _beside(folder: Path, plan: ImportPlan) -> Iterator[str]:
    """What to do with suggestions that stand beside what a person has changed."""
    for yours, new in plan.beside.items():
        yield (
            f"{folder / yours} was changed by hand, and the Tutor project has changed since its import. The new "
            f"suggestion is in {folder / new}. Take over what you need, with the line that holds its fingerprint, and "
            "delete it."
        )


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "required": True},
            "path": {"type": "path", "required": True},
            "site": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    if not HAS_YAML:
        module.fail_json(msg=missing_required_lib("PyYAML"))
    folder = Path(module.params["path"])
    try:
        project = read_project(Path(module.params["root"]))
        site = site_name(project, module.params["site"])
        plan = planned_import(folder, project, site)
        if not module.check_mode:
            write_import(folder, plan)
    except TutorError as error:
        module.fail_json(msg=str(error))
    except MISSHAPEN as error:
        module.fail_json(msg=misshapen(module.params["root"], error))
    except OSError as error:
        module.fail_json(msg=f"{error.filename or folder} cannot be written: {error.strerror}. Choose another folder.")
    for warning in [*project.rendered.warnings, *_beside(folder, plan)]:
        module.warn(warning)
    module.exit_json(
        changed=bool(plan.files),
        site=site,
        variables=variables_file(site),
        written=list(plan.files),
        beside=dict(plan.beside),
        diff=import_diff(folder, plan),
    )


if __name__ == "__main__":
    main()
