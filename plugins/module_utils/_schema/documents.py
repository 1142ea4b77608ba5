# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""YAML as people read it: keys in the order of the object, long texts as blocks, always the same bytes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

try:
    import yaml
except ImportError:  # ansible-core needs PyYAML itself, so this is for remote interpreters only
    HAS_YAML = False
else:
    HAS_YAML = True


#: Texts that YAML 1.2 reads as numbers and PyYAML, which speaks 1.1, leaves bare: a short commit hash such as 12e45.
_NUMBER_1_2 = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|0o[0-7]+|0x[0-9a-fA-F]+")


#: Columns after which a line would be folded: a folded text is another one to a reader, to grep and to a patch.
_NEVER = 10**9


def documents_of(text: str) -> list[Any]:
    """Every document of a text.

    :raises ValueError: if the text is no YAML.
    """
    try:
        return list(yaml.safe_load_all(text))
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def as_yaml(value: Any) -> str:
    """One document."""

    class Dumper(yaml.SafeDumper):
        """Nothing is aliased, and texts of several lines are written as such."""

        def ignore_aliases(self, data: Any) -> bool:
            """Anchors save bytes and cost readers."""
            return True

    def text(dumper: Any, data: str) -> Any:
        """Lines as lines."""
        style = "|" if "\n" in data else "'" if _NUMBER_1_2.fullmatch(data) else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", data, style=style)

    Dumper.add_representer(str, text)
    return str(
        yaml.dump(
            _plain(value),
            Dumper=Dumper,
            sort_keys=False,
            default_flow_style=False,
            allow_unicode=True,
            width=float("inf"),
        )
    )


def _plain(value: Any) -> Any:
    """Built-in types only: Ansible hands over subclasses of text that YAML would tag."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, bool) or value is None:
        return value
    for kind in (int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return str(value)
