# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs have done to a fleet, as its ConfigMap keeps it: the newest first, and never more than fits."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, Field, asdict, dataclass, fields, is_dataclass, replace
from typing import Any

from .fleet import Fleet

#: Key of the ConfigMap.
KEY = "history.json"
#: Names that a record keeps of each kind of change; the number of all is kept beside them.
_MOST_NAMES = 20
#: Bytes of all records together. A ConfigMap takes a megabyte, and is read with every status.
LONGEST = 60_000
#: What a run was that brings the fleet to what the inventory says, or takes it away.
DEPLOY, REMOVE = "deploy", "remove"
_CHANGES = ("created", "changed", "removed")
#: Fields that say where something was written, and those that follow from others.
_NOT_WRITTEN = (
    *("path", "written", "written_keys", "origins", "sizing", "warnings"),
    *("args", "slots", "held", "sees_in_flight", "blind_reason", "unacked"),
)


@dataclass(frozen=True)
class Changes:
    """Objects that a run has created, changed or removed.

    :param names: the first of them, by kind and name.
    """

    count: int = 0
    names: tuple[str, ...] = ()

    @classmethod
    def of(cls, names: Iterable[str]) -> Changes:
        """All of them in short."""
        listed = list(dict.fromkeys(names))
        return cls(len(listed), tuple(listed[:_MOST_NAMES]))


@dataclass(frozen=True)
class Record:
    """One run that has changed something.

    :param time: when it began, in UTC.
    :param what: its playbook.
    :param by: who ran it, as Ansible knows it.
    :param collection: version of this collection.
    :param inventory: fingerprint of the inventory.
    :param failed: why it failed, in one line; empty if it did not.
    """

    time: str
    what: str
    by: str = ""
    collection: str = ""
    inventory: str = ""
    created: Changes = Changes()
    changed: Changes = Changes()
    removed: Changes = Changes()
    failed: str = ""

    @property
    def counts(self) -> str:
        """How much it changed, in words."""
        words = (("created", self.created), ("changed", self.changed), ("removed", self.removed))
        return ", ".join(f"{done.count} {word}" for word, done in words if done.count) or "nothing changed"

    @property
    def data(self) -> dict[str, Any]:
        """Itself as JSON holds it."""
        return asdict(self)

    @property
    def without_names(self) -> Record:
        """The same with numbers only."""
        short = {name: Changes(getattr(self, name).count) for name in _CHANGES}
        return replace(self, **short)  # type: ignore[arg-type]  # its texts stay


def with_record(text: str, record: Record, most: int) -> str:
    """The history with one more run.

    :param text: what is kept so far.
    :param most: records that are kept.
    """
    kept = [record, *records_from(text)][:most]
    lines = [_line(item) for item in kept]
    size = sum(map(_bytes, lines))
    for place in reversed(range(len(kept))):
        # The oldest lose their names first, and then go.
        if size > LONGEST:
            size -= _bytes(lines[place])
            lines[place] = _line(kept[place].without_names)
            size += _bytes(lines[place])
    while size > LONGEST:
        size -= _bytes(lines.pop())
    listed = ",\n".join(lines)
    return f"[\n{listed}\n]\n"


def _line(record: Record) -> str:
    """One record a line, so that people can read the list with kubectl."""
    return json.dumps(record.data)


def _bytes(line: str) -> int:
    """What it takes, with what is between two lines."""
    return len(line) + 4


def records_from(text: str) -> tuple[Record, ...]:
    """The records of a history, without what is none: anybody may have written there."""
    try:
        found = json.loads(text or "[]")
    except ValueError:
        return ()
    return tuple(map(record_from, filter(_is_record, found if isinstance(found, list) else ())))


def _is_record(data: Any) -> bool:
    return isinstance(data, Mapping) and isinstance(data.get("time"), str) and isinstance(data.get("what"), str)


def record_from(data: Mapping[str, Any]) -> Record:
    """The counterpart of C(Record.data)."""
    texts = {item.name: str(data.get(item.name) or "") for item in fields(Record) if item.name not in _CHANGES}
    created, changed, removed = (_changes_from(data.get(name)) for name in _CHANGES)
    return Record(**texts, created=created, changed=changed, removed=removed)


def _changes_from(data: Any) -> Changes:
    if not isinstance(data, Mapping) or not isinstance(data.get("count"), int):
        return Changes()
    names = data.get("names")
    return Changes(data["count"], tuple(map(str, names)) if isinstance(names, list) else ())


def last_deploy(records: Iterable[Record]) -> Record | None:
    """The newest run that has brought the inventory to the cluster."""
    return next((record for record in records if record.what == DEPLOY), None)


def fingerprint(fleet: Fleet) -> str:
    """A hash of what an inventory means, whatever file says it. No secret value is in a fleet, so none goes into it."""
    return hashlib.sha256(_canonical(fleet).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _canonical(value: Any) -> str:
    """The same text for the same value. What has its default is left out, also to be quick with a thousand variants."""
    if isinstance(value, (str, int, float)) or value is None:
        return repr(value)
    if isinstance(value, Mapping):
        return f"{{{','.join(sorted(f'{name!r}:{_canonical(item)}' for name, item in value.items()))}}}"
    if isinstance(value, (list, tuple)):
        texts = list(map(_canonical, value))
        # The order of variants and the like has no meaning. That of words and numbers may have one.
        return f"[{','.join(sorted(texts) if value and is_dataclass(value[0]) else texts)}]"
    if isinstance(value, (set, frozenset)):
        return f"[{','.join(sorted(map(_canonical, value)))}]"
    if not is_dataclass(value):
        return str(value)
    kind: Any = type(value)
    parts = []
    for name, default in _defaults(kind):
        item = getattr(value, name)
        if item is not default and item != default:
            parts.append(f"{name}={_canonical(item)}")
    return f"({','.join(parts)})"


@functools.cache
def _defaults(kind: Any) -> tuple[tuple[str, Any], ...]:
    """Fields of a dataclass that the fingerprint is made of, with their defaults."""
    own = [item for item in fields(kind) if item.compare and item.name not in _NOT_WRITTEN]
    return tuple((item.name, _default_of(item)) for item in own)


def _default_of(item: Field[Any]) -> Any:
    return item.default if item.default_factory is MISSING else item.default_factory()
