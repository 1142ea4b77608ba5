# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sends a list of objects by the code of kubernetes.core.k8s, in the controller's process.

No program starts, no argument is written into a file, and what became of each object is kept where the server goes
away in the middle.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from ansible_collections.queueops.celery.plugins.module_utils._cluster.connection import connection_options
from ansible_collections.queueops.celery.plugins.plugin_utils._in_process import Ended, InProcess, Result

try:
    from ansible_collections.kubernetes.core.plugins.module_utils.k8s import runner
    from ansible_collections.kubernetes.core.plugins.module_utils.k8s.core import AnsibleK8SModule
    from ansible_collections.kubernetes.core.plugins.module_utils.k8s.exceptions import CoreException
except ImportError:
    # The cluster is opened first, which says what is missing.
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
    which no result can hold, so that the results of the whole list would be lost.

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


@contextmanager
def _telling() -> Iterator[None]:
    before = runner.perform_action
    runner.perform_action = Told(before)
    try:
        yield
    finally:
        runner.perform_action = before


def send(arguments: Mapping[str, Any], is_check: bool) -> Result:
    """Do with a list of objects what kubernetes.core.k8s does, and return what it returns, with differences."""
    make = partial(InProcess, "kubernetes.core.k8s", arguments, is_check, shows_diff=True)
    try:
        module = AnsibleK8SModule(module_class=make, argument_spec=argument_spec(), supports_check_mode=True)
        try:
            with _telling():
                runner.run_module(module)
        except CoreException as error:
            module.fail_from_exception(error)
    except Ended as end:
        return end.result
    except Exception as error:  # whatever a client raises before the first object
        return {"failed": True, "msg": str(error)}
    return {"failed": True, "msg": "kubernetes.core has come to no end."}
