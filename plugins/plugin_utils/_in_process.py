# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Modules that only compute run in the process of the controller where they are called there.

On another machine, as another user and with another interpreter they run as modules do.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NoReturn

from ansible.errors import AnsibleError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.common.parameters import remove_values
from ansible.module_utils.errors import UnsupportedError
from ansible.plugins.action.normal import ActionModule as AsModule
from ansible_collections.queueops.celery.plugins.plugin_utils._collector import rare_collection
from ansible_collections.queueops.celery.plugins.plugin_utils._host_variables import plain

Result = dict[str, Any]


class Ended(Exception):
    """A module has come to its end with a result; nothing of it runs after that."""

    def __init__(self, result: Result) -> None:
        super().__init__()
        self.result = result


class InProcess:
    """As much of an AnsibleModule as a module needs that runs in the controller's process.

    :param name: of the module.
    :param arguments: of the task, as plain data.
    :param is_check: whether the task runs in check mode.
    :param shows_diff: whether the result holds what a change changes.
    :raises Ended: where an AnsibleModule would end at its arguments.
    """

    def __init__(
        self,
        name: str,
        arguments: Mapping[str, Any],
        is_check: bool,
        argument_spec: Mapping[str, Any],
        supports_check_mode: bool = False,
        shows_diff: bool = False,
    ) -> None:
        self._name = name
        self.check_mode = is_check
        self._diff = shows_diff
        self._warnings: list[str] = []
        found = ArgumentSpecValidator(dict(argument_spec)).validate(dict(arguments))
        self.params: dict[str, Any] = found.validated_parameters
        # Values of options that have no_log; no public name leads to them.
        self._hidden = found._no_log_values
        if found.error_messages:
            is_unsupported = isinstance(found.errors[0], UnsupportedError)
            prefix = f"Unsupported parameters for ({name}) module: " if is_unsupported else ""
            self.fail_json(msg=f"{prefix}{found.errors.msg}")
        if is_check and not supports_check_mode:
            self.exit_json(skipped=True, msg=f"remote module ({name}) does not support check mode")

    def warn(self, warning: str) -> None:
        """Show a warning with the result."""
        self._warnings.append(warning)

    def debug(self, message: str) -> None:
        """What a module writes into the log of its machine; there is none here."""

    def exit_json(self, **result: Any) -> NoReturn:
        """End with a result, which becomes plain data on its way as that of a module does."""
        found = remove_values(json.loads(json.dumps(result)), self._hidden)
        if self._warnings:
            found["warnings"] = list(dict.fromkeys(self._warnings))
        raise Ended(found)

    def fail_json(self, msg: str, **result: Any) -> NoReturn:
        """End with a message."""
        self.exit_json(failed=True, msg=msg, **result)


class HereOrThere(AsModule):  # type: ignore[misc]  # ansible-core has no types
    """Runs a module that only computes."""

    #: Entry point of the module; takes what makes an AnsibleModule.
    compute: Callable[[Callable[..., Any]], None]

    @rare_collection()
    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> Result:
        """Compute here, or let the module do it where it has to."""
        variables = task_vars or {}
        if not self._is_here(variables):
            result: Result = super().run(tmp, variables)
            return result
        make = partial(InProcess, self._task.action, plain(self._task.args), bool(self._task.check_mode))
        try:
            self.compute(make)
        except Ended as end:
            return end.result
        raise AnsibleError(f"{self._task.action} has come to no end.")

    def _is_here(self, variables: Mapping[str, Any]) -> bool:
        """Whether the module would run on this machine, as this user and in this Python."""
        connection, target = self._connection, self._task.delegate_to
        if connection.transport != "local" or connection.become or self._task.async_val:
            return False
        if target:
            variables = (variables.get("ansible_delegated_vars") or {}).get(target) or {}
        return bool(self._templar.template(variables.get("ansible_python_interpreter")) == sys.executable)
