"""The screens of the docs: plays the runs and compares. `--write` writes what they print into the pages.

The runs are real ones against the API emulator. One host after the other, so that their order is always the same.
A block below `screen: name` is all that a run prints, and one below `told: name` what the collection says in it.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import tempfile
import textwrap
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
    for name in (
        "screens.md",
        "screens-of-many-hosts.md",
        "day-two.md",
        "drain-and-roll.md",
        "taking-away.md",
        "rights.md",
        "history.md",
    )
)
VENV = layout.ROOT / ".venv-test"

_INVENTORY = re.compile(r"```yaml\n(celery_fleets:\n.*?)```", re.DOTALL)
_BLOCK = re.compile(
    r"(?P<head>(?P<indent> *)<!-- (?P<part>screen|told): (?P<name>[\w-]+) -->\n *```text\n)"
    r"(?P<text>.*?)(?P<tail> *```\n)",
    re.DOTALL,
)
#: Where what the collection says begins, and where it ends.
_TOLD = re.compile(r"\$ |\S+ \| |\[WARNING\]|\[ERROR\]|  !  |  Replaces ")
_ENDS = re.compile(r"PLAY |TASK |ok: |changed: |fatal: |Origin: |$")
_WIDTH = 120  # columns of such a block
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


@dataclass
class Workers:
    """What workers answer: two of each variant run a task, and take no more once they are told so.

    :param waiting: messages in each queue.
    :param is_busy: whether they run their tasks for ever; else one of them ends at each look.
    """

    waiting: int
    is_busy: bool = False
    _takes: bool = True
    _looks: int = 0

    def __call__(self, request: ExecRequest) -> ExecResult:
        """Answer a question."""
        question = json.loads(request.command[-1])
        if question["consumes"]:
            self._takes = question["consumes"] == "resume"
        self._looks += question["watches"] and not self.is_busy
        answer = {
            "works": {pod: self._work(number) for number, pod in enumerate(sorted(question["pods"]))},
            "by_queue": dict.fromkeys(question["queues"], self.waiting),
            "running": [],
            **dict.fromkeys(("active", "reserved", "held", "later"), 0),
            "waiting": self.waiting,
        }
        return ExecResult(stdout=f"celery-worker-answer:{json.dumps(answer)}\n")

    def _work(self, number: int) -> dict[str, Any]:
        runs = [["shop.reports.monthly", 95.0]] if self._looks <= number < 2 else []
        return {"running": runs, "reserved": 0, "later": 0, "queues": int(self._takes)}


def three_busy_pods(cluster: Cluster) -> None:
    """The workers of mail, two of which are busy."""
    cluster.scale("shop-south", "shop-worker-mail", 3)
    cluster.power.exec_handler = Workers(waiting=40, is_busy=True)


def tasks_end(cluster: Cluster) -> None:
    """What they run ends, and 40 messages wait."""
    cluster.power.exec_handler = Workers(waiting=40)


def queues_are_empty(cluster: Cluster) -> None:
    """All is done."""
    cluster.power.exec_handler = Workers(waiting=0)


def new_image_ends(cluster: Cluster) -> None:
    """Mail's new image ends at once."""
    cluster.power.make_unavailable(
        "shop-south", "shop-worker-mail", reason="CrashLoopBackOff", message="back-off", ends=Ends(3, 1, _LOG)
    )


def changed_by_hand(cluster: Cluster) -> None:
    """What kubectl set image does."""
    cluster.set_image("shop-north", "shop-worker", "registry.example/shop:3.2.1")


_MAIL = ("-e", "celery_workers_only=shop/mail")
_NEW_IMAGE = ("-e", '{celery_workers_services__90_image: {shop: {image: "registry.example/shop:3.3.0"}}}')
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
    "pause": Screen(
        ("south",),
        (*_MAIL, "-e", "celery_workers_pause_until=2h", "-e", "celery_workers_pause_reason=release"),
        playbook="pause",
        prepare=three_busy_pods,
    ),
    "paused": Screen(("south",)),
    "resume": Screen(("south",), _MAIL, playbook="resume"),
    "boost": Screen(
        ("south",),
        (*_MAIL, "-e", "celery_workers_boost_min=10", "-e", "celery_workers_boost_until=2h"),
        playbook="boost",
    ),
    "unboost": Screen(("south",), (*_MAIL, "-e", "celery_workers_boost_min=0"), playbook="boost"),
    "late": Screen(
        ("south",),
        (*_MAIL, "-e", "celery_workers_drain_reason=node7", "-e", "celery_workers_drain_timeout=2"),
        playbook="drain",
    ),
    "drain": Screen(
        ("south",), (*_MAIL, "-e", "celery_workers_drain_reason=node7"), playbook="drain", prepare=tasks_end
    ),
    "drained": Screen(("south",), _MAIL, playbook="status"),
    "undrain": Screen(("south",), _MAIL, playbook="resume"),
    "after-drain": Screen(
        ("south",),
        ("-e", "celery_workers_rollout=after_drain", "-e", "celery_workers_drain_timeout=2", *_NEW_IMAGE),
        prepare=three_busy_pods,
    ),
    "prune": Screen(
        ("south",),
        ("-e", "celery_workers_prune=true", "-e", "{celery_workers_config__90_mail: {shop: {mail: {enabled: false}}}}"),
        prepare=tasks_end,
    ),
    "serial": Screen(("south",), ("-e", "celery_workers_rollout=serial", *_NEW_IMAGE), prepare=new_image_ends),
    "remove": Screen(("west",), playbook="remove", prepare=queues_are_empty),
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
    text = re.sub(r"(\.monthly for) \d+ s\b", r"\1 95 s", text)
    text = re.sub(r"\bAfter \d+ seconds\b", "After 2 seconds", text)
    text = re.sub(r"\bdrained since \d{4}-\d\d-\d\d \d\d:\d\d UTC", "drained since 2026-11-30 04:41 UTC", text)
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


def told(text: str) -> str:
    """What the collection itself says in a run, below the command."""
    lines: list[str] = []
    is_told = False
    for line in text.splitlines():
        is_told = bool(_TOLD.match(line)) or (is_told and not _ENDS.match(line))
        if is_told:
            lines += wrapped(line)
    return "".join(f"{line}\n" for line in lines)


def wrapped(line: str) -> list[str]:
    """A line in the width of a page. A command stays one that can be copied."""
    if not line.startswith("$ "):
        return textwrap.wrap(line, _WIDTH, break_long_words=False, break_on_hyphens=False)
    return line.replace(" -e ", " \\\n    -e ").splitlines() if len(line) > _WIDTH else [line]


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
    return {path: _BLOCK.sub(lambda block: filled(block, found[block["name"]]), page) for path, page in pages.items()}


def filled(block: re.Match[str], output: str) -> str:
    """A block of a page with what a run prints."""
    text = output if block["part"] == "screen" else told(output)
    return f"{block['head']}{textwrap.indent(text, block['indent'])}{block['tail']}"


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
