# SPDX-License-Identifier: GPL-3.0-or-later
"""How long a run takes, by size of the fleet, beside the least that kubernetes.core needs for the same objects.

Baseline, named "bare": a playbook of one kubernetes.core.k8s task that applies the same manifests from a file.
The API is the emulator, which answers in about a millisecond: compare the figures with each other, not with a cluster.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import yaml

from tests.bench.sites import Bench, bench, manifests, variables

BARE = """
- hosts: all
  connection: local
  gather_facts: false
  tasks:
    - kubernetes.core.k8s:
        apply: true
        definition: "{{ lookup('ansible.builtin.file', manifests) | from_yaml_all }}"
"""


def computed(variants: int) -> float:
    """Seconds that the manifests of so many variants take."""
    start = time.perf_counter()
    manifests(variants, "bench")
    return time.perf_counter() - start


def measure(place: Bench, variants: int) -> str:
    """One line of the table."""
    mine, theirs = place.namespace("bench"), place.namespace("bench-bare")
    objects = manifests(variants, theirs)
    path = place.folder / "manifests.yaml"
    path.write_text(yaml.safe_dump_all(objects), encoding="utf-8")
    (place.folder / "bare.yml").write_text(BARE, encoding="utf-8")
    ours = place.inventory("size", {"bench": {**variables(variants), "celery_workers_namespace": mine}}, {})
    other = place.inventory("bare-size", {"bench": {"manifests": str(path)}}, {})
    bare = [place.deploy(other, str(place.folder / "bare.yml")) for _run in range(2)]
    first = place.deploy(ours)
    before = place.cluster.versions(mine)
    again = place.deploy(ours)
    if before != place.cluster.versions(mine):
        sys.exit(f"{variants} variants: a second run changed something")
    plan = min(computed(variants) for _attempt in range(3))
    return (
        f"{variants:>8} {len(objects):>8} {plan:>9.3f} {first.seconds:>8.1f} {again.seconds:>8.1f} "
        f"{bare[0].seconds:>8.1f} {bare[1].seconds:>8.1f} {first.seconds / bare[0].seconds:>6.2f} "
        f"{again.seconds / bare[1].seconds:>6.2f} {first.requests / len(objects):>9.2f} "
        f"{again.requests / len(objects):>9.2f}"
    )


def show(sizes: Iterable[int]) -> None:
    """Print the table."""
    print("Seconds; ratios are the role's time over the bare task's. The second run changed nothing in any line.")
    print(
        f"{'variants':>8} {'objects':>8} {'compute':>9} {'first':>8} {'second':>8} {'bare 1st':>8} {'bare 2nd':>8} "
        f"{'ratio':>6} {'ratio':>6} {'req/obj 1':>9} {'req/obj 2':>9}"
    )
    for size in sizes:
        with tempfile.TemporaryDirectory() as name, bench(Path(name)) as place:
            print(measure(place, size), flush=True)
