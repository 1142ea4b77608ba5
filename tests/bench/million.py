# SPDX-License-Identifier: GPL-3.0-or-later
"""A day of 20 queues and about a million tasks, simulated with the least possible: its processor time and its memory.

Prints seconds, megabytes and tasks. It is a program of its own, so that the memory is that of nothing else.
"""

from __future__ import annotations

import resource
import time

from ansible_collections.queueops.celery.plugins.module_utils._read.reader import Inventory
from ansible_collections.queueops.celery.plugins.module_utils._schema.layers import PREFIX, Layer
from ansible_collections.queueops.celery.plugins.module_utils._schema.problems import Problems
from ansible_collections.queueops.celery.plugins.module_utils.fleet import parse_fleet
from ansible_collections.queueops.celery.plugins.module_utils.simulation import Options, read_work, simulate_fleet

QUEUES = 20
#: About 50,000 tasks a day.
LOAD = {
    "daily": {"low": 167, "high": 4000, "peak_hour": 14, "noise": 0.3},
    "task_seconds": {"p50": 3, "p95": 10},
}
KEYS = {"enable_keda": True, "task_seconds": 4, "longest_task_seconds": 120, "max_wait_seconds": 120}


def main() -> None:
    """Simulate it, and say what that took."""
    start, names = time.process_time(), [f"queue{number}" for number in range(QUEUES)]
    layers = {
        "broker": {"host": "redis"},
        "services": {"app": {"image": "registry.example/app:1", "idempotent": True}},
        "config": {"app": dict.fromkeys(names, KEYS)},
    }
    written = tuple(Layer(PREFIX + name, value) for name, value in layers.items())
    fleet, problems = parse_fleet(Inventory("shop", layers=written)), Problems()
    loads, files = read_work({"app": dict.fromkeys(names, LOAD)}, fleet, lambda path: path, problems, 24.0)
    problems.raise_any()
    results = simulate_fleet(fleet, loads, files, Options()).results
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{time.process_time() - start:.2f} {memory:.0f} {sum(one.tasks for one in results)}")


if __name__ == "__main__":
    main()
