# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line of a worker, and what it means for the scaler.

Typed keys and free arguments end in one list. The scaler's slots are read from that final list and from
nothing else, so that worker and scaler cannot disagree.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from .._model.variant_keys import POOLS, Consumption, Process
from .._schema.problems import Problems, suggest
from .._schema.secret_signs import REFERENCE_TEXT
from .settings import SETTINGS, name_of_today

#: Options of C(celery worker) that take a value, by every name they have (Celery 5.4 to 5.7).
_VALUED: dict[str, str] = {
    "-n": "hostname", "--hostname": "hostname",
    "-S": "statedb", "--statedb": "statedb",
    "-l": "loglevel", "--loglevel": "loglevel",
    "-O": "optimization", "--optimization": "optimization",
    "--prefetch-multiplier": "prefetch-multiplier",
    "-c": "concurrency", "--concurrency": "concurrency",
    "-P": "pool", "--pool": "pool",
    "--time-limit": "time-limit",
    "--soft-time-limit": "soft-time-limit",
    "--max-tasks-per-child": "max-tasks-per-child",
    "--max-memory-per-child": "max-memory-per-child",
    "-Q": "queues", "--queues": "queues",
    "-X": "exclude-queues", "--exclude-queues": "exclude-queues",
    "-I": "include", "--include": "include",
    "--heartbeat-interval": "heartbeat-interval",
    "--autoscale": "autoscale",
    "-s": "schedule-filename", "--schedule-filename": "schedule-filename", "--schedule": "schedule-filename",
    "--scheduler": "scheduler",
    "-f": "logfile", "--logfile": "logfile",
    "--pidfile": "pidfile", "--uid": "uid", "--gid": "gid", "--umask": "umask", "--executable": "executable",
    # Options of celery itself; they would have to stand before the word worker.
    "-A": "app", "--app": "app", "-b": "broker", "--broker": "broker", "--result-backend": "result-backend",
    "--loader": "loader", "--config": "config", "--workdir": "workdir",
}  # fmt: skip

#: Options that stand alone.
_FLAGS: dict[str, str] = {
    "-D": "detach", "--detach": "detach",
    "-E": "task-events", "--task-events": "task-events", "--events": "task-events",
    "--purge": "purge", "--discard": "purge",
    "--disable-prefetch": "disable-prefetch",
    "--without-gossip": "without-gossip",
    "--without-mingle": "without-mingle",
    "--without-heartbeat": "without-heartbeat",
    "-B": "beat", "--beat": "beat",
    "-C": "no-color", "--no-color": "no-color", "-q": "quiet", "--quiet": "quiet",
}  # fmt: skip

#: Which time limits a pool enforces (Celery 5.4 to 5.7, from its source). A limit of gevent ends a task where it waits.
_LIMITS_OF_POOL: dict[str, tuple[str, ...]] = {"prefork": ("time-limit", "soft-time-limit"), "gevent": ("time-limit",)}

#: Arguments that would break what the collection promises, and what to do instead.
_REFUSED: dict[str, str] = {
    "app": "the app is the service's; set celery_workers_services.<service>.app",
    "broker": "the broker is the fleet's; set celery_workers_broker",
    "hostname": "the node name must be unique per pod; metrics and probes rely on <service>.<variant>@%h",
    "queues": "the queues decide what the scaler watches; set queues on the variant",
    "exclude-queues": "set exclude_queues on the variant",
    "beat": "every pod would schedule every periodic task; set beat on the service",
    "schedule-filename": "that belongs to beat; set beat on the service",
    "scheduler": "that belongs to beat; set beat on the service",
    "detach": "the container would end at once",
    "purge": "every start of a pod would delete all waiting work",
    "result-backend": "set it under settings: {result_backend: …}",
    "config": "it comes before the word worker; set it in the app",
    "loader": "it comes before the word worker; set it in the app",
    "workdir": "set working_dir",
    "no-color": "it comes before the word worker",
    "quiet": "it comes before the word worker",
    "uid": "set security_context.runAsUser",
    "gid": "set security_context.runAsGroup",
    "logfile": "logs go to the container's output, where Kubernetes collects them",
}

#: Settings that have a key of their own, which also tells the scaler.
_SETTING_KEYS: dict[str, str] = {
    "worker_concurrency": "concurrency",
    "worker_pool": "pool",
    "worker_prefetch_multiplier": "prefetch_multiplier",
    "worker_disable_prefetch": "disable_prefetch",
    "worker_max_tasks_per_child": "max_tasks_per_child",
    "worker_max_memory_per_child": "max_memory_per_child",
    "task_time_limit": "time_limit",
    "task_soft_time_limit": "soft_time_limit",
    "task_acks_late": "acks_late",
    "task_reject_on_worker_lost": "reject_on_worker_lost",
    "task_queues": "queues",
    "broker_transport_options": "celery_workers_broker.transport_options",
    "broker_use_ssl": "celery_workers_broker.tls",
    "worker_soft_shutdown_timeout": "soft_shutdown_timeout",
    # Each of them would send the workers to a broker that the scaler does not watch.
    **dict.fromkeys(
        (
            "broker_url", "broker_read_url", "broker_write_url", "broker_host", "broker_port", "broker_user",
            "broker_password", "broker_vhost", "broker_transport", "broker_backend",
        ),
        "celery_workers_broker",
    ),
}  # fmt: skip

#: References of Kubernetes, escaped references, and any other dollar sign that it would read as the start of one.
_DOLLAR = re.compile(rf"\$?{REFERENCE_TEXT}|\$(?=[$(])")

#: Short options that share a word, and one with its value.
_SHORTS, _SHORT_VALUE = re.compile(r"-[A-Za-z]{2}"), re.compile(r"-[A-Za-z]\S")


@dataclass(frozen=True)
class Argument:
    """One option as Celery reads it: its canonical name, its value, and the words it was written with."""

    name: str
    value: str | None
    words: tuple[str, ...]


def split_arguments(words: Iterable[str]) -> Iterator[tuple[list[Argument | str], list[str]]]:
    """Arguments as click reads them: C(--pool=gevent), C(--pool gevent), C(-c4), C(-c 4), C(-EB).

    :returns: for one word after the other what it means, with the words it was written with; several options where
        flags share a word. A word that is no option of a worker comes as it is.
    """
    waiting = list(words)
    while waiting:
        word = waiting.pop(0)
        source, found = [word], list[Argument | str]()
        while _SHORTS.match(word) and word[:2] in _FLAGS:
            found.append(Argument(_FLAGS[word[:2]], None, (word[:2],)))
            word = f"-{word[2:]}"
        name, equals, value = word.partition("=")
        if word.startswith("--") and equals and name in _VALUED:
            found.append(Argument(_VALUED[name], value, (word,)))
        elif word in _VALUED and waiting:
            source.append(waiting.pop(0))
            found.append(Argument(_VALUED[word], source[-1], (word, source[-1])))
        elif word in _FLAGS:
            found.append(Argument(_FLAGS[word], None, (word,)))
        elif _SHORT_VALUE.match(word) and word[:2] in _VALUED:
            found.append(Argument(_VALUED[word[:2]], word[2:], (word,)))
        else:
            found.append(word)
        yield found, source


def read_arguments(words: Iterable[str]) -> tuple[list[Argument], list[str]]:
    """The options among arguments, and the words that are none."""
    found = [item for items, _source in split_arguments(words) for item in items]
    return [item for item in found if isinstance(item, Argument)], [item for item in found if isinstance(item, str)]


def check_extra_params(process: Process, path: str, problems: Problems) -> None:
    """Note every free argument that would break the separation or that Celery would not understand."""
    options, strange = read_arguments(process.extra_params)
    known = {*_VALUED, *_FLAGS}
    # The two dashes stand before settings, and these are what is told to go elsewhere.
    for word in [item for item in strange if item != "--"] or strange:
        problems.add(path, _why_strange(word, known))
    for option in options:
        written = " ".join(option.words)
        if option.name in _REFUSED:
            problems.add(path, f"{written!r} is not accepted: {_REFUSED[option.name]}.")
        elif option.name == "concurrency" and option.value == "auto":
            problems.add(
                path,
                f"{written!r} counts the processors inside the pod, and the scaler needs the number; write the CPU "
                "limit of the pod as concurrency.",
            )
        elif option.name == "concurrency" and not re.fullmatch(r"[1-9]\d{0,4}", option.value or ""):
            problems.add(path, f"{written!r} needs a number above 0; the scaler counts with it.")
        elif option.name == "autoscale" and not re.fullmatch(r"[1-9]\d{0,4}(,\d{1,5})?", option.value or ""):
            problems.add(path, f"{written!r} needs MAX or MAX,MIN, with MAX above 0.")
        elif option.name == "pool" and option.value not in POOLS:
            problems.add(path, f"{written!r} names no pool; {suggest(option.value or '', POOLS)}")
    names = [option.name for option in options]
    for name in sorted({name for name in names if names.count(name) > 1 and name != "include"}):
        problems.add(path, f"--{name} is written there more than once; write it once.")


def _why_strange(word: str, known: set[str]) -> str:
    name = re.split(r"[=\s]", word, maxsplit=1)[0]
    if word == "--" or re.match(r"^[a-z]+[._][a-z0-9_.]+=", word):
        return f"{word!r} sets a Celery setting; write it under settings."
    if name in known and " " in word:
        return f"{word!r} is one argument with a space in it; write {name!r} and the value as two elements."
    if name in known and name in _VALUED:
        return f"{word!r} needs a value."
    return f"celery worker has no argument {word!r}; {suggest(name, known)}"


def check_settings(process: Process, path: str, problems: Problems) -> None:
    """Note settings that a command line cannot set or that have a key of their own."""
    for name, value in process.settings.items():
        setting = setting_name(name)
        today = name_of_today(setting)
        if (today or setting) in _SETTING_KEYS:
            key = _SETTING_KEYS[today or setting]
            problems.add(f"{path}.{name}", f"write {key} instead, which the scaler knows of too.")
        elif today:
            problems.add(f"{path}.{name}", f"a command line takes the names of Celery 4 and later only; write {today}.")
        elif value is None:
            problems.add(f"{path}.{name}", "null cannot be set on a command line; leave the setting out.")


def setting_name(written: str) -> str:
    """A Celery setting as Celery itself reads its name on a command line."""
    return written.lower().replace(".", "_")


def unknown_settings(process: Process) -> list[tuple[str, str]]:
    """Settings that Celery does not have, as they are written, each with the name that may be meant."""
    names = [(name, setting_name(name)) for name in process.settings]
    return [
        (written, suggest(name, SETTINGS))
        for written, name in names
        if name not in SETTINGS and name not in _SETTING_KEYS and not name_of_today(name)
    ]


def worker_args(start: Sequence[str], node: str, queues: tuple[str, ...], consumption: Consumption, process: Process,
                memory_per_child: int | None, broker_settings: dict[str, Any]) -> tuple[str, ...]:  # fmt: skip
    """The complete arguments of a worker container, in exec form.

    :param start: the words that start Celery, with its app.
    :param node: the node name's first part, C(<service>.<variant>).
    :param memory_per_child: KiB, as worked out from the memory limit; None for none.
    :param broker_settings: Celery settings that follow from the broker, such as its transport options.
    """
    extra, _strange = read_arguments(process.extra_params)
    replaced = {option.name for option in extra}
    typed = [
        *_identity(process, node, queues, consumption),
        *_pool(process, effective_pool(process), memory_per_child),
        *_limits(process),
        *_chatter(process),
    ]
    kept = [word for word in typed if _canonical(word) not in replaced]
    settings = _settings(process, broker_settings)
    tail = ["--", *settings] if settings else []
    return (*start, "worker", *kept, *process.extra_params, *tail)


def effective_pool(process: Process) -> str:
    """The pool that the final arguments ask for."""
    extra, _strange = read_arguments(process.extra_params)
    return next((option.value for option in extra if option.name == "pool" and option.value), process.pool)


def has_remote_control(process: Process) -> bool:
    """Whether the worker answers C(celery inspect), as far as its own settings say so."""
    written = {name.lower().replace(".", "_"): value for name, value in process.settings.items()}
    return written.get("worker_enable_remote_control") is not False


def _canonical(word: str) -> str:
    return word.partition("=")[0].removeprefix("--")


def _identity(process: Process, node: str, queues: tuple[str, ...], consumption: Consumption) -> list[str]:
    # One percent sign: Kubernetes does not escape, and %%h would name every pod alike.
    words = [f"--loglevel={process.loglevel}", f"--hostname={node}@%h", f"--queues={','.join(queues)}"]
    if consumption.exclude_queues:
        words.append(f"--exclude-queues={','.join(consumption.exclude_queues)}")
    return words


def _pool(process: Process, pool: str, memory_per_child: int | None) -> list[str]:
    words = [
        f"--concurrency={1 if pool == 'solo' else process.concurrency}",
        f"--pool={pool}",
        f"--prefetch-multiplier={process.prefetch_multiplier}",
    ]
    if process.disable_prefetch:
        words.append("--disable-prefetch")
    # Only prefork has children to schedule fairly and to replace.
    if pool == "prefork":
        words.append(f"--optimization={process.optimization}")
        if process.max_tasks_per_child:
            words.append(f"--max-tasks-per-child={process.max_tasks_per_child}")
        if memory_per_child:
            words.append(f"--max-memory-per-child={memory_per_child}")
    return words


def _limits(process: Process) -> list[str]:
    limits = (("time-limit", process.time_limit), ("soft-time-limit", process.soft_time_limit))
    return [f"--{name}={value}" for name, value in limits if value]


def _chatter(process: Process) -> list[str]:
    switches = (
        ("without-gossip", process.without_gossip),
        ("without-mingle", process.without_mingle),
        ("task-events", process.task_events),
    )
    return [f"--{name}" for name, on in switches if on]


def _settings(process: Process, broker_settings: dict[str, Any]) -> list[str]:
    """Settings as C(key=value), each over the app's own (Celery's cmdline_config_parser, 4.0 and later)."""
    typed = (("task.acks_late", process.acks_late), ("task.reject_on_worker_lost", process.reject_on_worker_lost))
    words = [f"{name}={'true' if value else 'false'}" for name, value in typed if value is not None]
    if process.soft_shutdown_timeout:
        words.append(_setting("worker_soft_shutdown_timeout", process.soft_shutdown_timeout))
    if process.cancel_on_connection_loss:
        words.append("worker.cancel_long_running_tasks_on_connection_loss=true")
    words += [_setting(name.lower().replace(".", "_"), value) for name, value in process.settings.items()]
    return [*words, *broker_words(broker_settings)]


def broker_words(settings: dict[str, Any]) -> list[str]:
    """Settings that follow from the broker, as arguments after C(--)."""
    return [_setting(name, value) for name, value in settings.items() if value]


def _setting(name: str, value: Any) -> str:
    namespace, _dot, rest = name.partition("_")
    return f"{namespace}.{rest}={_cast(value)}"


def _cast(value: Any) -> str:
    # The cast is written out, because Celery converts text by itself only for settings whose type it knows.
    if isinstance(value, bool):
        return f"(bool){'true' if value else 'false'}"
    if isinstance(value, int):
        return f"(int){value}"
    if isinstance(value, float):
        return f"(float){value}"
    if isinstance(value, str):
        return f"(string){_literal(value)}"
    kind = "dict" if isinstance(value, dict) else "list"
    return f"({kind}){_literal(json.dumps(value, sort_keys=True, separators=(',', ':')))}"


def _literal(text: str) -> str:
    """A text that Kubernetes hands over as it was written.

    C($(NAME)) is a reference, and C($$(NAME)) that text itself. Kubernetes makes one dollar sign of any other two.
    """
    return _DOLLAR.sub(lambda found: found[0] if "(" in found[0] else "$$", text)


def written_options(args: Iterable[str]) -> dict[str, str | None]:
    """The options that a worker's complete arguments give, the last of a name wins."""
    return dict(_options_of(tuple(args)))


@lru_cache(maxsize=4096)
def _options_of(words: tuple[str, ...]) -> tuple[tuple[str, str | None], ...]:
    """The same arguments are asked about many times in a run."""
    if "worker" in words:
        words = words[words.index("worker") + 1 :]
    if "--" in words:
        words = words[: words.index("--")]
    return tuple((option.name, option.value) for option in read_arguments(words)[0])


def app_of(args: Iterable[str]) -> str:
    """The app that a worker's complete arguments name."""
    words = list(args)
    before = words[: words.index("worker")] if "worker" in words else words
    return next((option.value for option in read_arguments(before)[0] if option.name == "app" and option.value), "")


def limits_of_pool(pool: str) -> tuple[str, ...]:
    """The options whose time limits a pool enforces; empty where nothing ends a task."""
    return _LIMITS_OF_POOL.get(pool, ())


def limits_in_force(args: Iterable[str]) -> dict[str, str | None]:
    """The time limits of a worker's complete arguments that its pool enforces."""
    options = written_options(args)
    known = limits_of_pool(options.get("pool") or "prefork")
    return {name: value for name, value in options.items() if name in known}


def slots_of(args: Iterable[str]) -> int:
    """Messages that a pod with these arguments works on at once. Solo is 1 whatever else is asked for."""
    found = written_options(args)
    if found.get("pool") == "solo":
        return 1
    # Values that are no numbers are refused elsewhere; until then one slot is the safe reading.
    numbers = re.findall(r"\d+", found.get("autoscale") or found.get("concurrency") or "")
    return max([1, *(int(number) for number in numbers[:2])])


def held_by(args: Iterable[str]) -> int:
    """Messages that a busy pod with these arguments holds: what it works on, times the prefetch multiplier.

    Measured with Celery 5.6 and 5.7, late acknowledgement: m · c with prefetch, c without; threads and gevent alike.
    """
    words = list(args)
    found = written_options(words)
    multiplier = found.get("prefetch-multiplier") or "1"
    if "disable-prefetch" in found or not multiplier.isdigit():
        return slots_of(words)
    # 0 is without limit: then no number of held messages makes a pod full, and one per slot is the safe reading.
    return slots_of(words) * max(1, int(multiplier))
