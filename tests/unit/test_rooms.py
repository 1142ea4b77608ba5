# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rooms of module_utils: data flows one way through them, and each is small enough to find one's way in."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"
ROOT = PLUGINS / "module_utils"

#: Room to the rooms that it may import from. What stands directly below module_utils is a door: it may open every room.
ROOMS: dict[str, set[str]] = {
    "_schema": set(),
    "_model": {"_schema"},
    "_celery": {"_schema", "_model"},
    "_openedx": {"_schema", "_model", "_celery"},
    "_read": {"_schema", "_model", "_celery", "_openedx"},
    "_build": {"_schema", "_model", "_celery", "_openedx"},
    "_check": {"_schema", "_model", "_celery", "_openedx", "_build"},
    "_cluster": {"_schema", "_model", "_celery"},
    "_simulation": {"_schema", "_model", "_celery", "_build", "_check"},
    "_report": {"_schema", "_model", "_simulation"},
    "_status": {"_schema", "_model", "_celery", "_build", "_cluster", "_simulation"},
    "_plan": {"_schema", "_model", "_celery", "_openedx", "_build", "_check", "_cluster"},
}
FILES = sorted(path.relative_to(ROOT) for path in ROOT.rglob("*.py"))
SOURCES = sorted(path.relative_to(PLUGINS) for path in PLUGINS.rglob("*.py"))
LONGEST_FILE, LONGEST_FUNCTION = 500, 40
#: Tables: rows of fields and panels, which are read one at a time.
TABLES = {"module_utils/_schema/kubernetes_types.py", "module_utils/_build/dashboards.py"}


@functools.cache
def nodes(path: Path) -> list[ast.AST]:
    """Everything in a file."""
    return list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


def imports(path: Path) -> Iterator[tuple[str, ...]]:
    """Room and module of every import from module_utils; a door has no room."""
    for node in nodes(ROOT / path):
        if not isinstance(node, ast.ImportFrom) or (node.module or "").startswith(
            ("ansible.", "ansible_collections.k")
        ):
            continue
        base = list(path.parent.parts)
        if node.level:
            yield (*base[: len(base) - node.level + 1], *(node.module or "").split("."))
        elif "module_utils" in (node.module or ""):
            yield tuple((node.module or "").partition("module_utils.")[2].split("."))


def test_every_room_is_one_of_those_that_the_picture_shows() -> None:
    assert {path.parts[0] for path in FILES if len(path.parts) > 1} == set(ROOMS)


@pytest.mark.parametrize("path", [path for path in FILES if len(path.parts) > 1], ids=str)
def test_a_room_imports_only_from_rooms_before_it(path: Path) -> None:
    room = path.parts[0]
    assert {target[0] for target in imports(path)} <= {room, *ROOMS[room]}


def test_no_circle_is_among_the_rooms() -> None:
    order: list[str] = []
    while len(order) < len(ROOMS):
        free = [room for room, needs in ROOMS.items() if room not in order and needs <= set(order)]
        assert free, set(ROOMS) - set(order)
        order += free


def test_nothing_in_the_rooms_reads_a_clock_or_draws_by_lot_but_what_says_so() -> None:
    """What is planned from the same input is the same, byte for byte."""
    allowed = {"_build/secrets.py", "_cluster/asking.py", "_cluster/reading.py"}
    # Chance that comes from a seed is none.
    seeded = {f"_simulation/{name}.py" for name in ("loads", "plan_ahead", "pods", "simulate", "workers")}
    found = set()
    # Programs run in containers.
    for path in (path for path in FILES if "programs" not in path.parts):
        for node in nodes(ROOT / path):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if set(names) & {"random", "secrets", "time", "uuid"} - (
                {"random"} if path.as_posix() in seeded else set()
            ):
                found.add(path.as_posix())
    assert found <= allowed


@pytest.mark.parametrize("path", [path for path in FILES if path.parts[0] == "_simulation"], ids=str)
def test_a_simulation_draws_only_from_its_seed(path: Path) -> None:
    used = {
        node.attr
        for node in nodes(ROOT / path)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "random"
    }
    unseeded = [
        node
        for node in nodes(ROOT / path)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "random.Random" and not node.args
    ]
    assert used <= {"Random"}
    assert not unseeded


def lengths(path: Path) -> dict[str, int]:
    """Lines of each function that has more than 40."""
    functions = [node for node in nodes(PLUGINS / path) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    found = {node.name: (node.end_lineno or node.lineno) - node.lineno + 1 for node in functions}
    return {name: lines for name, lines in found.items() if lines > LONGEST_FUNCTION}


@pytest.mark.parametrize("path", [path for path in SOURCES if path.as_posix() not in TABLES], ids=str)
def test_a_file_can_be_read_in_one_sitting(path: Path) -> None:
    assert len((PLUGINS / path).read_text(encoding="utf-8").splitlines()) <= LONGEST_FILE
    assert not lengths(path)


@pytest.mark.parametrize("path", sorted(TABLES))
def test_what_counts_as_a_table_needs_to(path: str) -> None:
    lines = len((PLUGINS / path).read_text(encoding="utf-8").splitlines())
    assert lines > LONGEST_FILE or lengths(Path(path))
