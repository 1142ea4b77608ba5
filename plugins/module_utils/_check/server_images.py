# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images of Flower and of the exporter whose tag says that they are too old for what they are told.

Source: options of Flower 0.9 to 2.2 (flower/options.py) and of celery-exporter 0.10 to 0.12.2 (src/cli.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from .._schema.versions import Version, as_text

#: The last part of an image's name, by which it is that program and its tag the program's version.
_PROGRAMS = {"flower": "flower", "exporter": "celery-exporter"}
#: Names of the programs, for people.
_TITLES = {"flower": "Flower", "exporter": "celery-exporter"}
_TAG = re.compile(r"v?(\d+(?:\.\d+){1,2})(?:[-_+].*)?")

#: Arguments of the exporter that came later than its oldest release that takes ours.
_LATER_ARGUMENTS: dict[str, tuple[Version, str]] = {
    "static-label": ((0, 11), "0.11"),
    "default-queue-name": ((0, 12), "0.12"),
    "queue-wait-buckets": ((0, 12, 3), "a release after 0.12.2"),
    "generic-hostname-worker-task-metric": ((0, 12, 3), "a release after 0.12.2"),
}


@dataclass(frozen=True)
class TooOld:
    """Why an image cannot do what it is told.

    :param key: the key to change: C(image) or C(extra_params).
    """

    key: str
    message: str


def image_version(part: str, image: str) -> Version | None:
    """The version that an image's tag names; None where the image is another program's or the tag names none."""
    name, _at, _digest = image.partition("@")
    path, _colon, tag = name.rpartition(":")
    match = _TAG.fullmatch(tag)
    if not path or "/" in tag or path.rpartition("/")[2] != _PROGRAMS[part] or match is None:
        return None
    return tuple(int(number) for number in match.group(1).split("."))


def too_old(part: str, image: str, read_only: bool, words: tuple[str, ...]) -> Iterator[TooOld]:
    """What an image is too old for.

    :param read_only: of Flower.
    :param words: further arguments.
    """
    version = image_version(part, image)
    if version is None:
        return
    found = f"{_TITLES[part]} {as_text(version)}"
    if part == "flower" and _below(version, (2, 0)):
        yield TooOld("image", f"{found} does not know the options that this role sets; write Flower 2.1 or later.")
    elif part == "flower" and read_only and _below(version, (2, 1)):
        yield TooOld(
            "image",
            f"{found} ignores read_only, so everyone who logs in could revoke tasks and stop workers; write Flower "
            "2.1 or later, or read_only: false.",
        )
    elif part == "exporter" and _below(version, (0, 10)):
        yield TooOld("image", f"{found} does not know the arguments that this role sets; write 0.10 or later.")
    elif part == "exporter":
        for word in words:
            name = word.lstrip("-").partition("=")[0]
            needed, release = _LATER_ARGUMENTS.get(name, ((), ""))
            if release and _below(version, needed):
                yield TooOld(
                    "extra_params", f"--{name} needs {release}, and {found} would not start with it; leave it out."
                )


def _below(version: Version, wanted: Version) -> bool:
    """Whether every release that a tag may stand for is older: C(0.12) may be any 0.12.x."""
    return version[: len(wanted)] < wanted[: len(version)]
