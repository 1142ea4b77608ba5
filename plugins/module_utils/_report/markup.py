# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTML that cannot hold what it should not: every text is escaped, unless it was made here."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Sequence
from typing import Any

#: Elements that hold nothing, and have no end.
_EMPTY = ("input", "br")


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def tag(name: str, *content: str, **attributes: str | bool) -> Markup:
    """An element.

    :param attributes: of it; C(class_) and C(for_) for the names that Python keeps to itself, C(data_title) for
        C(data-title). True is an attribute without a value, False is none.
    """
    written = "".join(_attribute(key, value) for key, value in attributes.items() if value is not False)
    end = "" if name in _EMPTY else f"</{name}>"
    return Markup(f"<{name}{written}>{joined(*content)}{end}")


def joined(*content: str) -> Markup:
    """Texts and elements one after the other."""
    return Markup("".join(part if isinstance(part, Markup) else html.escape(part) for part in content))


def totals_table(label: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Markup:
    """A table that a phone shows as one block for each row. The first cell of a row is its head."""
    head = tag("tr", *(tag("th", name, role="columnheader", scope="col") for name in columns), role="row")
    body = [
        tag(
            "tr",
            tag("th", first, role="rowheader", scope="row"),
            *(tag("td", cell, role="cell", data_name=name) for name, cell in zip(columns[1:], cells, strict=True)),
            role="row",
        )
        for first, *cells in rows
    ]
    return tag(
        "table",
        tag("thead", head, role="rowgroup"),
        tag("tbody", *body, role="rowgroup"),
        role="table",
        class_="totals",
        aria_label=label,
    )


def _attribute(key: str, value: str | bool) -> str:
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{html.escape(str(value))}"'


def embedded(data: Any) -> Markup:
    """Data for a script element: no text in it can end the element, or begin another one."""
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=True)
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))
