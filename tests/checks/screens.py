"""The screens of docs/screens*.md: plays the runs and compares. `--write` writes what they print into the pages.

The runs are real ones against the API emulator. One host after the other, so that their order is always the same.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from tests.checks import layout
from tests.integration.cluster import Cluster
from tests.support.kubernetes_emulator import Emulator, Ends, ExecRequest, ExecResult
from tests.support.warm_python import warm_command

#: The first one has the inventory of all.
PAGES = tuple(
    layout.ROOT / "docs" / name
    for name in ("screens.md", "screens-of-many-hosts.md", "day-two.md", "rights.md", "history.md")
)
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
    :param prepare: what happens in the cluster before it.
    :param shows_code: whether the shell is asked for its exit code afterwards.
    """

    hosts: tuple[str, ...]
    options: tuple[str, ...] = ()
    playbook: str = "deploy"
    prepare: Callable[[Cluster], None] | None = None
    shows_code: bool = False


def slow_queue(cluster: Cluster) -> None:
    """One queue needs more pods than it may have, and another is paused."""
    power, namespace, mail = cluster.power, "shop-north", "shop-worker-mail"
    power.install_keda()
    power.set_reading(namespace, f"{mail}-scaledobject", backlog_p0=3215, inflight=76, pods=20)
    # Half a minute more than is shown, so that a slow run shows the same.
    since = (datetime.now(UTC) - timedelta(minutes=12, seconds=20)).strftime("%Y-%m-%dT%H:%M:%SZ")
    limited = {"type": "ScalingLimited", "status": "True", "reason": "TooManyReplicas", "lastTransitionTime": since}
    cluster.scale(namespace, mail, 20)
    scaled = power.get("ScaledObject", f"{mail}-scaledobject", namespace)
    assert scaled is not None
    active = {"type": "Active", "status": "True", "message": "Scaling is performed because triggers are active"}
    kept = [one for one in scaled["status"]["conditions"] if one["type"] != "Active"]
    power.set_status(
        "ScaledObject", f"{mail}-scaledobject", {**scaled["status"], "conditions": [*kept, active]}, namespace
    )
    hpa = f"keda-hpa-{mail}-scaledobject"
    power.set_status("HorizontalPodAutoscaler", hpa, {"conditions": [limited], "lastScaleTime": since}, namespace)
    why = "New size: 20; reason: external metric s0-composite-metric above target"
    power.add_event(namespace, "HorizontalPodAutoscaler", hpa, "SuccessfulRescale", why, time=since)
    note = {"metadata": {"annotations": {"autoscaling.keda.sh/paused": "true"}}}
    cluster.patch("ScaledObject", namespace, "shop-worker-reports-scaledobject", note)
    power.exec_handler = _counted


def _counted(request: ExecRequest) -> ExecResult:
    """What a pod says of its queues."""
    waiting = 2 if "reports" in request.pod else 0
    return ExecResult(stdout=f'celery-worker-answer:{{"waiting": {waiting}, "held": 1, "active": 1, "later": 0}}\n')


def changed_by_hand(cluster: Cluster) -> None:
    """What kubectl set image does."""
    cluster.set_image("shop-north", "shop-worker", "registry.example/shop:3.2.1")


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
    "why": Screen(("north",), playbook="status", prepare=slow_queue),
    "cron": Screen(
        ("north",),
        ("--check", "--extra-vars", "celery_workers_fail_on_drift=true"),
        prepare=changed_by_hand,
        shows_code=True,
    ),
    "since": Screen(("north",), ("--extra-vars", "celery_workers_only=shop/default"), playbook="status"),
    "rights": Screen(
        ("north",), ("--extra-vars", "celery_workers_rbac_kubeconfig=kubeconfigs/north.yml"), playbook="rbac"
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
    command = ["ansible-playbook", f"queueops.celery.{screen.playbook}", "-i", "hosts.yml", *screen.options]
    env = layout.environment(
        VENV,
        ANSIBLE_FORKS="1",
        ANSIBLE_HOME=str(folder / "home"),
        COLUMNS="100",
        HOME=str(folder),
        K8S_AUTH_KUBECONFIG=str(kubeconfig),
        LC_ALL="C.UTF-8",
        LOGNAME="anna",
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
    code = f"\n\n$ echo $?\n{run.returncode}" if screen.shows_code else ""
    return f"$ {shown}\n\n{stable(run.stdout)}{code}\n"


def stable(text: str) -> str:
    """The output without times and paths of this machine."""
    for path in (str(layout.TREE), str(layout.TREE.resolve())):
        text = text.replace(path, "~/.ansible/collections")
    text = re.sub(r"up after \d+ s:", "up:", text)
    # The hash of a pod template changes with every release.
    text = re.sub(r"-[0-9a-f]{10}-00000\b", "-5d9c7b9d84-x2x7k", text)
    text = re.sub(r"\bat \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "at 2026-11-30T14:00:00Z", text)
    text = re.sub(r"\buntil \d{4}-\d\d-\d\d \d\d:\d\d UTC", "until 2026-12-30 14:00 UTC", text)
    text = re.sub(r"\b\d\d:\d\d:\d\d by ", "13:47:40 by ", text)
    text = re.sub(r"\b(started|rolled out) \d+ (?:s|min) ago", r"\1 5 h ago", text)
    text = re.sub(r"\b(last deploy:|deploy of) \d\d:\d\d\b", r"\1 09:03", text)
    text = re.sub(r"\(collection \S+\)", "(collection 1.0.0)", text)
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
            if screen.prepare:
                screen.prepare(Cluster(kubeconfig, emulator))
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
