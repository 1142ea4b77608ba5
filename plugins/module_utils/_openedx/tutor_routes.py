# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Routes in the settings of a rendered Tutor project."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field

from .kustomization import read_bytes
from .kustomize_patches import KustomizationError
from .tutor import TutorProject


@dataclass(frozen=True)
class TutorRoutes:
    """Explicit queues of a service's producers.

    :param unread: lines of its settings that change them in a way that only Python can tell.
    """

    queues: Mapping[str, str] = field(default_factory=dict)
    unread: tuple[int, ...] = ()


def routes_of(project: TutorProject, service: str) -> TutorRoutes:
    """What the rendered production settings of a service put into EXPLICIT_QUEUES."""
    try:
        text = read_bytes(project.environment, routes_file(service)).decode("utf-8", "replace")
        tree = ast.parse(text)
    except (KustomizationError, SyntaxError, ValueError):
        return TutorRoutes()
    reader = _RouteReader()
    reader.visit(tree)
    return TutorRoutes(reader.found, tuple(reader.unread))


def routes_file(service: str) -> str:
    """The settings of a service, below the rendered environment."""
    return f"apps/openedx/settings/{service}/production.py"


class _RouteReader(ast.NodeVisitor):
    """Collects the plain changes of one dict, in their order."""

    name = "EXPLICIT_QUEUES"

    def __init__(self) -> None:
        self.found: dict[str, str] = {}
        self.unread: list[int] = []

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        """What holds only where the dict is not there yet."""

    def visit_Call(self, node: ast.Call) -> None:
        """C(EXPLICIT_QUEUES.update({…}))."""
        if isinstance(node.func, ast.Attribute) and self._is_dict(node.func.value):
            self._take(node, node.args[0] if node.func.attr == "update" and len(node.args) == 1 else None)
        else:
            self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        """C(EXPLICIT_QUEUES["task"] = …), or the whole dict anew."""
        target = node.targets[0]
        if isinstance(target, ast.Subscript) and self._is_dict(target.value):
            self._take(node, ast.Dict([target.slice], [node.value]))
        elif self._is_dict(target):
            self.found.clear()
            self._take(node, node.value)
        else:
            self.generic_visit(node)

    def _is_dict(self, node: ast.AST) -> bool:
        return isinstance(node, ast.Name) and node.id == self.name

    def _take(self, node: ast.expr | ast.stmt, value: ast.expr | None) -> None:
        try:
            written = ast.literal_eval(value) if value is not None else None
        except (ValueError, TypeError):
            written = None
        if not isinstance(written, dict):
            self.unread.append(node.lineno)
            return
        for task, route in written.items():
            queue = route.get("queue") if isinstance(route, dict) else route
            if isinstance(task, str) and isinstance(queue, str):
                self.found[task] = queue
            else:
                self.unread.append(node.lineno)
