# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What takes the place of a value that no message shows."""

from __future__ import annotations

import re

#: Stands for it.
MASK = "********"
#: A URL up to its question mark, or up to the mark of a fragment, and what follows; and the same without a scheme.
_URL_WITH_QUERY = re.compile(r"(://[^\s'\"?#]*[?#])[^\s'\"]+")
_NAMED_VALUE = re.compile(r"([?&#][\w.-]{1,64}=)[^\s'\"&]+")


def without_queries(text: str) -> str:
    """A text whose URLs have the mask in place of what comes after the question mark: any of it may be a login."""
    if "?" not in text and "#" not in text:
        return text
    return _NAMED_VALUE.sub(rf"\1{MASK}", _URL_WITH_QUERY.sub(rf"\1{MASK}", text))
