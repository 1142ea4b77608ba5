# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The raw variables of one host, and what carries their trees and problems through the reading."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .._model.job_keys import Jobs
from .._model.observed import Observed
from .._model.variant_keys import Consumption, Knowledge, Pod, Process, Scaling, Watch
from .._model.watching import PARTS
from .._schema.layers import (
    EMPTY,
    NULL_DEPTH,
    PREFIX,
    Branch,
    Layer,
    Leaf,
    Node,
    layers_of,
    no_dicts,
    overlay,
    stack,
    without_nulls,
)
from .._schema.problems import Problem, Problems
from .._schema.versions import Versions
from .presets import Preset

VARIANT_CLASSES = (Consumption, Process, Pod, Scaling, Jobs, Knowledge, Watch)
LAYERED = ("services", "config", "queue_defaults", "broker", *PARTS, "prometheus")
_EXAMPLES = {
    "broker": ", for example url: redis://redis:6379/0",
    "prometheus": ", for example url: http://prometheus.monitoring:9090",
}
#: A key that may stand for the whole variable.
_WORDS = {"prometheus": "url"}


@dataclass(frozen=True)
class Inventory:
    """The raw variables of one host, as the modules get them.

    :param variables: base variables and layers by name, with the C(celery_workers_) prefix.
    :param openedx_routing: which routes of the preset hold beside those of the inventory; empty for none.
    :param openedx_release: name of the Open edX release, empty for the newest.
    :param observed: what runs, where services take over from it; None while nobody has looked yet.
    :param enabled: names of the parts beside the workers that are wanted.
    :param output: where the objects go; only a cluster keeps what is generated.
    :param versions: what is installed, name to version, as far as the user says so.
    :param known_variables: names of all variables that a role may have; empty where nobody checks.
    :param variable_names: names of the variables that are defined; those of other roles are left alone.
    :param problems: what is wrong with variables that were read before.
    :param explains: whether somebody asks where each number comes from; to tell it takes time.
    """

    namespace: str
    fleet: str = ""
    preset: str = ""
    layers: tuple[Layer, ...] = ()
    explicit_queues: Any = None
    versions: Mapping[str, Any] = field(default_factory=dict)
    known_variables: tuple[str, ...] = ()
    variable_names: tuple[str, ...] = ()
    openedx_routing: str = ""
    openedx_release: str = ""
    routing_delivery: str = "none"
    autoscaler_conflict: str = "fail"
    take_over: bool = False
    enabled: tuple[str, ...] = ()
    output: str = "cluster"
    observed: Observed | None = None
    problems: tuple[Problem, ...] = ()
    explains: bool = True


@dataclass
class Reader:
    """Carries the trees and the collected problems through the reading of one inventory."""

    inventory: Inventory
    preset: Preset
    problems: Problems
    versions: Versions = field(default_factory=Versions)
    #: Variables that are no dict, so that nothing can be read of them.
    refused: set[str] = field(default_factory=set)

    @property
    def fleet(self) -> str:
        """The fleet's id."""
        return self.inventory.fleet or self.inventory.namespace

    def tree(self, name: str) -> Branch:
        """One variable with its layers merged, variants and services that are null made empty."""
        node: Node = Branch({}, PREFIX + name)
        for layer in layers_of(PREFIX + name, self.inventory.layers):
            if layer.value is None or (name in _WORDS and layer.value == ""):
                continue
            if name in _WORDS and isinstance(layer.value, str):
                node = stack(node, Branch({_WORDS[name]: Leaf(layer.value, layer.name)}, layer.name))
                continue
            if not isinstance(layer.value, Mapping):
                example = _EXAMPLES.get(name, "")
                self.problems.add(layer.name, f"this is not a dict; write keys and values under it{example}.")
                self.refused.add(name)
                continue
            depth = NULL_DEPTH.get(name, 0)
            for covered in no_dicts(node, layer.value, depth):
                self.problems.add(covered.path, "this is not a dict; write keys and values under it.")
            node = overlay(node, without_nulls(layer.value, depth), layer.name)
        return node if isinstance(node, Branch) else EMPTY
