# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sends a list of objects by the code of kubernetes.core.k8s, in the controller's process.

No program starts, no argument is written into a file, and what became of each object is kept where the server goes
away in the middle. Objects of one kind are on their way together, because a server takes most of the time to store
each; those of the next kind follow once these have arrived.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from typing import Any

from ansible_collections.queueops.celery.plugins.module_utils._cluster.changes import identity
from ansible_collections.queueops.celery.plugins.plugin_utils._in_process import Ended, InProcess, Result

try:
    from ansible_collections.kubernetes.core.plugins.module_utils.apply import annotate, dict_merge
    from ansible_collections.kubernetes.core.plugins.module_utils.k8s.client import get_api_client
    from ansible_collections.kubernetes.core.plugins.module_utils.k8s.core import AnsibleK8SModule
    from ansible_collections.kubernetes.core.plugins.module_utils.k8s.exceptions import CoreException
    from ansible_collections.kubernetes.core.plugins.module_utils.k8s.runner import perform_action
    from ansible_collections.kubernetes.core.plugins.module_utils.k8s.service import (
        K8sService,
        decode_response,
        diff_objects,
        hide_fields,
    )
    from kubernetes.dynamic.exceptions import ConflictError
except ImportError:
    # The cluster is opened first, which says what is missing.
    pass

#: Objects that are on their way at the same time: with more, a server takes hardly less time for all of them.
TOGETHER = 4


#: An argument of ours: what is new is made, and never patched.
ONLY_NEW = "only_new"
_TAKEN = "Conflict: another one created it at the same time, with its own content"


@dataclass
class Sender:
    """Sends objects, and tells each failure in words.

    :param perform: kubernetes.core's own way to send one object.
    """

    perform: Callable[[Result], Result]
    gone: Result = field(default_factory=dict)

    def send(self, objects: Sequence[Result]) -> list[Result]:
        """One result per object, in their order."""
        return [result for _kind, group in groupby(objects, _kind_of) for result in self._send_kind(list(group))]

    def _send_kind(self, objects: list[Result]) -> list[Result]:
        # The first alone: with it the client learns whether the server has this kind.
        first = self._send_one(objects[0])
        with ThreadPoolExecutor(TOGETHER) as pool:
            return [first, *pool.map(self._send_one, objects[1:])]

    def _send_one(self, definition: Result) -> Result:
        """None is tried once the server has not answered any try for another."""
        if self.gone:
            return dict(self.gone)
        try:
            return dict(self.perform(definition))
        except Exception as error:  # whatever a client and its network library raise
            failed, is_gone = _failure(error)
            if is_gone:
                self.gone = failed
            return failed


def _kind_of(definition: Result) -> tuple[str, str]:
    return str(definition.get("apiVersion")), str(definition.get("kind"))


def _failure(error: Exception) -> tuple[Result, bool]:
    """The result of a failed object as kubernetes.core makes it, and whether the server has gone away.

    kubernetes.core keeps what else the server said in C(result), and the cause of a lost connection in C(reason). That
    is an exception, which no result can hold.
    """
    told: Result = dict(getattr(error, "result", None) or {})
    reason = getattr(error.__cause__ or error, "reason", None)
    if reason is not None:
        told["reason"] = str(reason)
    told["msg"] = str(error)
    return {"changed": False, "result": {}, "error": told}, isinstance(reason, Exception)


def send(arguments: Mapping[str, Any], is_check: bool, new: Collection[str]) -> Result:
    """Do with a list of objects what kubernetes.core.k8s does, and return what it returns, with differences.

    :param new: kind and name of those that the run has looked for and not found. With C(only_new) among the arguments
        one of them that is there meanwhile is left alone, and that is its fault.
    """
    only_new = bool(arguments.get(ONLY_NEW))
    arguments = {name: value for name, value in arguments.items() if name != ONLY_NEW}
    # It brings a long documentation along, and few runs send anything.
    from ansible_collections.kubernetes.core.plugins.modules.k8s import argspec

    make = partial(InProcess, "kubernetes.core.k8s", arguments, is_check, shows_diff=True)
    try:
        module = AnsibleK8SModule(module_class=make, argument_spec=argspec(), supports_check_mode=True)
        try:
            service = K8sService(get_api_client(module), module)
            results = Sender(partial(_perform, service, new, only_new)).send(module.params["resource_definition"])
        except CoreException as error:
            module.fail_from_exception(error)
        module.exit_json(changed=any(item["changed"] for item in results), result={"results": results})
    except Ended as end:
        return end.result
    except Exception as error:  # whatever a client raises before the first object
        return {"failed": True, "msg": str(error)}
    return {"failed": True, "msg": "kubernetes.core has come to no end."}


def _perform(service: Any, new: Collection[str], only_new: bool, definition: Result) -> Result:
    made = _create(service, definition) if identity(definition) in new else None
    if made is None and only_new and identity(definition) in new:
        raise CoreException(_TAKEN)
    found: Result = made or perform_action(service, definition, service.module.params)
    why = why_not_done(found)
    if why:
        raise CoreException(why)
    return found


def _create(service: Any, definition: Result) -> Result | None:
    """Create an object that is not there: one request, where kubernetes.core looks for it twice before.

    :returns: what kubernetes.core returns for it; None if it is there meanwhile.
    """
    params, metadata = service.module.params, definition["metadata"]
    resource = service.find_resource(definition["kind"], definition["apiVersion"], fail=True)
    body = dict_merge(definition, annotate(definition)) if params["apply"] else definition
    try:
        answer = service.client.create(resource, body, namespace=metadata.get("namespace"), serialize=False)
    except ConflictError:
        return None
    except Exception as error:
        raise CoreException(f"Failed to create object: {getattr(error, 'body', error)}") from error
    instance, warnings = decode_response(answer)
    _same, difference = diff_objects({}, instance, params["hidden_fields"])
    made = {"changed": True, "method": "create", "result": hide_fields(instance, params["hidden_fields"])}
    return {**made, "diff": difference, **({"warnings": warnings} if warnings else {})}


def why_not_done(found: Mapping[str, Any]) -> str:
    """Why an object is not as it was to be although kubernetes.core (6.2) tells of no failure; empty if it is."""
    if "method" not in found:
        # A patch of what is gone, which it passes over with a warning.
        return "NotFound: it was there when this run began, and is gone"
    if found["method"] == "create" and not found.get("result"):
        # It takes a 409 for success, for kinds that make others.
        return _TAKEN
    return ""
