# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What modules that read a cluster have in common: kubernetes.core's options, module and client."""

from __future__ import annotations

import copy
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

try:
    from ansible_collections.kubernetes.core.plugins.module_utils.apply import merge
    from ansible_collections.kubernetes.core.plugins.module_utils.args_common import AUTH_ARG_SPEC
    from ansible_collections.kubernetes.core.plugins.module_utils.k8s.client import get_api_client
    from ansible_collections.kubernetes.core.plugins.module_utils.k8s.core import AnsibleK8SModule
except ImportError:
    HAS_KUBERNETES_CORE = False
    AUTH_ARG_SPEC = {}
else:
    HAS_KUBERNETES_CORE = True


def connection_options() -> dict[str, Any]:
    """Argument spec of the connection; its documentation is the fragment kubernetes.core.k8s_auth_options."""
    return copy.deepcopy(AUTH_ARG_SPEC)


def cluster_module(options: dict[str, Any]) -> Any:
    """A module that can connect. It fails where the collection kubernetes.core is missing."""
    if not HAS_KUBERNETES_CORE:
        module = AnsibleModule(argument_spec=options, supports_check_mode=True)
        module.fail_json(msg=missing_required_lib("the collection kubernetes.core", reason="to read a cluster"))
    return AnsibleK8SModule(module_class=AnsibleModule, argument_spec=options, supports_check_mode=True)


def client_of(module: Any) -> Any:
    """kubernetes.core's client for the connection that a module's options describe."""
    return get_api_client(module)


def merge_of() -> Any:
    """kubernetes.core's three-way merge of last applied, wanted and live."""
    return merge
