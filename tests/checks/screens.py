"""The screens of docs/screens*.md: plays the runs and compares. `--write` writes what they print into the pages.

The runs are real ones against the API emulator. One host after the other, so that their order is always the same.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.checks import layout
from tests.support.kubernetes_emulator import Emulator, Ends
from tests.support.warm_python import warm_command

#: The first one has the inventory of all.
PAGES = tuple(layout.ROOT / "docs" / name for name in ("screens.md", "screens-of-many-hosts.md"))
VENV = layout.ROOT / ".venv-test"

_INVENTORY = re.compile(r"```yaml\n(celery_fleets:\n.*?)```", re.DOTALL)
_BLOCK = re.compile(r"(<!-- screen: (?P<name>[\w-]+) -->\n```text\n)(?P<text>.*?)(```\n)", re.DOTALL)
#: What the workers of one site say before they end.
_LOG = """Traceback (most recent call last):
  File "/app/shop/settings.py", line 12, in <module>
    SITE = os.environ["SITE"]
KeyError: 'SITE'
"""


@dataclass(frozen=True)
class Screen:
    """One run.

    :param hosts: of the inventory; empty for all.
    """

    hosts: tuple[str, ...]
    options: tuple[str, ...] = ()


_NUMBER = "{celery_workers_config__90_host: {shop: {mail: {polling_interval: 10}}}}"
#: In the order in which they are played: each finds what those before have made.
SCREENS = {
    "first": Screen(("north",)),
    "again": Screen(("north",)),
    "look": Screen(("north",), ("--check", "--diff", "--extra-vars", _NUMBER)),
    "numbers": Screen(("north",), ("--tags", "plan", "--extra-vars", "celery_workers_explain=true")),
    "crash": Screen(("acme",)),
    "five": Screen(()),
    "forty": Screen(
        tuple(f"site{number:02d}" for number in range(1, 41)), ("--extra-vars", "celery_workers_output=manifests")
    ),
}


def write_inventory(page: str, screen: Screen, folder: Path) -> None:
    """The page's inventory, with the hosts of a screen."""
    found = _INVENTORY.search(page)
    assert found, f"{PAGES[0]} has no inventory"
    inventory = yaml.safe_load(found[1])
    if screen.hosts:
        inventory["celery_fleets"]["hosts"] = dict.fromkeys(screen.hosts)
    (folder / "hosts.yml").write_text(yaml.safe_dump(inventory, sort_keys=False), encoding="utf-8")


def played(screen: Screen, folder: Path, kubeconfig: Path) -> str:
    """What a run prints, standard error included, without what is this machine's."""
    command = ["ansible-playbook", "queueops.celery.deploy", "-i", "hosts.yml", *screen.options]
    env = layout.environment(
        VENV,
        ANSIBLE_FORKS="1",
        ANSIBLE_HOME=str(folder / "home"),
        COLUMNS="100",
        HOME=str(folder),
        K8S_AUTH_KUBECONFIG=str(kubeconfig),
        LC_ALL="C.UTF-8",
        PWD=str(folder),
    )
    run = subprocess.run(
        warm_command([str(VENV / "bin" / command[0]), *command[1:]]),
        cwd=folder,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=900,
    )
    shown = " ".join(f"'{word}'" if " " in word else word for word in command)
    return f"$ {shown}\n\n{stable(run.stdout)}\n"


def stable(text: str) -> str:
    """The output without times and paths of this machine."""
    for path in {str(layout.TREE), str(layout.TREE.resolve())}:
        text = text.replace(path, "~/.ansible/collections")
    text = re.sub(r"up after \d+ s:", "up:", text)
    # The hash of a pod template changes with every release.
    text = re.sub(r"-[0-9a-f]{10}-00000\b", "-5d9c7b9d84-x2x7k", text)
    text = re.sub(r"^\S+ \| waiting for .*\n", "", text, flags=re.MULTILINE)
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


def make() -> dict[Path, str]:
    """The pages with what the runs print today."""
    layout.link_tree()
    pages = {path: path.read_text(encoding="utf-8") for path in PAGES}
    first = pages[PAGES[0]]
    sites: list[Any] = list(yaml.safe_load(_INVENTORY.findall(first)[0])["celery_fleets"]["hosts"])
    with tempfile.TemporaryDirectory() as name, Emulator(namespaces=[f"shop-{site}" for site in sites]) as emulator:
        folder = Path(name)
        kubeconfig = emulator.write_kubeconfig(folder / "kubeconfig")
        emulator.make_unavailable(
            "shop-acme", "shop-worker-mail", reason="CrashLoopBackOff", message="back-off", ends=Ends(3, 1, _LOG)
        )
        found = {}
        for key, screen in SCREENS.items():
            write_inventory(first, screen, folder)
            found[key] = played(screen, folder, kubeconfig)
    return {
        path: _BLOCK.sub(lambda block: f"{block[1]}{found[block['name']]}{block[4]}", page)
        for path, page in pages.items()
    }


def main() -> int:
    """Write the pages, or say which is not up to date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the pages")
    writes = parser.parse_args().write
    stale = {path: made for path, made in make().items() if path.read_text(encoding="utf-8") != made}
    for path, made in stale.items():
        if writes:
            path.write_text(made, encoding="utf-8")
        else:
            print(f"{path.relative_to(layout.ROOT)} is not what runs print; run `make docs` and commit the result.")
    return 1 if stale and not writes else 0


if __name__ == "__main__":
    raise SystemExit(main())
