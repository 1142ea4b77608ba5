# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs queue_info as kubernetes.core runs its modules: kubeconfig files are searched for, vaulted ones decrypted."""

from __future__ import annotations

from ansible_collections.queueops.celery.plugins.action.worker_info import ActionModule

__all__ = ["ActionModule"]
