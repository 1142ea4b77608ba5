# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How an action plugin loads what it works with: a run spends most of its time on that."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ansible_collections.queueops.celery.plugins.plugin_utils._bytecode import kept_code
from ansible_collections.queueops.celery.plugins.plugin_utils._collector import no_collection


@contextmanager
def loading() -> Iterator[None]:
    """Import in here what a plugin needs of this collection."""
    with no_collection(), kept_code():
        yield
