# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A tree of manifest files for one host, and what must happen on disk to get there."""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .._model.names import SERVICE_LABEL
from .._schema.documents import as_yaml, documents_of

#: Names the files of a tree that are ours, so that files of others are never touched.
INDEX = ".celery-manifests.json"
KUSTOMIZATION = "kustomization.yaml"
#: Folder of the patches of objects that others make.
PATCHES = "patches"
#: Names that a folder of a host can have.
_HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")


class TreeError(Exception):
    """A tree cannot be written; the text says why and what to do."""

    @classmethod
    def of(cls, root: Path, error: OSError) -> TreeError:
        """What the file system refused."""
        return cls(f"{error.filename or root} cannot be written: {error.strerror}. Choose another folder.")


class OutsideError(TreeError):
    """A file would leave its tree."""


@dataclass(frozen=True)
class TreePlan:
    """What writing a tree would do.

    :param files: content of every file, by its path below the tree.
    :param before: content of those files that exist.
    :param stale: files of an earlier run that nothing asks for any more.
    :param foreign: files that stand where ours should and that no earlier run wrote.
    """

    files: dict[str, str]
    before: dict[str, str] = field(default_factory=dict)
    stale: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()

    @property
    def changed(self) -> list[str]:
        """Files to write."""
        return [name for name, content in self.files.items() if self.before.get(name) != content]


def file_name(manifest: Mapping[str, Any]) -> str:
    """Path of a manifest below its tree: C(lms/deployment-lms-worker.yaml)."""
    metadata = manifest["metadata"]
    folder = (metadata.get("labels") or {}).get(SERVICE_LABEL, "")
    name = f"{manifest['kind'].lower()}-{metadata['name']}.yaml"
    return f"{folder}/{name}" if folder else name


def plan_tree(
    root: Path,
    manifests: Iterable[Mapping[str, Any]],
    extra_files: Iterable[str] = (),
    patches: Iterable[Mapping[str, Any]] = (),
) -> TreePlan:
    """Compare what a tree should hold with what it holds.

    :param patches: of objects that somebody else makes; they are in no kustomization, which has no such object.
    :param extra_files: files below the root that somebody else writes and that belong to it.
    """
    files = {file_name(manifest): as_yaml(manifest) for manifest in manifests}
    beside = {f"{PATCHES}/{file_name(patch)}": as_yaml(patch) for patch in patches}
    files |= beside
    outside = sorted(set(files) - _inside(root, files))
    if outside:
        raise OutsideError(f"{', '.join(outside)} would be written outside of {root}; check its labels and links.")
    extra = sorted(extra_files)
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [*(name for name in files if name not in beside), *extra],
    }
    files[KUSTOMIZATION] = as_yaml(kustomization)
    files[INDEX] = f"{json.dumps({'files': sorted([*files, *extra])}, indent=2)}\n"
    known = _indexed(root)
    before = {name: content for name in files if (content := _content(root / name)) is not None}
    return TreePlan(
        files=files,
        before=before,
        stale=tuple(
            sorted(name for name in known if name not in files and name not in extra and (root / name).is_file())
        ),
        foreign=tuple(sorted(name for name in before if name not in known and name != INDEX)),
    )


@dataclass(frozen=True)
class HostTree:
    """The tree of one host.

    :param files: file of each object, by kind and name.
    :param diff: one entry a file that changes or goes.
    """

    root: Path
    plan: TreePlan
    files: dict[str, str]
    diff: list[dict[str, str]]

    def described(self) -> dict[str, Any]:
        """What a module returns of it."""
        return {
            "changed": bool(self.plan.changed or self.plan.stale),
            "path": str(self.root),
            "files": self.files,
            "written": [name for name in self.plan.changed if name != INDEX],
            "removed": list(self.plan.stale),
            "diff": self.diff,
        }


def host_name(name: str) -> str:
    """The name of a host, as part of a path.

    :raises TreeError: if it cannot be one.
    """
    if not _HOST.fullmatch(name):
        raise TreeError(f"{name!r} is no folder name; write letters, digits, '.', '-' and '_'.")
    return name


def plan_for(
    folder: Path,
    name: str,
    resources: list[dict[str, Any]],
    patches: Iterable[Mapping[str, Any]] = (),
    extra_files: Iterable[str] = (),
    wanted: bool = True,
) -> HostTree:
    """What writing the tree of one host would do.

    :param name: of the host, below the folder.
    :param wanted: whether the tree should be there at all.
    :raises TreeError: if it cannot be written.
    """
    root = folder / host_name(name)
    try:
        plan = plan_tree(root, resources, extra_files, patches) if wanted else empty_tree(root)
        diff = tree_diff(root, plan)
    except OSError as error:
        raise TreeError.of(root, error) from error
    if plan.foreign:
        raise TreeError(
            f"{', '.join(plan.foreign)} in {root} was not written by an earlier run and would be overwritten. "
            "Move it away, or choose another celery_workers_manifests_dir."
        )
    return HostTree(root, plan, {_identity(item): file_name(item) for item in resources}, diff)


def _identity(item: Mapping[str, Any]) -> str:
    return f"{item['kind']} {item['metadata']['name']}"


def empty_tree(root: Path) -> TreePlan:
    """Take away every file that an earlier run wrote."""
    names = sorted(name for name in _indexed(root) | {INDEX} if (root / name).is_file())
    return TreePlan(files={}, stale=tuple(names))


def write_tree(root: Path, plan: TreePlan) -> None:
    """Bring the tree into shape. Each file appears at once and whole, so that a reader never sees half of one."""
    for name in plan.changed:
        _write(root / name, plan.files[name])
    for name in plan.stale:
        (root / name).unlink(missing_ok=True)
        _remove_empty(root, (root / name).parent)


def tree_diff(root: Path, plan: TreePlan) -> list[dict[str, str]]:
    """One entry a file that changes or goes. The index is not for people."""
    found = [
        {
            "before_header": f"{root / name}",
            "after_header": f"{root / name}",
            "before": plan.before.get(name, ""),
            "after": plan.files[name],
        }
        for name in plan.changed
        if name != INDEX
    ]
    for name in plan.stale:
        if name == INDEX:
            continue
        before = _content(root / name) or ""
        shown = before if "kind: Secret" not in before else "(a Secret, not shown)\n"
        found.append({"before_header": f"{root / name}", "after_header": "/dev/null", "before": shown, "after": ""})
    return found


def _indexed(root: Path) -> set[str]:
    return _read_index(root) or set()


def _read_index(root: Path) -> set[str] | None:
    """Files that earlier runs wrote; None if the folder has no index that can be read."""
    content = _content(root / INDEX)
    if content is None:
        return None
    try:
        names = json.loads(content)["files"]
    except (ValueError, KeyError, TypeError):
        return None
    if not isinstance(names, list):
        return None
    # An index is a file like any other: nothing in it may lead out of the tree.
    return _inside(root, (name for name in names if isinstance(name, str)))


def deployments_before(root: Path) -> list[dict[str, Any]]:
    """Deployments in the files that earlier runs wrote. Files of others say nothing about ours.

    :raises TreeError: if a file of ours is no YAML any more.
    """
    try:
        names = sorted(name for name in _indexed(root) if _is_deployment(name))
        texts = {name: text for name in names if (text := _content(root / name)) is not None}
    except OSError as error:
        raise TreeError(f"{error.filename or root} cannot be read: {error.strerror}.") from error
    found = []
    for name, text in texts.items():
        try:
            documents = documents_of(text)
        except ValueError as error:
            raise TreeError(
                f"{root / name} is no YAML any more, so the selector of its Deployment, which cannot be changed, is "
                "unknown. Restore the file as the run before wrote it, or delete it if no cluster has the Deployment."
            ) from error
        found += [item for item in documents if isinstance(item, dict) and item.get("kind") == "Deployment"]
    return found


def _is_deployment(name: str) -> bool:
    path = Path(name)
    # What is in patches belongs to others.
    return path.parts[0] != PATCHES and path.name.startswith("deployment-") and path.suffix == ".yaml"


def abandoned(folder: Path, hosts: Collection[str]) -> list[Path]:
    """Trees that earlier runs wrote for hosts that are not in the inventory any more.

    :param hosts: every host of the inventory.
    :raises TreeError: if the folder cannot be read.
    """
    try:
        below = sorted(folder.iterdir()) if folder.is_dir() else []
        return [
            path
            for path in below
            if path.name not in hosts
            and _HOST.fullmatch(path.name)
            and path.is_dir()
            and not path.is_symlink()
            and _read_index(path) is not None
        ]
    except OSError as error:
        raise TreeError(f"{error.filename or folder} cannot be read: {error.strerror}.") from error


def _inside(root: Path, names: Iterable[str]) -> set[str]:
    """Those paths below the tree that stay there, links included."""
    real = os.path.join(os.path.realpath(root), "")
    return {name for name in names if os.path.realpath(os.path.join(root, name)).startswith(real)}


def _content(path: Path) -> str | None:
    try:
        return path.read_bytes().decode("utf-8", errors="replace")
    except (FileNotFoundError, NotADirectoryError):
        return None


def _write(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(content)
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, path)
    except OSError:
        os.unlink(temporary)
        raise


def _remove_empty(root: Path, folder: Path) -> None:
    # Another host's process may remove the same tree of a host that is gone.
    with contextlib.suppress(FileNotFoundError):
        while root in (folder, *folder.parents) and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
            folder = folder.parent
