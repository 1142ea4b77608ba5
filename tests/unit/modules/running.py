# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a module in this process through its real C(main), on every supported ansible-core."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
from ansible.module_utils import basic
from ansible.utils.display import Display

from tests.unit.documented import undocumented

PACKAGE = "ansible_collections.queueops.celery.plugins.modules"
# Made here, because it does not like the streams that a module is given below.
DISPLAY = Display()


def run(name: str, /, check: bool = False, **options: Any) -> dict[str, Any]:
    """What the task would get: the result of exit_json or fail_json, with every warning that was given.

    Where the controller's code can be imported, ansible-core 2.19 and later print warnings instead of returning them.
    """
    module = importlib.import_module(f"{PACKAGE}.{name}")
    arguments = {
        **options,
        "_ansible_check_mode": check,
        "_ansible_diff": True,
        "_ansible_remote_tmp": "/tmp",
        "_ansible_keep_remote_files": False,
    }
    printed, said = io.StringIO(), io.StringIO()
    streams = contextlib.ExitStack()
    streams.enter_context(contextlib.redirect_stdout(printed))
    streams.enter_context(contextlib.redirect_stderr(said))
    with _arguments(arguments), streams, pytest.raises(SystemExit) as left:
        module.main()
    result: dict[str, Any] = json.loads(printed.getvalue())
    assert bool(left.value.code) == bool(result.get("failed"))
    if lacking := undocumented(name, result):
        pytest.fail(f"{name} returns what its documentation lacks: {', '.join(lacking)}")
    result["warnings"] = [*result.get("warnings", []), *filter(None, said.getvalue().split("[WARNING]: "))]
    return result


@contextlib.contextmanager
def _arguments(arguments: dict[str, Any]) -> Iterator[None]:
    """Hand arguments to AnsibleModule, by the way that this ansible-core has for it."""
    _forget_warnings()
    try:
        testing = importlib.import_module("ansible.module_utils.testing")
    except ImportError:  # ansible-core before 2.19
        text = json.dumps({"ANSIBLE_MODULE_ARGS": arguments}).encode()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(basic, "_ANSIBLE_ARGS", text)
            yield
    else:
        with testing.patch_module_args(arguments):
            yield


def _forget_warnings() -> None:
    """Warnings are kept per process; those of an earlier run are not this one's."""
    warnings = importlib.import_module("ansible.module_utils.common.warnings")
    for name in ("_global_warnings", "_global_deprecations"):
        clear = getattr(getattr(warnings, name, None), "clear", None)
        if clear is not None:
            clear()
    # The controller's display says each of them once.
    DISPLAY._warns.clear()
