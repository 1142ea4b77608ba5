# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which KEDA runs, as far as a namespace tells: it writes its version on each HPA that it makes (2.0 to 2.20).

It does so anew at each start, so that an upgrade is seen: but only where it can build every trigger of the
ScaledObject, so the HPA of one that is not ready may be of the KEDA before. Where it has made no HPA yet, nothing
tells.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .._schema.versions import Version
from .readiness import condition

_HPA, _SCALED_OBJECT = "HorizontalPodAutoscaler", "ScaledObject"
_VERSION = "app.kubernetes.io/version"


def installed_keda(live: Mapping[tuple[str, str], Mapping[str, Any]]) -> tuple[Version, str] | None:
    """The version of the KEDA that runs, and the HPA that tells it; None where nothing does.

    :param live: the objects of a namespace as an API server returned them, by kind and name.
    """
    found = []
    for (kind, name), item in live.items():
        version = re.fullmatch(r"v?(\d+)\.(\d+)\.(\d+)", _labels(item).get(_VERSION, "")) if kind == _HPA else None
        if version is not None and _is_current(live.get((_SCALED_OBJECT, _owner(item)))):
            found.append((tuple(int(part) for part in version.groups()), name))
    # While it is upgraded some are of the version before.
    return max(found, default=None)


def _owner(hpa: Mapping[str, Any]) -> str:
    """The ScaledObject that controls an HPA. Labels do not tell: KEDA copies those of a ScaledObject over its own."""
    for owner in (hpa.get("metadata") or {}).get("ownerReferences") or ():
        is_of_keda = str(owner.get("apiVersion", "")).startswith("keda.sh/") and owner.get("kind") == _SCALED_OBJECT
        if is_of_keda and owner.get("controller") is True:
            return str(owner.get("name", ""))
    return ""


def _is_current(scaled_object: Mapping[str, Any] | None) -> bool:
    """Whether the version on the HPA of a ScaledObject is that of the KEDA that runs."""
    if scaled_object is None or _VERSION in _labels(scaled_object):
        return False
    return condition(dict(scaled_object), "Ready").get("status") == "True"


def _labels(item: Mapping[str, Any]) -> dict[str, str]:
    return dict((item.get("metadata") or {}).get("labels") or {})
