# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How hypothesis works here: the same examples on every run, no database of earlier ones, and no limit of time for one.

How long an example takes says how busy the machine is. Python looks seldom for what can be thrown away: thousands of
tests stay until the end.
"""

from __future__ import annotations

import gc

from hypothesis import HealthCheck, settings

from tests.support.thorough import examples

gc.set_threshold(100_000, 50, 50)

settings.register_profile(
    "fixed",
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=examples(120),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)
settings.load_profile("fixed")
