# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rights that an API server found missing, and who grants them."""

from __future__ import annotations

import re

#: How an API server says that somebody may not do something. Quotes are escaped where it is told inside of JSON.
_REFUSED = re.compile(
    r'User \\?"[^"\\]+\\?" cannot (?P<verb>[a-z]+) resource \\?"(?P<resource>[^"\\]+)\\?" '
    r'in API group \\?"(?P<group>[^"\\]*)\\?" '
    r'(?:in the namespace \\?"(?P<namespace>[^"\\]+)\\?"|at the cluster scope)'
)
GRANTED_BY = "ansible-playbook queueops.celery.rbac"
_SHOWN = 5


def missing_rights(text: str) -> list[str]:
    """Each right that a text says is missing, once: C(create on deployments.apps in namespace shop)."""
    found = []
    for match in _REFUSED.finditer(text):
        resource, slash, subresource = match["resource"].partition("/")
        group = f".{match['group']}" if match["group"] else ""
        where = f"in namespace {match['namespace']}" if match["namespace"] else "in the whole cluster"
        found.append(f"{match['verb']} on {resource}{group}{slash}{subresource} {where}")
    return list(dict.fromkeys(found))


def refusal_in(text: str) -> str:
    """The first of them in the server's own words, without the object that it was about; empty if there is none."""
    found = _REFUSED.search(text)
    return found[0] if found else ""


def grants(text: str) -> str:
    """What grants the rights that a text says are missing, as half a sentence; empty if it tells of none."""
    found = missing_rights(text)
    return f"grant {', '.join(found)}, as {GRANTED_BY} does" if found else ""


def way_out(text: str) -> str:
    """One sentence that names the missing rights of a text and who grants them; empty if it tells of none."""
    found = missing_rights(text)
    if not found:
        return ""
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return (
        f"The account lacks: {', '.join(found[:_SHOWN])}{more}. An administrator grants what this inventory needs with "
        f"{GRANTED_BY}."
    )


def advised(text: str, advice: str = "") -> str:
    """A text that tells of a failure, with what to do about the rights that it says are missing.

    :param advice: what to do instead of the usual.
    """
    found = way_out(text) or (advice if GRANTS_MORE in text else "")
    return f"{text}\n{advice or found}" if found else text


#: Said to who grants what he does not hold himself.
GRANTS_MORE = "is attempting to grant RBAC permissions not currently held"
