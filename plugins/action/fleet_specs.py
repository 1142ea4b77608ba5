# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs fleet_specs in the controller's process where it is called there."""

from __future__ import annotations

from ansible_collections.queueops.celery.plugins.plugin_utils._loading import loading

with loading():
    from ansible_collections.queueops.celery.plugins.modules.fleet_specs import main
    from ansible_collections.queueops.celery.plugins.plugin_utils._in_process import HereOrThere


class ActionModule(HereOrThere):
    """Runs fleet_specs."""

    compute = staticmethod(main)
