# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs worker_info as kubernetes.core runs its modules: kubeconfig files are searched for, vaulted ones decrypted."""

from __future__ import annotations

try:
    from ansible_collections.kubernetes.core.plugins.action.k8s_info import ActionModule
except ImportError:
    # Without the collection the module itself says what is missing.
    from ansible.plugins.action.normal import ActionModule

__all__ = ["ActionModule"]
