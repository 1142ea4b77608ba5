"""Build the collection, install the tarball, and check what users get: contents, documentation, playbooks, changelog.

Standard library only; the tools come from the environment that the caller set up.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from tests.checks import layout

NAME = "queueops.celery"
WORK = layout.BUILD / "package"
# All that may be in the tarball. Shipped code may use only meta/, playbooks/, plugins/ and roles/.
SHIPPED = {
    "CHANGELOG.rst",
    "FILES.json",
    "LICENSE",
    "MANIFEST.json",
    "README.md",
    "changelogs",
    "docs",
    "meta",
    "playbooks",
    "plugins",
    "roles",
}
NEEDED = {"LICENSE", "README.md", "meta", "playbooks", "plugins", "roles"}

problems: list[str] = []


def run(*command: str, cwd: Path = layout.ROOT, quiet: bool = False) -> str:
    """Run a command, print what it says (all of it only when it fails), and note a failure."""
    print(f"$ {' '.join(command)}", flush=True)
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if done.returncode != 0 or not quiet:
        print((done.stdout + done.stderr).rstrip(), flush=True)
    if done.returncode != 0:
        problems.append(f"{' '.join(command)}: exit status {done.returncode}")
    return done.stdout


def check_contents(tarball: Path) -> None:
    with tarfile.open(tarball) as archive:
        names = [name.removeprefix("./") for name in archive.getnames()]
    top = {name.split("/")[0] for name in names} - {"", "."}
    print(f"{tarball.name}: {len(names)} entries, {tarball.stat().st_size // 1024} KiB", flush=True)
    if extra := sorted(top - SHIPPED):
        problems.append(f"the tarball holds what it must not: {', '.join(extra)} (see build_ignore in galaxy.yml)")
    if missing := sorted(NEEDED - top):
        problems.append(f"the tarball lacks: {', '.join(missing)}")


def check_documentation(installed: Path) -> None:
    modules = sorted(path.stem for path in installed.glob("plugins/modules/*.py") if path.stem != "__init__")
    roles = sorted(path.name for path in installed.glob("roles/*") if not path.name.startswith("_"))
    for kind, names in (("module", modules), ("role", roles)):
        if not names:
            continue
        wanted = [f"{NAME}.{name}" for name in names]
        text = run("ansible-doc", "--type", kind, "--json", *wanted, quiet=True)
        # ansible-doc exits with 0 when it finds no documentation.
        try:
            shown = json.loads(text or "{}")
        except ValueError:
            shown = {}
        for name in wanted:
            if not shown.get(name):
                problems.append(f"ansible-doc shows nothing for the {kind} {name}")


def check_playbooks(installed: Path) -> None:
    playbooks = [f"{NAME}.{playbook.stem}" for playbook in sorted(installed.glob("playbooks/*.y*ml"))]
    run("ansible-playbook", "--syntax-check", "-i", "localhost,", *playbooks, quiet=True)
    if not (installed / "playbooks" / "deploy.yml").exists():
        problems.append("the tarball lacks playbooks/deploy.yml")


def check_import(tarball: Path) -> None:
    """Import the tarball as Galaxy does at an upload, without lint, flake8 and sanity, which other checks run."""
    environment = "build/venv-galaxy-importer"
    script = layout.ROOT / "tests" / "checks" / "make_venv.sh"
    run("sh", str(script), environment, "requirements/galaxy-importer.txt", "3.11", "3.13")
    off = ("RUN_ANSIBLE_LINT", "RUN_ANSIBLE_TEST", "RUN_FLAKE8")
    config = WORK / "galaxy-importer.cfg"
    settings = [
        *(f"{name} = False" for name in off),
        "RUN_ANSIBLE_DOC = True",
        f"ANSIBLE_LOCAL_TMP = {WORK / 'import'}",
    ]
    config.write_text("\n".join(["[galaxy-importer]", *settings, ""]), encoding="utf-8")
    os.environ["GALAXY_IMPORTER_CONFIG"] = str(config)
    # It calls ansible-doc from PATH, so from the test environment, which has kubernetes.core and its documentation.
    # It leaves its result in the folder where it runs.
    python = str(layout.ROOT / environment / "bin" / "python")
    said = run(python, "-m", "galaxy_importer.main", str(tarball), cwd=WORK, quiet=True)
    problems.extend(f"galaxy-importer says {line}" for line in said.splitlines() if line.startswith("ERROR"))


def main() -> int:
    shutil.rmtree(WORK, ignore_errors=True)
    source = layout.copy_tree(WORK / "source")
    os.environ["ANSIBLE_COLLECTIONS_PATH"] = str(WORK / "collections")

    # Built from the checkout itself, as `make demo` and a release do: so that stray files are noticed here.
    run("ansible-galaxy", "collection", "build", "--output-path", str(WORK), quiet=True)
    tarballs = list(WORK.glob("*.tar.gz"))
    if tarballs:
        check_contents(tarballs[0])
        offline = ("-p", str(WORK / "collections"), "--offline")
        run("ansible-galaxy", "collection", "install", str(tarballs[0]), *offline, "--no-deps", quiet=True)
        run("ansible-galaxy", "collection", "verify", NAME, *offline, quiet=True)
        installed = WORK / "collections" / layout.COLLECTION
        check_documentation(installed)
        check_playbooks(installed)
        check_import(tarballs[0])

    # This linter sees no other collection, so its copies of modules do without the fragment of kubernetes.core,
    # which is read by ansible-doc above and by ansible-test.
    for module in (source / "plugins" / "modules").glob("*.py"):
        module.write_text(module.read_text().replace("  - kubernetes.core.k8s_auth_options\n", ""))
    refs = "--validate-collection-refs=self"
    run("antsibull-docs", "lint-collection-docs", "--plugin-docs", refs, ".", cwd=source)
    run("antsibull-changelog", "lint", cwd=source)
    if (source / "changelogs" / "changelog.yaml").exists():
        run("antsibull-changelog", "lint-changelog-yaml", "changelogs/changelog.yaml", cwd=source)

    for problem in problems:
        print(f"PROBLEM: {problem}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
