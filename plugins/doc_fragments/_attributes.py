# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of what modules support."""

from __future__ import annotations


class ModuleDocFragment:
    """One wording for all modules."""

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in check mode and predict changes without making them.
  diff_mode:
    description: Returns details on what has changed or would change, in diff mode.
  idempotent:
    description: When run twice in a row outside check mode with the same arguments, the second run changes nothing.
"""

    PURE = r"""
options: {}
attributes:
  check_mode:
    support: full
    details:
      - Computes only, so nothing is ever changed.
  diff_mode:
    support: N/A
    details:
      - Computes only, so nothing is ever changed.
  idempotent:
    support: full
    details:
      - The same input gives the same output, byte for byte.
"""

    READS = r"""
options: {}
attributes:
  check_mode:
    support: full
    details:
      - Reads only, so nothing is ever changed.
  diff_mode:
    support: N/A
    details:
      - Reads only, so nothing is ever changed.
  idempotent:
    support: full
"""

    CHANGES = r"""
options: {}
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
"""

    CLUSTER = r"""
options: {}
attributes:
  action_group:
    description: Use C(group/queueops.celery.cluster) in C(module_defaults) to set the connection once.
    support: full
    membership:
      - queueops.celery.cluster
"""
