#!/usr/bin/python
# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Simulates KEDA, the HPA and the workers of a fleet over a load."""

from __future__ import annotations

DOCUMENTATION = r"""
module: scaling_plan
short_description: Simulate how a fleet scales over a load, and what that costs
version_added: 1.0.0
description:
  - Builds the ScaledObjects of an inventory as M(queueops.celery.keda_specs) does and plays them over the work that
    O(loads) describes, task by task, with KEDA, the HorizontalPodAutoscaler and the workers as they are (KEDA 2.20,
    Kubernetes 1.36, Celery 5.6).
  - Tells how long work waits, how many pods that takes, what is cut when pods go, and how far the cost is from the
    least possible one.
  - Computes only. It needs no cluster. The same input gives the same result.
author:
  - queueops (@queueops)
extends_documentation_fragment:
  - queueops.celery._attributes
  - queueops.celery._attributes.pure
  - queueops.celery._fleet
  - queueops.celery._fleet.observed
options:
  loads:
    description:
      - Service to variant to a load, or to a list of loads that come together. The keys of a load are on the page
        "Sizing your queues" of the collection.
      - Variants without a load are left out.
    type: dict
    default: {}
  hours:
    description: How long the loads send. The simulation goes on until the work is done and the pods are gone.
    type: float
    default: 24
  seed:
    description: Number that random choices come from.
    type: int
    default: 1
  bound:
    description: Whether the least possible cost is worked out as well, which may take as long as the simulation.
    type: bool
    default: true
  series:
    description: Whether the result holds numbers over time, and every change of the number of pods.
    type: bool
    default: false
  suggest:
    description:
      - Whether other numbers are looked for that keep C(max_wait_seconds) at less cost, by simulating them. This takes
        some tens of simulations for each variant.
    type: bool
    default: false
  budget:
    description:
      - With O(suggest), pod-hours that a variant may cost in the simulated time. The shortest wait for them is looked
        for. V(0) looks for the least cost that keeps C(max_wait_seconds).
    type: float
    default: 0
  compare:
    description:
      - Whether the same work is also simulated over the Tutor plugin's defaults, over KEDA's, with what O(suggest)
        found, and in one shared queue for each service whose variants have loads.
    type: bool
    default: false
requirements:
  - python >= 3.11
seealso:
  - module: queueops.celery.keda_specs
"""

EXAMPLES = r"""
- name: Simulate a day of a shop
  queueops.celery.scaling_plan:
    namespace: shop
    broker:
      host: redis
    services:
      billing:
        image: registry.example/billing:1.4
        idempotent: true
    config:
      billing:
        default:
          enable_keda: true
          max_wait_seconds: 120
    loads:
      billing:
        default:
          daily:
            low: 20
            high: 600
            peak_hour: 14
          task_seconds:
            p50: 4
            p95: 30
  register: day

- name: Refuse a change that makes work wait too long
  ansible.builtin.assert:
    that: day.plans | rejectattr('meets_goal') | length == 0
    fail_msg: "{{ day.text | join('\n') }}"
"""

RETURN = r"""
plans:
  description: One row for each variant that has a load. Times are seconds.
  returned: success
  type: list
  elements: dict
  contains:
    service:
      description: Name of the service.
      type: str
      sample: billing
    variant:
      description: Name of the variant.
      type: str
      sample: default
    formula:
      description: Pods that the work asks for, as it would be sent to KEDA. Empty where one trigger says it by itself.
      type: str
      sample: max((backlog_p0 + backlog_p3) / 20, min(inflight / 2, max(pods, 1)))
    goal:
      description: C(max_wait_seconds) of the variant.
      type: float
      sample: 600
    meets_goal:
      description: Whether 95 % of the tasks began within the goal, and every task came to its end.
      type: bool
      sample: true
    tasks:
      description: Tasks that came.
      type: int
      sample: 2417
    wait_p50:
      description: Time within which half of the tasks began. RV(plans[].wait_p95), RV(plans[].wait_longest) and
        RV(plans[].wait_mean) are its like.
      type: float
      sample: 3.1
    wait_p95:
      description: Time within which 95 % of the tasks began.
      type: float
      sample: 41.0
    wait_longest:
      description: Time that the slowest task waited.
      type: float
      sample: 88.2
    wait_mean:
      description: Time that tasks waited on average.
      type: float
      sample: 8.4
    windows_within:
      description: Those of RV(plans[].windows) in which 95 % of the tasks began within the goal.
      type: int
    windows:
      description: Ten-minute windows in which tasks came.
      type: int
      sample: 144
    share_within:
      description: Share of them in which 95 % of the tasks began within the goal.
      type: float
      sample: 0.993
    drain:
      description: Time from the last task until nothing was left; none where something was.
      type: float
      sample: 61.0
    pod_seconds:
      description: Time from creation to deletion of all pods.
      type: float
      sample: 130452.0
    busy_seconds:
      description: Time in which they ran something. RV(plans[].idle_seconds) is the rest.
      type: float
      sample: 90120.5
    idle_seconds:
      description: Time in which they ran nothing.
      type: float
      sample: 40331.5
    bound:
      description: The least pod-seconds for which every task could begin within the goal, whoever scales; none without
        O(bound).
      type: float
      sample: 88012.1
    bound_reached:
      description: Pod-seconds of a plan that knows every task beforehand. The best one is between both. None for more
        than 30,000 tasks.
      type: float
      sample: 95321.7
    ratio:
      description: RV(plans[].pod_seconds) as a multiple of RV(plans[].bound).
      type: float
      sample: 1.48
    starts:
      description: Pods that were created.
      type: int
      sample: 57
    peak_pods:
      description: Most pods at the same time, stopping ones included.
      type: int
      sample: 8
    peak_connections:
      description: Connections to the broker at that time.
      type: int
      sample: 48
    scale_events:
      description: Changes of the number of pods.
      type: int
      sample: 61
    flaps:
      description: How often pods went and came again within ten minutes.
      type: int
      sample: 2
    interrupted:
      description: Runs that were cut by a kill.
      type: int
      sample: 0
    given_back:
      description: Runs that a stopping worker gave back.
      type: int
      sample: 0
    lost:
      description: Tasks that are gone for ever.
      type: int
      sample: 0
    repeated:
      description: Tasks that the broker delivered again while they ran.
      type: int
      sample: 0
    failed:
      description: Runs that failed, as the load says.
      type: int
      sample: 0
    done:
      description: Runs that ended well.
      type: int
      sample: 2417
    unfinished:
      description: Tasks that were not done at the end, or had not come.
      type: int
      sample: 0
    stranded:
      description: Those of them that killed workers left behind, and that no worker gives back.
      type: int
      sample: 0
    seconds:
      description: Time that was simulated.
      type: float
      sample: 86700.0
    series:
      description: Numbers over time, with O(series).
      type: dict
    changes:
      description: Every change of the number of pods, with who made it and why, with O(series).
      type: list
      elements: dict
text:
  description: The same for people, a line each.
  returned: success
  type: list
  elements: str
replays:
  description: One row for each variant whose load names the pods that there were, or the messages that waited.
  returned: success
  type: list
  elements: dict
  contains:
    title:
      description: The variant.
      type: str
      sample: billing/default
    samples:
      description: Moments that were compared.
      type: int
      sample: 1440
    equal:
      description: Share of them in which the simulation has the same number of pods.
      type: float
      sample: 0.987
    apart:
      description: Pods that they differ by on average.
      type: float
      sample: 0.02
    cost_off:
      description: By how much of the real pod-seconds the simulated ones differ.
      type: float
      sample: -0.011
    wait_was:
      description: Seconds within which 95 % of the tasks began, worked out of the messages that waited.
      returned: if the load names them
      type: float
      sample: 95.0
    wait_simulated:
      description: The same of the simulation.
      returned: if the load names them
      type: float
      sample: 99.0
comparison:
  description: One row for each way of scaling the work of a variant or a service, with O(compare).
  returned: success
  type: list
  elements: dict
  contains:
    title:
      description: The variant, or the service.
      type: str
      sample: billing/default
    way:
      description:
        - How it is scaled, such as V(today), V(as suggested), V(Tutor plugin's defaults), V(KEDA's defaults),
          V(in queues of their own) or V(in one shared queue).
      type: str
      sample: KEDA's defaults
    wait_p95:
      description: Seconds within which 95 % of the tasks began. Null in the row of a service.
      type: float
      sample: 84.0
    share_within:
      description: Share of the ten-minute windows in which 95 % of the tasks began in time. Null for a service.
      type: float
      sample: 0.993
    peak_pods:
      description: Most pods at the same time. This and all below is null for a variant in a shared queue.
      type: int
      sample: 4
    pod_seconds:
      description: Seconds from creation to deletion, of all pods.
      type: float
      sample: 143028.0
    ratio:
      description: The same as a multiple of the least possible. Null in the row of a service.
      type: float
      sample: 1.35
    interrupted:
      description: Runs that were cut by a kill.
      type: int
      sample: 41
    unfinished:
      description: Tasks that were not done at the end.
      type: int
      sample: 0
suggestions:
  description: One row for each variant that was simulated, with O(suggest).
  returned: success
  type: list
  elements: dict
  contains:
    service:
      description: Name of the service.
      type: str
      sample: billing
    variant:
      description: Name of the variant.
      type: str
      sample: default
    keys:
      description: Keys to write under the variant. Empty where nothing is better.
      type: dict
      sample:
        list_length: 8
    steps:
      description: Each of them with its reason and the simulated difference.
      type: list
      elements: dict
    before:
      description: Row of the variant as the inventory has it.
      type: dict
    after:
      description: Row of the variant with these keys.
      type: dict
    front:
      description: What was tried and is not beaten in both wait and cost, the cheapest first.
      type: list
      elements: dict
yaml:
  description: The same as lines to paste into the inventory, with reasons as comments.
  returned: success
  type: list
  elements: str
unloaded:
  description: Variants that have no load.
  returned: success
  type: list
  elements: str
  sample: [billing/reports]
problems:
  description: Everything that is wrong with the inventory, each with the path where it was written.
  returned: failure
  type: list
  elements: str
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.queueops.celery.plugins.module_utils._model.observed import observed_from_data
from ansible_collections.queueops.celery.plugins.module_utils._read.module_options import (
    fleet_options,
    inventory_from,
    observed_option,
)
from ansible_collections.queueops.celery.plugins.module_utils._schema.placeholders import exit_without_placeholders
from ansible_collections.queueops.celery.plugins.module_utils._schema.problems import InventoryError, Problems
from ansible_collections.queueops.celery.plugins.module_utils._simulation.suggest import Suggestion, yaml_of
from ansible_collections.queueops.celery.plugins.module_utils._simulation.tables import page_of, rows_of
from ansible_collections.queueops.celery.plugins.module_utils._simulation.ways import lines_of
from ansible_collections.queueops.celery.plugins.module_utils.fleet import read_fleet
from ansible_collections.queueops.celery.plugins.module_utils.simulation import (
    Options,
    check_options,
    compare_ways,
    read_work,
    simulate_fleet,
    suggest_for,
)


def argument_spec() -> dict[str, Any]:
    """What the module takes."""
    return {
        **fleet_options(),
        **observed_option(),
        "loads": {"type": "dict", "default": {}},
        "hours": {"type": "float", "default": 24},
        "seed": {"type": "int", "default": 1},
        "bound": {"type": "bool", "default": True},
        "series": {"type": "bool", "default": False},
        "suggest": {"type": "bool", "default": False},
        "budget": {"type": "float", "default": 0},
        "compare": {"type": "bool", "default": False},
    }


def main(make: Any = None) -> None:
    """Entry point.

    :param make: what makes the module, where it does not run as a program.
    """
    module = (make or AnsibleModule)(argument_spec=argument_spec(), supports_check_mode=True)
    params = module.params
    observed = observed_from_data(params["observed"])
    fleet = read_fleet(module, observed)
    problems = Problems()
    options = Options(hours=params["hours"], seed=params["seed"], with_bound=params["bound"])
    check_options(options, params["budget"], problems)
    loads, files = read_work(params["loads"], fleet, _text_of, problems, options.hours)
    try:
        problems.raise_any()
    except InventoryError as error:
        module.fail_json(msg=str(error), problems=[str(problem) for problem in error.problems])
    planned = simulate_fleet(fleet, loads, files, options)
    for warning in planned.warnings:
        module.warn(warning)
    suggestions: tuple[Suggestion, ...] = ()
    inventory = inventory_from(params, observed)
    if params["suggest"]:
        suggestions = suggest_for(fleet, inventory, planned, files, options, params["budget"] or None)
    ways = compare_ways(fleet, inventory, planned, files, options, suggestions) if params["compare"] else ()
    text = page_of(planned.results, [one.text for one in planned.replays])
    exit_without_placeholders(
        module,
        changed=False,
        plans=rows_of(planned.results, params["series"]),
        text=[*text, *([""] if ways else []), *lines_of(ways)],
        replays=[one.as_data() for one in planned.replays],
        comparison=[one.as_data() for one in ways],
        suggestions=[one.as_data() for one in suggestions],
        yaml=yaml_of(suggestions),
        unloaded=list(planned.unloaded),
    )


def _text_of(path: str) -> str:
    return Path(path).read_text(encoding="utf-8")


if __name__ == "__main__":
    main()
