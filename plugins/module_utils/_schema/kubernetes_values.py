# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Single values as Kubernetes writes them: names, labels, images, quantities, counts and ports."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .layers import Leaf, Node
from .problems import Problems
from .quantities import quantity
from .scalars import (
    INVALID,
    MISPLACED,
    Invalid,
    ListOf,
    MapOf,
    Text,
    as_integer,
    refuse,
)

#: Our own label domain. Users do not write into it: selectors and prune depend on it.
OWN_DOMAIN = "celery.queueops.io/"
_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_QUALIFIED = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
DNS_LABEL = Text("a DNS label: lower case letters, digits and '-', at most 63 characters", _LABEL, 63)
DNS_SUBDOMAIN = Text("a DNS name: lower case letters, digits, '-' and '.', at most 253 characters", _SUBDOMAIN, 253)
LABEL_VALUE = Text(
    "text of at most 63 letters, digits, '-', '_' and '.', in quotes if it looks like a number or boolean",
    rf"({_QUALIFIED})?",
    63,
)
QUALIFIED_NAME = Text(
    "a name of at most 63 letters, digits, '-', '_' and '.', with an optional DNS prefix and '/'",
    rf"({_SUBDOMAIN}/)?{_QUALIFIED}",
    317,
)
ENV_NAME = Text(
    "a name of letters, digits, '_', '-' and '.' that does not start with a digit", r"[-._A-Za-z][-._A-Za-z0-9]*"
)
QUOTED_TEXT = Text("text, in quotes if it looks like a number or boolean", r".*", 262144)
SECRET_KEY = Text("a key of letters, digits, '-', '_' and '.'", r"[-._a-zA-Z0-9]+", 253)
_HOST = r"([A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?)(\.[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?)*|\[[0-9a-fA-F:]+\]"
_IMAGE_PATH = r"[a-z0-9]+((\.|_{1,2}|-+)[a-z0-9]+)*"
_IMAGE_TAG = re.compile(r"[A-Za-z0-9_][-A-Za-z0-9_.]{0,127}")
_IMAGE_DIGEST = re.compile(r"[A-Za-z][A-Za-z0-9]*([-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}")


@dataclass(frozen=True)
class Image:
    """The reference of an image, as a container runtime reads it: registry, repository, tag, digest."""

    def __call__(self, node: Node, problems: Problems) -> str | Invalid:
        """The reference."""
        value = node.value if isinstance(node, Leaf) else None
        if not isinstance(value, str) or value == MISPLACED or not value.strip():
            return refuse(self, node, problems)
        fault = _image_fault(value)
        if fault:
            problems.add(node.path, f"no runtime can pull the image {value!r}: {fault}")
            return INVALID
        return value

    def describe(self) -> str:
        """Always the same."""
        return "an image reference such as registry.example/app:1.4"


def _image_fault(value: str) -> str | None:
    if re.search(r"\s", value):
        return "it has white space in it; take that out."
    if "://" in value:
        return f"it is no URL; write {value.partition('://')[2]!r}."
    named, at, digest = value.partition("@")
    if at and not _IMAGE_DIGEST.fullmatch(digest):
        return "what follows '@' is no digest such as sha256:… with all of its digits."
    first, slash, rest = named.partition("/")
    has_registry = bool(slash) and (first == "localhost" or "." in first or ":" in first)
    if has_registry and not re.fullmatch(rf"({_HOST})(:[0-9]{{1,5}})?", first):
        return f"{first!r} is no host of a registry."
    repository, colon, tag = (rest if has_registry else named).partition(":")
    if colon and not _IMAGE_TAG.fullmatch(tag):
        return f"{tag!r} is no tag: at most 128 letters, digits, '_', '-' and '.'." if tag else "its tag is missing."
    if repository != repository.lower():
        return f"a repository has lower case letters only; write {repository.lower()!r}."
    if not re.fullmatch(rf"{_IMAGE_PATH}(/{_IMAGE_PATH})*", repository):
        return f"{repository!r} is no repository: lower case letters and digits, with '.', '_', '-', '/' between them."
    return None


IMAGE = Image()


@dataclass(frozen=True)
class Quantity:
    """A quantity such as 500m, 2 or 1.5Gi; negative ones are refused, as for resources."""

    def __call__(self, node: Node, problems: Problems) -> str | Invalid:
        """The quantity as text, as written."""
        value = node.value if isinstance(node, Leaf) else None
        amount = quantity(value)
        return refuse(self, node, problems) if amount is None or amount < 0 else str(value)

    def describe(self) -> str:
        """Always the same."""
        return "a quantity such as 500m, 2 or 1.5Gi"


@dataclass(frozen=True)
class CountOrPercent:
    """A whole number, or a percentage in quotes."""

    def __call__(self, node: Node, problems: Problems) -> int | str | Invalid:
        """The number, or the percentage as text."""
        number = as_integer(node)
        if number is not None and number >= 0:
            return number
        value = node.value if isinstance(node, Leaf) else None
        if isinstance(value, str) and re.fullmatch(r"\d{1,3}%", value) and int(value[:-1]) <= 100:
            return str(value)
        return refuse(self, node, problems)

    def describe(self) -> str:
        """Always the same."""
        return 'a whole number or a percentage from "0%" to "100%"'


@dataclass(frozen=True)
class PortOrName:
    """A port number or the name of a container's port."""

    def __call__(self, node: Node, problems: Problems) -> int | str | Invalid:
        """The number or name."""
        number = as_integer(node)
        if number is not None and 1 <= number <= 65535:
            return number
        value = node.value if isinstance(node, Leaf) else None
        if (
            isinstance(value, str)
            and re.fullmatch(r"(?=.*[a-z])[a-z0-9]([-a-z0-9]*[a-z0-9])?", value)
            and len(value) <= 15
        ):
            return str(value)
        return refuse(self, node, problems)

    def describe(self) -> str:
        """Always the same."""
        return "a port from 1 to 65535 or the name of one"


def not_ours(name: str) -> str | None:
    """Why a label may not be written by users, if so."""
    if name.startswith(OWN_DOMAIN):
        return f"labels of {OWN_DOMAIN} are ours: selectors and prune depend on them. Use a label domain of your own."
    return None


#: What an object has that was copied from a cluster: each apply, and each rollout, writes them anew.
_WRITTEN_BY_KUBERNETES = ("kubectl.kubernetes.io/last-applied-configuration", "deployment.kubernetes.io/revision")


def not_kept(name: str) -> str | None:
    """Why an annotation may not be written by users, if so."""
    if name in _WRITTEN_BY_KUBERNETES:
        return "Kubernetes and its clients write this annotation themselves, and would write over yours; leave it out."
    return not_ours(name)


LABELS = MapOf(QUALIFIED_NAME, LABEL_VALUE, not_ours)
ANNOTATIONS = MapOf(QUALIFIED_NAME, QUOTED_TEXT, not_kept)
SECRET_NAMES = ListOf(DNS_SUBDOMAIN, unique=True)
