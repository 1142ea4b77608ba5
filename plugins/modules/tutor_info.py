#!/usr/bin/python
# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads a rendered Tutor project."""

from __future__ import annotations

DOCUMENTATION = r"""
module: tutor_info
short_description: Read a rendered Tutor environment
version_added: 1.0.0
description:
  - Reads the files that C(tutor config save) left and returns the Deployments that the site has in its cluster, with
    the ConfigMap names that C(kubectl kustomize) gives. So workers are made like them without a cluster.
  - Needs neither C(tutor) nor C(kubectl). What a kustomization asks for and this module does not do becomes a warning.
  - The files hold passwords. None of them is returned; of environment variables that show one, only the name is.
author:
  - queueops (@queueops)
extends_documentation_fragment:
  - queueops.celery._attributes
  - queueops.celery._attributes.reads
options:
  root:
    description: The Tutor project root, as C(tutor config printroot) prints it.
    type: path
    required: true
  site:
    description: Name of the site in RV(inventory). The empty default takes the host name of LMS.
    type: str
    default: ""
requirements:
  - python >= 3.11
  - PyYAML
seealso:
  - module: queueops.celery.tutor_inventory
"""

EXAMPLES = r"""
- name: Read a Tutor project
  queueops.celery.tutor_info:
    root: ~/.local/share/tutor
  register: tutor

- name: Compute workers that are like Tutor's own
  queueops.celery.worker_specs:
    preset: openedx
    namespace: "{{ tutor.namespace }}"
    observed: "{{ tutor.observed }}"
    config:
      lms:
        default:
          adopt: true
      cms:
        default:
          adopt: true
"""

RETURN = r"""
observed:
  description: What the cluster of the site will hold, as the C(*_specs) modules want it.
  returned: success
  type: dict
  contains:
    objects:
      description: The rendered Deployments.
      type: list
      elements: dict
    autoscalers:
      description: What scales them.
      type: list
      elements: dict
    namespace_exists:
      description: Always V(true), because no cluster was asked.
      type: bool
    missing_kinds:
      description: Always empty, because no cluster was asked.
      type: list
      elements: str
    hidden_kinds:
      description: Always empty here.
      type: list
      elements: str
    sources:
      description: What workers take over from each of the Deployments.
      type: list
      elements: dict
    redis_policies:
      description: What a Redis of the site does when its memory is full.
      type: dict
      sample:
        redis: allkeys-lru
    namespace:
      description: Namespace in which all of this is to run.
      type: str
    now:
      description: Always null, because no cluster was asked.
      type: str
    config_maps:
      description: Always null, because no cluster was asked.
      type: list
      elements: str
    secrets:
      description: Always null, because no cluster was asked.
      type: list
      elements: str
namespace:
  description: Namespace of the site.
  returned: success
  type: str
  sample: openedx
tutor_version:
  description: Release of Tutor that rendered the project. Empty if it does not say so.
  returned: success
  type: str
  sample: 22.0.3
inventory:
  description: The suggested inventory, path to text, as M(queueops.celery.tutor_inventory) writes it.
  returned: success
  type: dict
  sample:
    hosts.yml: "celery_fleets:\n  hosts:\n    learn.example.com:\n"
"""

from dataclasses import asdict
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.queueops.celery.plugins.module_utils._openedx.import_inventory import suggested_inventory
from ansible_collections.queueops.celery.plugins.module_utils._openedx.tutor import (
    MISSHAPEN,
    TutorError,
    misshapen,
    observed_of,
    read_project,
)
from ansible_collections.queueops.celery.plugins.module_utils._schema.documents import HAS_YAML


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "required": True},
            "site": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    if not HAS_YAML:
        module.fail_json(msg=missing_required_lib("PyYAML"))
    try:
        project = read_project(Path(module.params["root"]))
        inventory = suggested_inventory(project, module.params["site"])
        observed = asdict(observed_of(project))
    except TutorError as error:
        module.fail_json(msg=str(error))
    except MISSHAPEN as error:
        module.fail_json(msg=misshapen(module.params["root"], error))
    for warning in project.rendered.warnings:
        module.warn(warning)
    module.exit_json(
        changed=False,
        observed=observed,
        namespace=project.namespace,
        tutor_version=project.version,
        inventory=inventory,
    )


if __name__ == "__main__":
    main()
