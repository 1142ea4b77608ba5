# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The question that is asked in a running worker's container, and its answer.

It runs with the image's own Python and the app's own settings, because nobody else can reach every broker and because
only the app knows its tasks. Nothing secret is in the answer.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

#: Stands before the answer, since apps print what they like while they are imported.
_MARK = "celery-worker-answer:"

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
    :param patience: seconds to wait until they run nothing.
    :param counts: whether the messages that wait in the queues are counted.
    :param nodes: names of nodes of which it is counted what they run and what they hold for later; empty for none.
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
    patience: int = 0
    timeout: int = 10
    counts: bool = False
    nodes: tuple[str, ...] = ()


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
    :param canary: C(held) once it was seen in the hash, C(waiting) while nobody took it, C(elsewhere) otherwise.
    :param waiting: messages in the queues.
    :param active: tasks that the counted nodes run, and those that they hold for their ETA; None if one did not answer.
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
    canary: str = ""
    waiting: int | None = None
    active: int | None = None
    later: int | None = None
    error: str = ""


SCRIPT = r"""
import json, os, re, socket, sys, time, uuid
question = json.loads(sys.argv[1])
answer = {}
sys.path.insert(0, os.getcwd())


def told(value):
    return list(value) if isinstance(value, (tuple, set, frozenset, range)) else value


def raw_client(connection):
    import redis

    return redis.Redis(connection_pool=connection.default_channel.client.connection_pool)


def texts(values):
    return [value.decode("utf-8", "replace") if isinstance(value, bytes) else value for value in values]


def held(connection):
    client, channel = raw_client(connection), connection.default_channel
    if not question["is_shared"]:
        return client.hlen(question["hash"])
    count = 0
    for _tag, value in client.hscan_iter(prefix_of(channel) + channel.unacked_key):
        _message, exchange, key = json.loads(value)
        count += not queues_of(channel, exchange, key).isdisjoint(question["queues"])
    return count


def prefix_of(channel):
    return getattr(channel, "global_keyprefix", "")


# A message does not carry its queue. One that no binding fits may be of every queue of its exchange.
def queues_of(channel, exchange, key):
    table = channel.get_table(exchange) if exchange else []
    fitting = {row[2] for row in table if row[0] == key or (row[1] and re.match(row[1], key))}
    return fitting or {row[2] for row in table} or {key}


def in_hash(client, name):
    return any(name in text for text in texts(value for _tag, value in client.hscan_iter(question["hash"])))


# What the command line sets, as the worker has it: settings of the app under a prefix win over it before Celery 5.7.
def settle(app):
    names = [word.partition("=")[0].lower().replace(".", "_") for word in question["settings"]]
    app.config_from_cmdline(list(question["settings"]), namespace="worker")
    prefix = getattr(app.conf, "prefix", None) or ""
    named = [name for name in names if prefix and prefix + name.upper() in app.loader.conf]
    if question["enforced"]:
        for name in named:
            app.conf[prefix + name.upper()] = app.conf.changes[name]
    return [name for name in named if app.conf[name] != app.conf.changes[name]]


def canary(app):
    name = str(uuid.uuid4())
    queue = question["queues"][0]
    app.send_task("celery.accumulate", args=(1,), task_id=name, queue=queue, countdown=question["timeout"], expires=120,
                  ignore_result=True)
    return name


def look_for(app, name):
    end = time.time() + question["timeout"]
    with app.connection_for_read() as connection:
        client = raw_client(connection)
        while time.time() < end:
            if in_hash(client, name):
                return "held"
            time.sleep(0.5)
        return "waiting" if waits(client, connection.default_channel, name) else "elsewhere"


# Busy workers take nothing new.
def waits(client, channel, name):
    queue = question["queues"][0]
    lists = {prefix_of(channel) + channel._q_for_pri(queue, step) for step in channel.priority_steps}
    return any(name in text for key in lists for text in texts(client.lrange(key, 0, 9999)))


def tasks_of(replies):
    found = {}
    for line in (replies or {}).get(node, []):
        name, _space, flags = line.partition(" [")
        found[name] = ["acks_late=True" in flags, "reject_on_worker_lost=True" in flags]
    return found


# A node of Kubernetes is named after its pod somewhere in its name.
def nodes_of(app):
    end = time.time() + question["timeout"]
    found = {}
    # A ping to everybody takes its whole time, so many short ones.
    while True:
        nodes = app.control.inspect(timeout=1).ping() or {}
        found.update({node: pod for node in nodes for pod in question["pods"] if pod in node})
        silent = sorted(set(question["pods"]) - set(found.values()))
        if not silent:
            return sorted(found)
        if time.time() >= end:
            raise RuntimeError("no answer over remote control from " + ", ".join(silent))


# As Celery expands the name that a command line gives.
def own_node():
    host = socket.gethostname()
    name, _dot, domain = host.partition(".")
    given = question["group"]
    if "%" not in given:
        return given + "@" + host
    for mark, value in (("%h", host), ("%n", name), ("%d", domain)):
        given = given.replace(mark, value)
    return given if "@" in given else "celery@" + given


def consume(app, nodes):
    inspect = app.control.inspect(destination=nodes, timeout=question["timeout"])
    for node, queues in ((inspect.active_queues() or {}) if question["consumes"] == "pause" else {}).items():
        for queue in queues:
            app.control.cancel_consumer(queue["name"], destination=[node], reply=True, timeout=question["timeout"])
    named = question["queues"] or list(app.amqp.queues)
    for queue in named if question["consumes"] == "resume" else []:
        app.control.add_consumer(queue, destination=nodes, reply=True, timeout=question["timeout"])


def running(app, nodes):
    end = time.time() + question["patience"]
    inspect = app.control.inspect(destination=nodes, timeout=question["timeout"])
    while True:
        replies = [inspect.active()] + ([inspect.reserved()] if question["consumes"] == "pause" else [])
        if any(len(reply or {}) < len(nodes) for reply in replies):
            raise RuntimeError("a worker stopped answering")
        found = [task["name"] for reply in replies for tasks in reply.values() for task in tasks]
        if not found or time.time() >= end:
            return sorted(found)
        time.sleep(1)


def waiting(connection):
    return sum(size_of(connection, queue) for queue in question["queues"])


# A queue that its broker does not have yet holds nothing. RabbitMQ closes the channel that asked for it.
def size_of(connection, queue):
    with connection.channel() as channel:
        if hasattr(channel, "_size"):
            return channel._size(queue)
        try:
            return channel.queue_declare(queue=queue, passive=True).message_count
        except connection.channel_errors as error:
            if getattr(error, "reply_code", getattr(error, "code", None)) == 404:
                return 0
            raise


def count_tasks(app):
    inspect = app.control.inspect(destination=question["nodes"], timeout=question["timeout"])
    replies = [inspect.active() or {}, inspect.scheduled() or {}]
    if all(len(reply) == len(question["nodes"]) for reply in replies):
        answer["active"], answer["later"] = [sum(map(len, reply.values())) for reply in replies]


try:
    from celery.app.utils import find_app

    app = find_app(question["app"])
    own = dict(app.conf.broker_transport_options or {})
    answer["own_options"] = sorted(own)
    answer["own_hash"] = own.get("unacked_key", "")
    answer["own_places"] = {name: told(own[name]) for name in question["places"] if name in own}
    sent = canary(app) if question["canary"] else None
    if question["settings"]:
        answer["shadowed"] = settle(app)
    if os.environ.get("CELERY_SENTINEL_PASSWORD"):
        names = {"username": "CELERY_SENTINEL_USERNAME", "password": "CELERY_SENTINEL_PASSWORD"}
        given = {key: os.environ[name] for key, name in names.items() if os.environ.get(name)}
        app.conf.broker_transport_options = {**app.conf.broker_transport_options, "sentinel_kwargs": given}
    if question["hash"]:
        with app.connection_for_read() as connection:
            answer["held"] = held(connection)
    if question["counts"]:
        with app.connection_for_read() as connection:
            answer["waiting"] = waiting(connection)
    if question["nodes"]:
        count_tasks(app)
    if sent:
        answer["canary"] = look_for(app, sent)
    if question["pods"]:
        nodes = nodes_of(app)
        consume(app, nodes)
        answer["running"] = running(app, nodes)
    if question["inspects"]:
        node = own_node()
        inspect = app.control.inspect(destination=[node], timeout=question["timeout"])
        answer["tasks"] = tasks_of(inspect.registered("acks_late", "reject_on_worker_lost"))
        queues = (inspect.active_queues() or {}).get(node)
        answer["answered"] = queues is not None
        answer["consumed"] = sorted(queue["name"] for queue in queues or [])
except ImportError as error:
    # Where Celery is missing nobody runs a task.
    answer["error"] = type(error).__name__ + ": " + str(error).split("\n")[0][:200]
    if "'celery" in str(error):
        answer["running"] = []
except (Exception, SystemExit) as error:
    answer["error"] = type(error).__name__ + ": " + str(error).split("\n")[0].split("://")[0][:200]
print("MARK" + json.dumps(answer, default=str))
""".replace("MARK", _MARK)

#: The error of a container in which nobody can answer.
NO_PYTHON = "there is no Python"

#: Finds the interpreter that the image's own celery command runs with.
_SHELL = (
    'found=$(command -v celery) && found=$(sed -n "1s/^#!//p" "$found"); '
    'case "$found" in *python*) ;; *) found=$(command -v python || command -v python3) '
    # Without Python there is no Celery either, so nothing runs.
    f'|| {{ echo \'{_MARK}{{"running": [], "error": "{NO_PYTHON}"}}\'; exit 0; }};; esac; '
    'exec $found -c "$0" "$1"'
)


def command_of(question: Question, python: Sequence[str] | None = None) -> list[str]:
    """The command that asks a question in a container.

    :param python: the words that start the Python of its Celery, where its command line says so.
    """
    asked = json.dumps({**asdict(question), "places": PLACE_OPTIONS}, sort_keys=True)
    return [*python, "-c", SCRIPT, asked] if python else ["sh", "-c", _SHELL, SCRIPT, asked]


def answer_from(output: str) -> Answer | None:
    """The answer in what the command printed; None if there is none."""
    line = next((line for line in reversed(output.splitlines()) if line.startswith(_MARK)), None)
    if line is None:
        return None
    try:
        data = json.loads(line.removeprefix(_MARK))
    except ValueError:
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
        canary=data.get("canary", ""),
        waiting=data.get("waiting"),
        active=data.get("active"),
        later=data.get("later"),
        error=data.get("error", ""),
    )


def settings_in(args: Iterable[str]) -> tuple[str, ...]:
    """The settings that a worker's arguments give after C(--)."""
    words = list(args)
    return tuple(words[words.index("--") + 1 :]) if "--" in words else ()
