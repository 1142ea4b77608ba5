#!/usr/bin/python
# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lets running workers finish before their pods are replaced."""

from __future__ import annotations

DOCUMENTATION = r"""
module: worker_drain
short_description: Let running Celery workers finish what they run
version_added: 1.0.0
description:
  - Tells the workers of Deployments to take nothing new from any queue, and waits until they run nothing. What is sent
    meanwhile waits in its queue.
  - For pods that are about to be replaced and have too short a grace period for their tasks. The pods stay as they are,
    and with O(state=resumed) they take work again.
  - Workers are asked over Celery's remote control, with a command in one of their pods.
  - If they still run something when the time is over, they are told to take work again and the module fails.
author:
  - queueops (@queueops)
extends_documentation_fragment:
  - queueops.celery._attributes
  - queueops.celery._attributes.cluster
  - kubernetes.core.k8s_auth_options
attributes:
  check_mode:
    support: full
    details:
      - Asks what runs, and tells no worker to stop taking work.
  diff_mode:
    support: none
  idempotent:
    support: partial
    details:
      - Workers that take nothing are told so again, which changes nothing for them but counts as a change.
options:
  namespace:
    description: Namespace of the Deployments.
    type: str
    required: true
  deployments:
    description: Names of the Deployments.
    type: list
    elements: str
    required: true
  state:
    description:
      - V(drained) takes nothing new and waits for what runs.
      - V(resumed) takes work again from the queues that the command line of the Deployment names. A worker forgets that
        when it loses its connection to the broker (as of Celery 5.6) and takes nothing then, unless our own
        launcher has started it, so restart it at a quiet moment.
    type: str
    choices: [drained, resumed]
    default: drained
  wait_timeout:
    description: Longest time to wait for running tasks, in seconds.
    type: int
    default: 300
requirements:
  - python >= 3.11
  - kubernetes >= 24.2.0, != 36.0.0, != 36.0.1
  - the collection kubernetes.core >= 3.2.0
"""

EXAMPLES = r"""
- name: Let the workers of the LMS finish
  queueops.celery.worker_drain:
    namespace: openedx
    deployments: [lms-worker]
    wait_timeout: 900
"""

RETURN = r"""
idle:
  description: Deployments whose workers run nothing.
  returned: always
  type: list
  elements: str
  sample: [lms-worker]
running:
  description: Deployments whose workers run something, each with what, or with why that could not be found out.
  returned: always
  type: list
  elements: str
"""

import time
from typing import Any

from ansible_collections.queueops.celery.plugins.module_utils._celery.inquiry import Answer
from ansible_collections.queueops.celery.plugins.module_utils._cluster.asking import ask_running
from ansible_collections.queueops.celery.plugins.module_utils._cluster.connection import (
    client_of,
    cluster_module,
    connection_options,
)
from ansible_collections.queueops.celery.plugins.module_utils._cluster.lacking import advised
from ansible_collections.queueops.celery.plugins.module_utils._cluster.reading import (
    Cluster,
    ClusterError,
    open_cluster,
)
from ansible_collections.queueops.celery.plugins.module_utils._model.observed import API_VERSIONS

#: Seconds that one question waits for tasks; a longer exec might be cut by a proxy in between.
_PATIENCE = 60


def argument_spec() -> dict[str, Any]:
    """Options of the connection and of draining."""
    return {
        **connection_options(),
        "namespace": {"type": "str", "required": True},
        "deployments": {"type": "list", "elements": "str", "required": True},
        "state": {"type": "str", "choices": ["drained", "resumed"], "default": "drained"},
        "wait_timeout": {"type": "int", "default": 300},
    }


def tell(
    cluster: Cluster, names: list[str], consumes: str, timeout: float, kind: str = "Deployment"
) -> dict[str, Answer]:
    """Tell the workers of Deployments, or of ScaledJobs, whether to take work, and wait until they run nothing.

    :param consumes: as for L(Question).
    :param timeout: seconds to wait for all of them together.
    """
    end = time.monotonic() + timeout
    listed = {item["metadata"]["name"]: item for item in cluster.list_objects(kind, API_VERSIONS[kind]) or []}
    present = [name for name in names if name in listed]
    missing = {name: Answer(error=f"there is no {kind} {name} in {cluster.namespace}") for name in names}
    # All are told before anybody is waited for.
    found = {**missing, **{name: _told(cluster, listed[name], consumes, 0) for name in present}}
    for name in present:
        while found[name].running and (left := end - time.monotonic()) > 0:
            found[name] = _told(cluster, listed[name], consumes, max(1, min(_PATIENCE, round(left))))
    return found


def _told(cluster: Cluster, deployment: dict[str, Any], consumes: str, patience: int) -> Answer:
    return ask_running(cluster, deployment, cluster.pods_selected_by(deployment), consumes, patience)


def said(name: str, answer: Answer) -> str:
    """What a Deployment's workers run, ready to print."""
    what = ", ".join(answer.running or ()) if not answer.error else f"not found out: {answer.error}"
    return f"{name}: {what}"


def main() -> None:
    """Entry point."""
    module = cluster_module(argument_spec())
    params = module.params
    names = params["deployments"]
    drains = params["state"] == "drained"
    consumes = "" if module.check_mode else "pause" if drains else "resume"
    timeout = params["wait_timeout"] if drains and not module.check_mode else 0
    try:
        cluster = open_cluster(lambda: client_of(module), params["namespace"])
        found = tell(cluster, names, consumes, timeout)
        busy = [said(name, answer) for name, answer in found.items() if answer.running != ()]
        if busy and consumes == "pause":
            tell(cluster, names, "resume", 0)
    except ClusterError as error:
        module.fail_json(msg=advised(str(error)))
    outcome = {"idle": [name for name, answer in found.items() if answer.running == ()], "running": busy}
    if busy and drains and not module.check_mode:
        module.fail_json(
            msg="After {seconds} seconds these workers still run tasks, so they take work again and nothing is "
            "replaced. {busy}. Run again later, with a larger celery_workers_wait_timeout, or with "
            "celery_workers_key_change: accept, which cuts them.".format(
                seconds=params["wait_timeout"], busy="; ".join(busy)
            ),
            **outcome,
        )
    module.exit_json(changed=bool(names) and not module.check_mode, **outcome)


if __name__ == "__main__":
    main()
