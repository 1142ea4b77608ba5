"""Where the checks find the collection and the interpreters. Standard library only."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"
TREE = BUILD / "tree"
COLLECTION = Path("ansible_collections") / "queueops" / "celery"

#: Playbooks run side by side here. While its tasks run, Ansible looks a thousand times a second whether they are done.
ANSIBLE_CONFIG = "[defaults]\ninternal_poll_interval = 0.02\n"

# The parts that tools look up under the collection's full name. No link to the checkout itself: walks would never end.
LINKED = ("galaxy.yml", "README.md", "CHANGELOG.rst", "changelogs", "docs", "meta", "playbooks", "plugins", "roles")


def link_tree() -> Path:
    """Make build/tree/ansible_collections/queueops/celery, whose entries are links into the checkout."""
    target = TREE / COLLECTION
    target.mkdir(parents=True, exist_ok=True)
    for name in LINKED:
        link, source = target / name, ROOT / name
        if link.is_symlink() and not source.exists():
            link.unlink(missing_ok=True)
        elif source.exists() and not (link.is_symlink() and Path(os.readlink(link)) == source):
            # Made beside and moved into place, so that two runs at once do not disturb each other.
            spare = Path(tempfile.mkdtemp(dir=BUILD)) / name
            spare.symlink_to(source)
            spare.replace(link)
            spare.parent.rmdir()
    return TREE


def source_files() -> list[str]:
    """Every file of the checkout that git does not ignore, relative to its root."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode == 0:
        names = [name for name in listed.stdout.split("\0") if name]
    else:  # an unpacked archive, without git
        names = []
        for folder, folders, files in os.walk(ROOT):
            where = Path(folder).relative_to(ROOT)
            skipped = {"build", "__pycache__", ".git", ".venv", ".venv-test", ".ansible", ".mypy_cache", ".ruff_cache"}
            folders[:] = [name for name in folders if name not in skipped]
            names += [str(where / name) for name in files]
    return sorted(name for name in names if (ROOT / name).is_file())


def copy_tree(parent: Path) -> Path:
    """Copy the checkout to parent/ansible_collections/queueops/celery, for tools that follow no links."""
    target = parent / COLLECTION
    shutil.rmtree(parent / "ansible_collections", ignore_errors=True)
    for name in source_files():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target / name)
    # A repository of its own: else git answers for the checkout around it, which ignores this folder.
    subprocess.run(["git", "init", "--quiet", str(target)], check=False)
    return target


def plain_path() -> list[str]:
    """PATH without the shims of version managers: those answer for interpreters that are not active."""
    entries = os.environ.get("PATH", os.defpath).split(os.pathsep)
    return [entry for entry in entries if entry and Path(entry).name != "shims"]


def find_interpreter(version: str) -> Path | None:
    """The interpreter pythonN.M of a version such as "3.13", from PATH or pyenv's folder."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    folders = [Path(entry) for entry in plain_path()]
    folders += sorted(pyenv.glob(f"versions/{version}.*/bin"), reverse=True)
    for folder in folders:
        candidate = folder / f"python{version}"
        if not os.access(candidate, os.X_OK):
            continue
        probe = subprocess.run(
            [str(candidate), "-c", "import ensurepip, venv"], capture_output=True, stdin=subprocess.DEVNULL, check=False
        )
        if probe.returncode == 0:
            return candidate
    return None


def find_uv() -> Path | None:
    """The program that fills environments, or None where the package index has none."""
    command = ["sh", str(ROOT / "tests" / "checks" / "find_uv.sh"), sys.executable]
    found = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=False)
    return Path(found.stdout.strip()) if found.returncode == 0 else None


def environment(venv: Path, **extra: str) -> dict[str, str]:
    """The environment variables of a check: its own tools, the linked tree, and nothing of the user's Ansible."""
    # Environments are made uncompiled: where Python may not write bytecode, each of a thousand processes would compile.
    python = ("PYTHONPATH", "PYTHONHOME", "PYTHONDONTWRITEBYTECODE")
    dropped = (*python, "ANSIBLE_", "K8S_AUTH_", "KUBECONFIG", "MOLECULE_", "MAKE", "MFLAGS")
    env = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    config = BUILD / "ansible.cfg"
    BUILD.mkdir(exist_ok=True)
    if not config.is_file() or config.read_text(encoding="utf-8") != ANSIBLE_CONFIG:
        config.write_text(ANSIBLE_CONFIG, encoding="utf-8")
    env |= {
        "ANSIBLE_CONFIG": str(config),
        "ANSIBLE_COLLECTIONS_PATH": str(TREE),
        "ANSIBLE_HOME": str(BUILD / "ansible-home"),
        "ANSIBLE_LOCALHOST_WARNING": "false",
        "ANSIBLE_NOCOLOR": "true",
        "NO_COLOR": "1",
        "PATH": os.pathsep.join([str(venv / "bin"), *plain_path()]),
        "VIRTUAL_ENV": str(venv),
    }
    return env | extra
