# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kubernetes' quantities, and the resources that they are given for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from .problems import suggest

_QUANTITY = re.compile(
    r"([+-]?(?:[0-9]{1,30}(?:\.[0-9]{0,30})?|\.[0-9]{1,30}))(Ki|Mi|Gi|Ti|Pi|Ei|m|u|n|k|M|G|T|P|E|[eE][+-]?[0-9]{1,2})?"
)
_SUFFIXES: dict[str, Decimal] = {
    "": Decimal(1),
    **{unit: Decimal(1024) ** power for power, unit in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), 1)},
    **{unit: Decimal(1000) ** power for power, unit in enumerate(("n", "u", "m"), -3)},
    **{unit: Decimal(1000) ** power for power, unit in enumerate(("k", "M", "G", "T", "P", "E"), 1)},
}

#: Resources of a container that have no domain in their name.
CONTAINER_RESOURCES = ("cpu", "memory", "ephemeral-storage")
_HUGE_PAGES = "hugepages-"
#: What people write for them.
_MEANT = {
    "cpus": "cpu",
    "vcpu": "cpu",
    "cores": "cpu",
    "mem": "memory",
    "ram": "memory",
    "disk": "ephemeral-storage",
    "storage": "ephemeral-storage",
    "gpu": "nvidia.com/gpu",
}


def quantity(value: Any) -> Decimal | None:
    """What a Kubernetes quantity stands for, in bytes or cores; None if it is none."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    match = _QUANTITY.fullmatch(str(value))
    if not match:
        return None
    number, suffix = Decimal(match[1]), match[2] or ""
    if suffix[:1] in ("e", "E") and len(suffix) > 1 and suffix != "Ei":
        return number * Decimal(10) ** int(suffix[1:])
    return number * _SUFFIXES[suffix]


def resource_fault(name: str, amount: Any) -> str | None:
    """Why a container cannot ask for an amount of a resource, if so."""
    is_extended = "/" in name and "kubernetes.io/" not in name
    if not (is_extended or name in CONTAINER_RESOURCES or name.startswith(_HUGE_PAGES)):
        meant = _MEANT.get(name.lower())
        hint = f"did you mean {meant!r}?" if meant else suggest(name, CONTAINER_RESOURCES)
        return f"a container has no resource {name!r}; {hint} A device is named by its vendor: nvidia.com/gpu."
    size = quantity(amount) or Decimal(0)
    if size != size.to_integral_value() and name != "cpu":
        unit = " In a quantity m is a thousandth; write Mi for mebibytes." if str(amount).endswith("m") else ""
        return f"{amount} of {name} is a fraction; write a whole number.{unit}"
    if name.startswith(_HUGE_PAGES) and not quantity(name.removeprefix(_HUGE_PAGES)):
        return f"{name!r} names no size of a page; write hugepages-2Mi or hugepages-1Gi."
    return None


def requirements_fault(value: Mapping[str, Any]) -> str | None:
    """Why the requests and limits of a container do not go together, if so."""
    requests, limits = value.get("requests", {}), value.get("limits", {})
    for name, request in requests.items():
        limit = limits.get(name)
        if limit is not None and (quantity(request) or 0) > (quantity(limit) or 0):
            return f"the {name} request {request} is above its limit {limit}."
        if "/" in name or name.startswith(_HUGE_PAGES):
            if limit is None:
                return f"{name} needs a limit, and a request only if it is equal."
            if quantity(request) != quantity(limit):
                return f"the {name} request {request} and its limit {limit} must be equal."
    given = {*requests, *limits}
    if any(name.startswith(_HUGE_PAGES) for name in given) and not given & {"cpu", "memory"}:
        return "huge pages need cpu or memory beside them."
    return None
