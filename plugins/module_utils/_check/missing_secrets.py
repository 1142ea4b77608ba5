# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets that the inventory names and that the namespace does not have."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from .._build.scalers import scaler_secrets
from .._build.secret_table import needed_secrets
from .._build.secrets import secret_names
from .._model.fleet import Fleet
from .._model.observed import Observed


def missing_logins(fleet: Fleet, observed: Observed) -> Iterator[str]:
    """What KEDA alone reads. Without it KEDA scales nothing, and no pod says why."""
    own = secret_names(fleet)
    for path, name, variants in scaler_secrets(fleet):
        if name not in own and _is_missing(name, observed):
            yield (
                f"{path}: there is no Secret {name} in {fleet.namespace}, so KEDA could not log in, and would not "
                f"scale {', '.join(variants)}. Create it first, or correct the name."
            )


def missing_secrets(
    manifests: Iterable[Mapping[str, Any]], own: Collection[str], fleet: Fleet, observed: Observed
) -> Iterator[str]:
    """What something else may still bring. Pods that a scaler starts later tell it to nobody.

    :param own: names of the Secrets that the role makes.
    """
    if observed.secrets is None:
        return
    for name, readers in needed_secrets(manifests).items():
        if name not in own and _is_missing(name, observed):
            shown, more = list(readers)[:3], len(readers) - 3
            rest = f" and {more} more" if more > 0 else ""
            yield (
                f"There is no Secret {name} in {fleet.namespace}. Until it is there, these do not work: "
                f"{', '.join(shown)}{rest}. Create it, or correct the name."
            )


def _is_missing(name: str, observed: Observed) -> bool:
    """Whether a Secret is not there. Where there is no namespace yet, that is told instead."""
    return observed.secrets is not None and observed.namespace_exists and name not in observed.secrets
