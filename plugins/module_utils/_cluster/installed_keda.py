# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which KEDA runs, as far as a namespace tells: it writes its version on each HPA that it makes (2.0 to 2.20).

It does so anew at each start, so that an upgrade is seen. Where it has made no HPA yet, nothing tells.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .._schema.versions import Version

_HPA = "HorizontalPodAutoscaler"
_VERSION, _MANAGER, _OF = "app.kubernetes.io/version", "app.kubernetes.io/managed-by", "scaledobject.keda.sh/name"


def installed_keda(live: Mapping[tuple[str, str], Mapping[str, Any]]) -> tuple[Version, str] | None:
    """The version of the KEDA that runs, and the HPA that tells it; None where nothing does.

    :param live: the objects of a namespace as an API server returned them, by kind and name.
    """
    found = []
    for (kind, name), item in live.items():
        labels = _labels(item) if kind == _HPA else {}
        version = re.fullmatch(r"v?(\d+)\.(\d+)\.(\d+)", labels.get(_VERSION, ""))
        # KEDA copies the labels of a ScaledObject over its own.
        is_copied = _VERSION in _labels(live.get(("ScaledObject", labels.get(_OF, "")), {}))
        if labels.get(_MANAGER) == "keda-operator" and version is not None and not is_copied:
            found.append((tuple(int(part) for part in version.groups()), name))
    # While it is upgraded some are of the version before.
    return max(found, default=None)


def _labels(item: Mapping[str, Any]) -> dict[str, str]:
    return dict((item.get("metadata") or {}).get("labels") or {})
