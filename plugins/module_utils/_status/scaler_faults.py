# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an error of KEDA's scaler means. KEDA passes on the words of the broker or of the network."""

from __future__ import annotations

import re

_LOGIN = re.compile(
    r"WRONGPASS|NOAUTH|NOPERM|invalid (?:username|password|credentials)|ACCESS_REFUSED|\b40[13]\b|[Uu]nauthorized"
    r"|AccessDenied|InvalidClientTokenId|SignatureDoesNotMatch|without any password configured|authentication failed",
    re.IGNORECASE,
)
#: What RabbitMQ's management says of a queue that nobody has declared.
_NO_QUEUE = re.compile(r"404 Not Found.*Object Not Found", re.DOTALL)
_UNREACHABLE = re.compile(
    r"connection refused|no such host|i/o timeout|no route to host|network is unreachable|deadline exceeded|EOF"
    r"|connection reset|certificate|tls:",
    re.IGNORECASE,
)


#: Kinds of errors of a scaler, and by which words they are known.
_WORDS = (("queue", _NO_QUEUE), ("login", _LOGIN), ("reach", _UNREACHABLE))
_FAULTS = {
    "login": (
        "the scaler cannot log in to the broker",
        "check the login in celery_workers_broker, then run queueops.celery.deploy",
    ),
    "reach": (
        "the scaler cannot reach the broker",
        "check that the broker runs, and that KEDA's namespace may connect to it",
    ),
    "queue": (
        "RabbitMQ knows no such queue in this virtual host",
        "nothing to do before a first message is sent; after it, compare virtual_host and queues with the producer's",
    ),
    "other": ("KEDA cannot scale it", "read kubectl describe scaledobject, and the log of KEDA's operator"),
}


def kind_of(error: str) -> str:
    """Kind of an error: C(queue), C(login), C(reach) or C(other)."""
    return next((name for name, words in _WORDS if words.search(error)), "other")


def in_words(kind: str, runs_as_jobs: bool) -> tuple[str, str]:
    """What an error of a kind says, and what to do about it."""
    what, fix = _FAULTS[kind]
    return what, fix.replace("scaledobject", "scaledjob") if runs_as_jobs else fix
