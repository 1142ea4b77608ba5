# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that a run writes on the controller."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from ansible_collections.queueops.celery.plugins.module_utils._cluster.manifest_tree import (
    TreeError,
    abandoned,
    deployments_before,
    empty_tree,
    plan_for,
    tree_diff,
    write_tree,
)
from ansible_collections.queueops.celery.plugins.module_utils._model.observed import WORKER_KINDS

__all__ = [
    "TreeError",
    "deployment_files",
    "file_of",
    "folders_left",
    "near_path",
    "remove_file",
    "remove_files",
    "write_files",
    "write_private",
    "write_text",
]


def near_path(path: str) -> str:
    """A path as a person would type it: relative where that leads down, absolute otherwise."""
    relative = os.path.relpath(path)
    return path if relative.startswith("..") else relative


def real_path(path: str) -> str:
    """A path as the person meant it. A relative one is one of where ansible-playbook was started."""
    return os.path.realpath(os.path.expanduser(path))


def write_text(path: str, content: str, checks: bool, mode: int = 0o644) -> tuple[bool, dict[str, Any]]:
    """Write a file if it is not as it should be.

    :returns: whether it changes, and its diff.
    :raises TreeError: if it cannot be written.
    """
    target = Path(real_path(path))
    try:
        before = target.read_text(encoding="utf-8") if target.is_file() else ""
        changed = before != content or (target.stat().st_mode & 0o777) != mode
        if changed and not checks:
            target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            _replace(target, content, mode)
    except OSError as error:
        raise TreeError(f"{error.filename or target} cannot be written: {error.strerror}.") from error
    header = str(target)
    return changed, {"before_header": header, "after_header": header, "before": before, "after": content}


def remove_file(path: str, checks: bool) -> bool:
    """Remove a file.

    :returns: whether there was one.
    :raises TreeError: if it cannot be removed.
    """
    target = Path(path)
    found = target.is_file()
    try:
        if found and not checks:
            target.unlink()
    except OSError as error:
        raise TreeError(f"{target} cannot be removed: {error.strerror}.") from error
    return found


def write_private(path: str, content: str, checks: bool) -> bool:
    """The same for a file that only its owner may read; nothing of it is shown."""
    changed, _diff = write_text(path, content, checks, mode=0o600)
    return changed


def _replace(target: Path, content: str, mode: int) -> None:
    """The file appears at once and whole, and nobody else can read it before it has its mode."""
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(content)
        os.chmod(temporary, mode)
        os.replace(temporary, target)
    except OSError:
        os.unlink(temporary)
        raise


def write_files(
    folder: str,
    name: str,
    resources: list[dict[str, Any]],
    patches: list[dict[str, Any]],
    extra_files: list[str],
    wanted: bool,
    checks: bool,
) -> dict[str, Any]:
    """Bring the tree of one host into shape.

    :param wanted: whether it should be there at all.
    :returns: what the module manifest_files returns.
    :raises TreeError: if that cannot be done.
    """
    made = plan_for(Path(folder), name, resources, patches, extra_files, wanted)
    if not checks:
        try:
            write_tree(made.root, made.plan)
        except OSError as error:
            raise TreeError.of(made.root, error) from error
    return made.described()


def deployment_files(folder: str, name: str) -> list[dict[str, Any]]:
    """Deployments in the files that an earlier run wrote for a host.

    :raises TreeError: if one cannot be read.
    """
    return deployments_before(Path(folder) / name)


def file_of(worker: str, files: Mapping[str, str]) -> str:
    """The file with what starts the workers of a variant.

    :param files: kind and name of each object to its file.
    """
    return next((files[f"{kind} {worker}"] for kind in WORKER_KINDS if f"{kind} {worker}" in files), "")


def folders_left(folder: str, hosts: Collection[str]) -> list[str]:
    """Folders that earlier runs wrote for hosts that are not in the inventory any more.

    :raises TreeError: if that cannot be found out.
    """
    return [str(path) for path in abandoned(Path(folder), hosts)]


def remove_files(folder: str, checks: bool) -> list[dict[str, str]]:
    """Remove what earlier runs wrote into the folder of a host, and the folder if nothing else is in it.

    :returns: the diff.
    :raises TreeError: if that cannot be done.
    """
    root = Path(folder)
    try:
        plan = empty_tree(root)
        diff = tree_diff(root, plan)
        if not checks:
            write_tree(root, plan)
    except OSError as error:
        raise TreeError(f"{error.filename or root} cannot be removed: {error.strerror}.") from error
    return diff
