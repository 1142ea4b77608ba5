# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The inventory for a Tutor project, as text with comments for the person who will own it.

Once a person has changed a file, it is theirs: what a later import would write goes beside it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._schema.documents import as_yaml
from .import_text import comment, variables_of
from .kustomization import read_documents
from .kustomize_patches import KustomizationError
from .tutor import TutorError, TutorProject, lms_host

HOSTS = "hosts.yml"
GROUP = "celery_fleets"

_SITE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_MARK = re.compile(
    r"^# Suggested by queueops\.celery\.import_tutor, fingerprint (?P<fingerprint>[0-9a-f]{16})\..*$", re.M
)


def site_name(project: TutorProject, wanted: str = "") -> str:
    """Name of the inventory host.

    :raises TutorError: if the wanted one cannot be one.
    """
    name = wanted or lms_host(project) or project.namespace
    if not _SITE.fullmatch(name):
        raise TutorError(f"{name!r} cannot be the name of an inventory host; write letters, digits, '.', '-' and '_'.")
    return name


def variables_file(site: str) -> str:
    """Where the variables of a site stand: a folder, so that a vault can stand beside them."""
    return f"host_vars/{site}/celery.yml"


def suggested_inventory(project: TutorProject, site: str = "") -> dict[str, str]:
    """The files of an inventory for one site, by their path below its folder."""
    name = site_name(project, site)
    return {HOSTS: _hosts(name), variables_file(name): _marked(variables_of(project, name))}


# Files


@dataclass(frozen=True)
class ImportPlan:
    """What an import does to an inventory.

    :param files: content of the files to write, by their path below it.
    :param before: what each of them is compared with in a diff.
    :param beside: files that a person changed, each with the one that the news go to.
    """

    files: Mapping[str, str]
    before: Mapping[str, str]
    beside: Mapping[str, str]


def planned_import(folder: Path, project: TutorProject, site: str = "") -> ImportPlan:
    """Compare a suggestion with the inventory that is there.

    :raises TutorError: if Ansible would not read the files together with those that are there.
    """
    name = site_name(project, site)
    suggestion = suggested_inventory(project, name)
    for ending in (".yml", ".yaml", ".json", ""):
        other = folder / "host_vars" / f"{name}{ending}"
        if other.is_file():
            raise TutorError(
                f"{other} is beside the folder {other.with_name(name)}, where the import writes, and Ansible reads "
                f"only one of them. Move it to {other.with_name(name)}/main.yml"
            )
    wanted, before, beside = {}, {}, {}
    hosts = _hosts_file(folder, name)
    if hosts:
        wanted[hosts] = suggestion[HOSTS]
    path = variables_file(name)
    text, there = suggestion[path], _content(folder / path)
    if there is None or _fingerprint_in(there) == _fingerprint(_body(there)):
        wanted[path] = text
        before[path] = there or ""
    elif _fingerprint_in(there) != _fingerprint_in(text):
        beside[path] = f"{path}.new"
        wanted[beside[path]] = text
        before[beside[path]] = there
    changed = {path: text for path, text in wanted.items() if _content(folder / path) != text}
    return ImportPlan(changed, before, beside)


def write_import(folder: Path, plan: ImportPlan) -> None:
    """Write what is planned."""
    for name, content in plan.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")


def import_diff(folder: Path, plan: ImportPlan) -> list[dict[str, str]]:
    """One entry a file. What goes beside a file that a person changed is compared with that file."""
    yours = {new: name for name, new in plan.beside.items()}
    return [
        {
            "before_header": f"{folder / yours.get(name, name)}",
            "after_header": f"{folder / name}",
            "before": plan.before.get(name, ""),
            "after": content,
        }
        for name, content in plan.files.items()
    ]


def _hosts_file(folder: Path, site: str) -> str:
    """Where the host is to be named; empty if it is named already. A file that is there is nobody's to change."""
    for path in (HOSTS, f"hosts-{site}.yml"):
        if _content(folder / path) is None:
            return path
        try:
            documents = read_documents(folder, path)
        except KustomizationError:
            continue  # with a vault in it, for example
        if any(_names_host(document, site) for document in documents):
            return ""
    return ""


def _names_host(value: Any, site: str) -> bool:
    if not isinstance(value, dict):
        return False
    hosts = value.get("hosts")
    return (isinstance(hosts, dict) and site in hosts) or any(_names_host(item, site) for item in value.values())


def _content(path: Path) -> str | None:
    try:
        return path.read_bytes().decode("utf-8", "replace")
    except (FileNotFoundError, NotADirectoryError):
        return None


def _marked(body: str) -> str:
    return (
        f"---\n# Suggested by queueops.celery.import_tutor, fingerprint {_fingerprint(body)}. "
        f"Edit it as you like: it is yours then.\n{body}"
    )


def _fingerprint(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()[:16]


def _fingerprint_in(text: str) -> str:
    found = _MARK.search(text)
    return found["fingerprint"] if found else ""


def _body(text: str) -> str:
    """What stands below the mark."""
    found = _MARK.search(text)
    return text[found.end() + 1 :] if found else text


# Text


def _hosts(site: str) -> str:
    lines = [
        "---",
        *comment("One host is one Open edX site: one namespace of one cluster."),
        f"{GROUP}:",
        "  hosts:",
        *[f"    {line}" for line in as_yaml({site: None}).replace(" null", "").rstrip().split("\n")],
    ]
    return "\n".join([*lines, ""])


# Variants


# Around the workers
