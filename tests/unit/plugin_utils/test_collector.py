# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Python's garbage collector is as it was once a plugin has been loaded, and once its work is done, well or not."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress

import pytest
from ansible_collections.queueops.celery.plugins.plugin_utils._collector import no_collection, rare_collection


def state() -> tuple[bool, tuple[int, int, int]]:
    """Whether the collector is on, and how often it looks."""
    return gc.isenabled(), gc.get_threshold()


@pytest.fixture
def as_python_has_it() -> Iterator[None]:
    """The collector as it is in a run; these tests have another one."""
    before = gc.get_threshold()
    gc.set_threshold(700, 10, 10)
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


@pytest.mark.usefixtures("as_python_has_it")
@pytest.mark.parametrize("meanwhile", [no_collection, rare_collection])
def test_the_collector_is_afterwards_as_it_was(meanwhile: Callable[[], AbstractContextManager[None]]) -> None:
    before = state()
    with suppress(KeyError), meanwhile():
        assert state() != before
        raise KeyError
    assert state() == before
