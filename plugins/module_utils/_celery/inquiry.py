# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The question that is asked in a running worker's container, and its answer.

It runs with the image's own Python and the app's own settings, because nobody else can reach every broker and because
only the app knows its tasks. Nothing secret is in the answer.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from typing import Any

from .programs import ask

#: Transport options that decide where messages are, so that a worker without them is deaf. Only their values are told.
PLACE_OPTIONS = ("global_keyprefix", "sep", "priority_steps", "queue_name_prefix", "master_name", "region")


@dataclass(frozen=True)
class Question:
    """What is asked.

    :param group: what the worker's node name begins with; with a C(%) in it, the name as its command line has it.
    :param settings: the worker's settings as its command line has them.
    :param hash: Redis key of the messages that are held, with its prefix; empty for none.
    :param is_shared: whether the hash is the one of everybody, under the name that the app gives it.
    :param queues: queues of the variant. Of a shared hash only their messages count.
    :param canary: whether a harmless message is sent through the queue to see where it shows.
    :param enforced: whether the worker sets its settings over the app's own.
    :param inspects: whether the worker is asked over remote control.
    :param pods: names of pods whose workers are asked for the tasks that they run; empty for none.
    :param consumes: what becomes of their consuming: C(pause) takes nothing new from any queue, C(resume) takes from
        C(queues) again, empty leaves it.
    :param excluded: queues that they do not take from although the app has them.
    :param watches: whether what each of the pods holds is told, as soon as that changes. Those that do not answer are
        left out, and are no error.
    :param counts: whether the messages that wait in the queues are counted.
    :param nodes: names of nodes of which it is counted what they run and what they hold for later; empty for none.
    :param patience: seconds to wait until they run nothing, or to move messages.
    :param leaves: whether to count what waits in each queue, and to name the workers of other pods that consume it.
    :param moves_to: queue that everything in the queues is moved to; empty moves nothing.
    """

    app: str
    group: str
    settings: tuple[str, ...] = ()
    hash: str = ""
    is_shared: bool = False
    queues: tuple[str, ...] = ()
    canary: bool = False
    inspects: bool = False
    enforced: bool = False
    pods: tuple[str, ...] = ()
    consumes: str = ""
    excluded: tuple[str, ...] = ()
    watches: bool = False
    patience: int = 0
    timeout: int = 10
    counts: bool = False
    nodes: tuple[str, ...] = ()
    leaves: bool = False
    moves_to: str = ""


@dataclass(frozen=True)
class Answer:
    """What came back; None and empty where it was not asked.

    :param held: messages in the hash.
    :param own_options: names of the transport options in the app's own settings.
    :param own_hash: the hash of held messages that the app's own settings name.
    :param own_places: those of them that decide where messages are, with their values.
    :param shadowed: settings of the command line that the app's own, under a prefix, win over.
    :param tasks: registered task to whether it acknowledges late, and whether it is given back when its child dies.
    :param running: names of the tasks that the asked pods run, with those they have reserved where they take no more.
    :param works: pod to what its workers hold: C(running), each with its name and seconds, C(reserved) and C(later) as
        numbers, and how many C(queues) they take from. Who did not answer is not in it.
    :param by_queue: messages that wait in each queue; after moving, those that are left.
    :param consumers: nodes of other pods that consume each queue, where there are any.
    :param moved: messages that were moved.
    :param scheduled: tasks that the asked pods hold until their ETA, where messages are counted.
    :param canary: C(held) once it was seen in the hash, C(waiting) while nobody took it, C(elsewhere) otherwise.
    :param waiting: messages in the queues.
    :param active: tasks that the counted nodes run; None if one did not answer. They have C(reserved) others to run
        next, and hold some for C(later), which is their ETA.
    """

    held: int | None = None
    own_options: tuple[str, ...] = ()
    own_hash: str = ""
    own_places: dict[str, Any] = field(default_factory=dict)
    shadowed: tuple[str, ...] = ()
    tasks: dict[str, tuple[bool, bool]] = field(default_factory=dict)
    consumed: tuple[str, ...] = ()
    running: tuple[str, ...] | None = None
    answered: bool = False
    works: dict[str, Any] | None = None
    by_queue: dict[str, int] | None = None
    consumers: dict[str, list[str]] = field(default_factory=dict)
    moved: int = 0
    scheduled: int = 0
    canary: str = ""
    waiting: int | None = None
    active: int | None = None
    reserved: int | None = None
    later: int | None = None
    error: str = ""


#: The error of a container in which nobody can answer.
NO_PYTHON = "there is no Python"

#: Finds the interpreter that the image's own celery command runs with.
FIND_PYTHON = (
    'found=$(command -v celery) && found=$(sed -n "1s/^#!//p" "$found"); '
    'case "$found" in *python*) ;; *) found=$(command -v python || command -v python3) '
    # Without Python there is no Celery either, so nothing runs.
    f'|| {{ echo \'{ask.MARK}{{"running": [], "error": "{NO_PYTHON}"}}\'; exit 0; }};; esac; '
    'exec $found -c "$0" "$1"'
)


#: Comments, and texts that are statements of their own, which are docstrings.
FOR_READERS = re.compile(r'^ *#.*\n|^ *"""(?:[^"]|"(?!""))*"""\n', re.MULTILINE)


@cache
def program() -> str:
    """The program that answers, without comments and docstrings: it travels in the address of a request.

    Not by C(ast), which must not parse in several threads at once (CPython 3.11).
    """
    return FOR_READERS.sub("", inspect.getsource(ask))


def command_of(question: Question, python: Sequence[str] | None = None) -> list[str]:
    """The command that asks a question in a container.

    :param python: the words that start the Python of its Celery, where its command line says so.
    """
    asked = json.dumps({**asdict(question), "places": PLACE_OPTIONS}, sort_keys=True)
    return [*python, "-c", program(), asked] if python else ["sh", "-c", FIND_PYTHON, program(), asked]


def answered(output: str) -> dict[str, Any] | None:
    """What a program told in what its command printed; None if it told nothing."""
    line = next((line for line in reversed(output.splitlines()) if line.startswith(ask.MARK)), None)
    try:
        found = json.loads(line.removeprefix(ask.MARK)) if line is not None else None
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def answer_from(output: str) -> Answer | None:
    """The answer in what the command printed; None if there is none."""
    data = answered(output)
    if data is None:
        return None
    tasks = {name: (bool(flags[0]), bool(flags[1])) for name, flags in data.get("tasks", {}).items()}
    return Answer(
        held=data.get("held"),
        own_options=tuple(data.get("own_options", ())),
        own_hash=str(data.get("own_hash") or ""),
        own_places=data.get("own_places", {}),
        shadowed=tuple(data.get("shadowed", ())),
        tasks=tasks,
        consumed=tuple(data.get("consumed", ())),
        answered=bool(data.get("answered", False)),
        running=tuple(data["running"]) if "running" in data else None,
        works=data.get("works"),
        by_queue=data.get("by_queue"),
        consumers=data.get("consumers", {}),
        moved=int(data.get("moved") or 0),
        scheduled=int(data.get("scheduled") or 0),
        canary=data.get("canary", ""),
        waiting=data.get("waiting"),
        active=data.get("active"),
        reserved=data.get("reserved"),
        later=data.get("later"),
        error=data.get("error", ""),
    )


def settings_in(args: Iterable[str]) -> tuple[str, ...]:
    """The settings that a worker's arguments give after C(--)."""
    words = list(args)
    return tuple(words[words.index("--") + 1 :]) if "--" in words else ()
