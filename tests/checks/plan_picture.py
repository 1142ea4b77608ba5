# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Draws docs/images/plan.png: the page of `make plan`, as a real browser shows it. Needs chromium."""

from __future__ import annotations

import sys

from tests.checks import layout, plan
from tests.support.real_browser import real_browser

TARGET = layout.ROOT / "docs" / "images" / "plan.png"
WIDTH = 960


def main() -> int:
    """Simulate the sample, and take a picture down to the end of the first variant's pictures."""
    sample = layout.ROOT / "playbooks" / "inventory"
    code = plan.simulated(str(sample / "openedx"), str(sample / "openedx-load.yml"))
    if code:
        return code
    with real_browser() as browser:
        browser.open(plan.PAGE, WIDTH)
        browser.picture(
            TARGET, height=browser.value("document.querySelector('figure').getBoundingClientRect().bottom + 8")
        )
    print(f"Drew {TARGET}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
