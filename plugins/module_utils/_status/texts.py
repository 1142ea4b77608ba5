# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What servers say, as it may be shown."""

from __future__ import annotations

import re

from .._schema.secret_signs import without_secret_values

#: The insides of a selector, as the HPA prints them.
_SELECTOR = re.compile(r"\(&LabelSelector\{.*?\}\)")
_LONGEST = 300


def printable(text: str) -> str:
    """A text without control characters, which names of Redis lists have."""
    return "".join(sign if sign.isprintable() else "·" for sign in text)


def cleaned(text: str) -> str:
    """What a server says, in one line, without what looks like a secret and without the insides of a selector."""
    shown = printable(" ".join(_SELECTOR.sub("", without_secret_values(text)).split()))
    return shown if len(shown) <= _LONGEST else f"{shown[: _LONGEST - 3]}..."
