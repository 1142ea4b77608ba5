# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run costs, beside what it cost before planning moved to the controller, and beside the goals.

    make bench                      against the API emulator, a few minutes
    make bench QUICK=1              fewer rounds
    make bench KUBECONFIG=path      against a cluster with KEDA, in namespaces of its own that it removes
    make bench TREE=path            another checkout's collection

Compare ratios of one sitting: seconds depend on the machine and on what else it does.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.bench import planning
from tests.bench.sites import RECORDED_PACE, STATUS, Bench, Measured, bench, has_kubectl, manifests, variables
from tests.checks import layout

QUEUES, FEW_QUEUES = 50, 10
NOT_RUN = "not run"

#: Commit whose figures stand in the column "before": the last one whose role did everything in tasks of its own.
BEFORE = "022645f"
NOTHING = "- hosts: all\n  connection: local\n  gather_facts: false\n  tasks:\n    - ansible.builtin.debug:\n"


@dataclass(frozen=True)
class Row:
    """One line of the table.

    :param before: the figure of the commit BEFORE.
    :param now: the figure of this sitting; none where it was not measured.
    :param goal: what it should be at most.
    :param remark: what one has to know to read it.
    """

    what: str
    before: str
    now: float | None
    goal: float | None
    unit: str = ""
    remark: str = ""

    def __str__(self) -> str:
        now = NOT_RUN if self.now is None else f"{self.now:.3g}{self.unit}"
        goal = "-" if self.goal is None else f"{self.goal:g}{self.unit}"
        verdict = "" if self.now is None or self.goal is None else "reached" if self.now <= self.goal else "MISSED"
        return f"{self.what:<66} {self.before:>10} {now:>10} {goal:>8}  {verdict or '-':<8} {self.remark}".rstrip()


@dataclass(frozen=True)
class Options:
    """How much is measured.

    :param rounds: how often each figure is taken; the median counts.
    :param hosts: of the inventory whose manifests are written as files.
    :param fleets: of the inventory whose hosts all run on the cluster.
    :param looks: variants of the fleets whose status is shown.
    """

    rounds: int = 5
    hosts: int = 100
    fleets: int = 20
    looks: tuple[int, ...] = (1, 100, 1000)
    kubeconfig: str = ""
    tree: Path = layout.TREE


def median(found: list[Measured], of: Callable[[Measured], float]) -> float:
    """The middle one of several figures."""
    return statistics.median(map(of, found))


def seconds(measured: Measured) -> float:
    """How long somebody waits."""
    return measured.seconds


def processor(measured: Measured) -> float:
    """What it keeps a processor busy."""
    return measured.processor


# Against kubectl, and by size


@dataclass(frozen=True)
class Pairs:
    """Runs of the role and of kubectl over the same objects, one after the other."""

    first: list[Measured]
    unchanged: list[Measured]
    kubectl_first: list[Measured]
    kubectl_unchanged: list[Measured]


def pairs(place: Bench, queues: int, rounds: int, with_kubectl: bool) -> Pairs:
    """Each round in namespaces of its own, so that a first run finds nothing."""
    found = Pairs([], [], [], [])
    for number in range(rounds):
        mine = place.namespace("bench")
        host = {"bench": {**variables(queues), "celery_workers_namespace": mine}}
        inventory = place.inventory(f"queues-{queues}-{number}", host, {})
        if with_kubectl:
            theirs = place.namespace("bench-kubectl")
            path = place.folder / f"manifests-{number}.yaml"
            path.write_text(yaml.safe_dump_all(manifests(queues, theirs)), encoding="utf-8")
            found.kubectl_first.append(place.kubectl(path))
        found.first.append(place.deploy(inventory))
        if with_kubectl:
            found.kubectl_unchanged.append(place.kubectl(path))
        found.unchanged.append(place.deploy(inventory))
    return found


def against_kubectl(found: Pairs, real: bool, paced: bool) -> Iterator[Row]:
    """The two rows whose measure is kubectl."""
    where = "" if real else ", emulator at a server's pace" if paced else ", emulator"
    cases = (
        ("unchanged run", found.unchanged, found.kubectl_unchanged, "3.1", 0.7),
        ("first run", found.first, found.kubectl_first, "4 to 6", 1.6),
    )
    for name, ours, theirs, before, goal in cases:
        what = f"{name}, {QUEUES} scaled queues, times kubectl{where}"
        if not theirs:
            yield Row(what, before, None, goal, remark="not run: kubectl is missing")
            continue
        ratio = statistics.median(one.seconds / other.seconds for one, other in zip(ours, theirs, strict=True))
        shown = f"{median(ours, seconds):.2f} s against {median(theirs, seconds):.2f} s; {_share(ours, theirs, real)}"
        # An emulator answers at once, so that only the programs themselves are compared.
        judged = goal if real or paced else None
        yield Row(what, before if judged else "-", ratio, judged, remark=shown)


def _share(ours: list[Measured], theirs: list[Measured], real: bool) -> str:
    if real:
        return f"processor {median(ours, processor):.2f} s against {median(theirs, processor):.2f} s"
    part = [100 * statistics.median(one.emulator / one.seconds for one in found) for found in (ours, theirs)]
    requests = f"{ours[-1].requests} against {theirs[-1].requests} requests"
    return f"{requests}; the emulator's share {part[0]:.0f} % and {part[1]:.0f} %"


def by_size(few: Pairs, many: Pairs) -> Iterator[Row]:
    """What one more scaled queue costs."""
    for name, before, goal, one, other in (
        ("unchanged", BY_SIZE["unchanged"], 5, few.unchanged, many.unchanged),
        ("first", BY_SIZE["first"], 25, few.first, many.first),
    ):
        costs = [
            1000 * (median(other, figure) - median(one, figure)) / (QUEUES - FEW_QUEUES)
            for figure in (processor, seconds)
        ]
        remark = f"of processor time; {costs[1]:.1f} ms by the clock"
        yield Row(f"an extra scaled queue, {name}", before, costs[0], goal, " ms", remark)


# Programs and parses


def counted(place: Bench) -> Iterator[Row]:
    """What an unchanged run starts, and how often it reads its inventory."""
    mine = place.namespace("bench")
    inventory = place.inventory("counted", {"bench": {**variables(3), "celery_workers_namespace": mine}}, {})
    place.deploy(inventory)
    found = place.counted(inventory)
    (place.folder / "nothing.yml").write_text(NOTHING, encoding="utf-8")
    bare = place.counted(inventory, str(place.folder / "nothing.yml"))
    started = len(found.programs) - len(bare.programs)
    yield Row("programs that an unchanged run starts beside Ansible itself", COUNTED["programs"], started, 1)
    yield Row("inventory parses a run and host", COUNTED["parses"], found.parses, 1)


# Many hosts


def sample_forks() -> int:
    """Forks of the ansible.cfg of the sample inventories; 20 where they have none."""
    for path in sorted((layout.ROOT / "playbooks" / "inventory").rglob("ansible.cfg")):
        for line in path.read_text(encoding="utf-8").splitlines():
            name, _equals, value = line.partition("=")
            if name.strip() == "forks":
                return int(value)
    return 20


def as_files(place: Bench, hosts: int) -> Iterator[Row]:
    """Manifest files of many hosts, the second time."""
    shared = {
        **variables(FEW_QUEUES),
        "celery_workers_output": "manifests",
        "celery_workers_manifests_dir": str(place.folder / "manifests"),
    }
    names = {f"host{number:03}": {"celery_workers_namespace": f"shop{number}"} for number in range(hosts)}
    inventory = place.inventory("files", names, shared)
    place.deploy(inventory, ANSIBLE_FORKS=str(sample_forks()))
    (place.folder / "nothing.yml").write_text(NOTHING, encoding="utf-8")
    bare = place.deploy(inventory, str(place.folder / "nothing.yml"))
    for forks in (5, sample_forks()):
        found = place.deploy(inventory, ANSIBLE_FORKS=str(forks))
        remark = (
            f"{found.processor:.0f} s of processor time; one empty task of Ansible over these hosts takes "
            f"{bare.seconds:.1f} s and {bare.processor:.1f} s"
        )
        what = f"{hosts} hosts of {FEW_QUEUES} queues as files, unchanged, {forks} forks"
        yield Row(what, FILES if hosts == 100 else "-", found.seconds, 12 if hosts == 100 else None, " s", remark)


def fleets(place: Bench, number: int) -> Iterator[Row]:
    """Many fleets on one cluster, the second time."""
    names = {f"fleet{index:03}": {"celery_workers_namespace": place.namespace("bench")} for index in range(number)}
    inventory = place.inventory("fleets", names, variables(FEW_QUEUES))
    place.deploy(inventory)
    found = place.deploy(inventory)
    what = f"{number} fleets of {FEW_QUEUES} queues on a cluster, unchanged, each"
    yield Row(what, FLEETS, found.processor / number, 0.6, " s", "of processor time")


# Looking


def looks(place: Bench, sizes: Iterable[int], rounds: int) -> Iterator[Row]:
    """How long a look at a fleet takes, Ansible's own start taken off."""
    path = place.folder / "two-plays.yml"
    path.write_text(NOTHING + NOTHING, encoding="utf-8")
    for size in sizes:
        inventory = place.running(size)
        bare = median([place.deploy(inventory, str(path)) for _round in range(rounds)], seconds)
        found = [place.deploy(inventory, STATUS) for _round in range(rounds)]
        own = median(found, seconds) - bare
        remark = (
            f"{found[-1].requests} requests; {median(found, processor):.1f} s of processor time, Ansible's included"
        )
        yield Row(f"status of {size} variants, after Ansible's start", "-", own, 2, " s", remark)


# Planning ahead


def simulated(tree: Path) -> Iterator[Row]:
    """How long a day of a large site takes to simulate, whatever else the machine does."""
    env = layout.environment(layout.ROOT / ".venv-test", PYTHONPATH=os.pathsep.join([str(layout.ROOT), str(tree)]))
    command = [sys.executable, "-m", "tests.bench.million"]
    done = subprocess.run(command, cwd=layout.ROOT, env=env, capture_output=True, text=True, check=True)
    took, memory, tasks = map(float, done.stdout.split())
    what = f"{tasks / 1e6:.1f} million tasks of 20 queues in a day, simulated"
    yield Row(what, "-", took, 10, " s", "of processor time, the least possible included")
    yield Row(f"{what}: memory", "-", memory, 500, " MB")


#: Figures of the commit BEFORE, as they were recorded with it on a server of Kubernetes 1.36.
#: CONTRIBUTING.md has what this program measured of that commit beside today's, in one sitting.
BY_SIZE = {"unchanged": "30 ms", "first": "60 ms"}
COUNTED = {"programs": "6", "parses": "11"}
FILES, FLEETS = "150 s", "5.7 s"


def rows(options: Options) -> Iterator[Row]:
    """Every line of the table."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as opened:
        for story in ("plain", "paced"):
            (Path(name) / story).mkdir()
        place = opened.enter_context(bench(Path(name) / "plain", options.kubeconfig, options.tree))
        real = place.cluster.emulator is None
        many = pairs(place, QUEUES, options.rounds, has_kubectl())
        yield from against_kubectl(many, real, paced=False)
        if not real:
            paced = opened.enter_context(bench(Path(name) / "paced", tree=options.tree, paced=True))
            yield from against_kubectl(pairs(paced, QUEUES, options.rounds, has_kubectl()), real, paced=True)
        yield from by_size(pairs(place, FEW_QUEUES, options.rounds, with_kubectl=False), many)
        yield from counted(place)
        yield from as_files(place, options.hosts)
        yield from fleets(place, options.fleets)
        yield from looks(place, options.looks, min(3, options.rounds))
    yield from simulated(options.tree)


def main() -> None:
    """Print the table, and how long planning takes by size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, hosts and fleets")
    parser.add_argument("--tree", type=Path, help="another checkout; run its checks once before, so that it is linked")
    parser.add_argument("--sizes", type=int, nargs="*", default=[1, 10, 100], help="variants of the table by size")
    given = parser.parse_args()
    tree = given.tree.resolve() / "build" / "tree" if given.tree else layout.TREE
    kubeconfig = os.environ.get("KUBECONFIG", "")
    size = (2, 20, 5) if given.quick else (5, 100, 20)
    options = Options(*size, kubeconfig=kubeconfig, tree=tree)
    where = "a cluster" if kubeconfig else "the API emulator"
    print(f"Against {where}; medians of {options.rounds}. Before: commit {BEFORE}.")
    if not kubeconfig:
        pace = ", ".join(f"{name} {1000 * value:g}" for name, value in RECORDED_PACE.items())
        print(
            "The emulator answers faster than any server, which helps kubectl: it does little else than ask.\n"
            f"At a server's pace it waits first, in milliseconds: {pace}."
        )
    print(f"{'what':<66} {'before':>10} {'now':>10} {'goal':>8}  {'verdict':<8} remark")
    for row in rows(options):
        print(row, flush=True)
    if given.sizes and not kubeconfig:
        print()
        planning.show(given.sizes)


if __name__ == "__main__":
    main()
