# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""YAML as people read it: keys in the order of the object, long texts as blocks, always the same bytes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

try:
    import yaml
except ImportError:  # ansible-core needs PyYAML itself, so this is for remote interpreters only
    HAS_YAML = False
else:
    HAS_YAML = True


#: Texts that YAML 1.2 reads as numbers and PyYAML, which speaks 1.1, leaves bare: a short commit hash such as 12e45.
_NUMBER_1_2 = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|0o[0-7]+|0x[0-9a-fA-F]+")


#: Texts that every reader of YAML takes for the same text, bare. All others are left to PyYAML.
_BARE = re.compile(r"[A-Za-z/](?:[A-Za-z0-9_./=@,+-]|:(?=[A-Za-z0-9/])| (?=[A-Za-z0-9]))*")
#: Bare words that stand for something else.
_WORDS = frozenset(("y", "n", "yes", "no", "true", "false", "on", "off", "null"))

#: What YAML takes for the end of a line.
_BREAK = re.compile("[\n\x85\u2028\u2029]")
#: Longest text of a key that fits before its colon, whatever PyYAML counts to it.
_LONGEST_KEY = 100


class _BeyondLines(Exception):
    """A document that only PyYAML writes."""


def documents_of(text: str) -> list[Any]:
    """Every document of a text.

    :raises ValueError: if the text is no YAML.
    """
    try:
        return list(yaml.load_all(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
    except yaml.YAMLError:
        # The fast reader refuses some rare texts that the other one reads.
        try:
            return list(yaml.safe_load_all(text))
        except yaml.YAMLError as error:
            raise ValueError(str(error)) from error


def document_of(text: str) -> Any:
    """The one document of a text; None if there is none.

    :raises ValueError: if the text is no YAML, or holds more than one.
    """
    found = documents_of(text)
    if len(found) > 1:
        raise ValueError("more than one document")
    return found[0] if found else None


def as_yaml(value: Any) -> str:
    """One document: byte for byte what PyYAML writes, in a tenth of its time.

    PyYAML writes each text once, and the lines around it are written here: it is slow, and its fast twin in C writes
    some texts in another way.
    """
    if not isinstance(value, Mapping) or not value:
        return _dumped(value)
    lines: list[str] = []
    try:
        _write_mapping(value, "", "", lines)
    except _BeyondLines:
        return _dumped(value)
    lines.append("")
    return "\n".join(lines)


def _write_mapping(value: Mapping[Any, Any], first: str, indent: str, lines: list[str]) -> None:
    """Write entries, each on a line of its own.

    :param first: what the first of them comes after, such as the dash of a list.
    """
    for key, item in value.items():
        name = _written(str(key))
        if not key or len(name) > _LONGEST_KEY or _BREAK.search(str(key)):
            raise _BeyondLines
        if isinstance(item, Mapping) and item:
            lines.append(f"{first}{name}:")
            _write_mapping(item, f"{indent}  ", f"{indent}  ", lines)
        elif isinstance(item, (list, tuple)) and item:
            lines.append(f"{first}{name}:")
            _write_list(item, indent, indent, lines)
        else:
            lines.append(f"{first}{name}: {_leaf(item, indent)}")
        first = indent


def _write_list(value: Iterable[Any], first: str, indent: str, lines: list[str]) -> None:
    for item in value:
        if isinstance(item, Mapping) and item:
            _write_mapping(item, f"{first}- ", f"{indent}  ", lines)
        elif isinstance(item, (list, tuple)) and item:
            _write_list(item, f"{first}- ", f"{indent}  ", lines)
        else:
            lines.append(f"{first}- {_leaf(item, indent)}")
        first = indent


def _leaf(value: Any, indent: str) -> str:
    """A value without parts, as it is written after its key or dash."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, Mapping):
        return "{}"
    if isinstance(value, (list, tuple)):
        return "[]"
    text = _written_number(float(value)) if isinstance(value, float) else _written(str(value))
    # Lines of a block are indented below what holds it; empty ones are not.
    return text if "\n" not in text else re.sub(r"\n(?=[^\n])", f"\n{indent}", text)


@lru_cache(maxsize=4096)
def _written(text: str) -> str:
    """A text as PyYAML writes it into a list."""
    if _BARE.fullmatch(text) and text.lower() not in _WORDS:
        return text
    return _as_item(text)


@lru_cache(maxsize=256)
def _written_number(number: float) -> str:
    return _as_item(number)


def _as_item(value: Any) -> str:
    written = _dumped([value])
    if not written.startswith("- ") or written.startswith("- |+") or written.startswith(("- |2+", "- |1+")):
        # Empty lines at the end of a document need a mark behind it.
        raise _BeyondLines
    return written[2:-1]


def _dumped(value: Any) -> str:
    return str(
        yaml.dump(
            _plain(value),
            Dumper=_dumper(),
            sort_keys=False,
            default_flow_style=False,
            allow_unicode=True,
            # A folded text is another one to a reader, to grep and to a patch.
            width=float("inf"),
        )
    )


@lru_cache(maxsize=1)
def _dumper() -> Any:
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
    return Dumper


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
