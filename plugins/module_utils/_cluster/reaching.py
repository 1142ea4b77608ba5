# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Surveys a broker from where this runs, without a cluster. Libraries of the broker are imported only here."""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from .._celery.brokers import PRIORITY_STEPS, SEPARATOR, host_and_port, key_prefix, management_url
from .._celery.inquiry import Answer
from .._celery.programs.survey import Lists, Management, Place, RabbitQueues, tls_context, why
from .._celery.programs.tidy import settle_times, survey_lists, survey_rabbit
from .._celery.surveys import Survey, SurveyQuestion, survey_from
from .._model.broker import Broker
from .._model.fleet import Variant
from .._schema.secret_signs import without_values


class LibraryError(Exception):
    """A library of Python is missing.

    :param name: as pip knows it.
    """

    def __init__(self, name: str) -> None:
        super().__init__(f"the Python library {name} is missing where this runs")
        self.name = name


@dataclass(frozen=True)
class Login:
    """How to log in, and how to check who answers. Never shown.

    :param authority: path of the CA's certificate; empty for those of the system.
    :param certificate: path of a client's certificate, and of its C(key).
    """

    password: str = ""
    sentinel_password: str = ""
    authority: str = ""
    certificate: str = ""
    key: str = ""
    timeout: float = 10

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not show in any text."""
        return tuple(filter(None, (self.password, self.sentinel_password)))


def survey_directly(broker: Broker, login: Login, question: SurveyQuestion) -> Survey:
    """Survey a broker.

    :raises LibraryError: if what speaks to it is missing.
    """
    asked: dict[str, Any] = asdict(question)
    answer: dict[str, Any] = {}
    visibility = broker.transport_options.get("visibility_timeout")
    # What the apps say is not seen from here.
    settle_times(asked, visibility, is_known=visibility is not None)
    place = _place(broker)
    try:
        if broker.is_redis:
            survey_lists(_redis(broker, login), place, asked, answer)
        elif broker.type == "rabbitmq":
            with _rabbit(broker, login) as connection:
                survey_rabbit(connection, place, _management(broker, login, question), asked, answer)
        else:
            answer["error"] = "queues of SQS are not read; look at them in CloudWatch"
    except LibraryError:
        raise
    except Exception as error:  # each library raises classes of its own, and others for the network
        answer["error"] = f"{type(error).__name__}: {why(error)}"
    answer.update({name: without_values(answer[name], login.secrets) for name in ("error", "unread") if name in answer})
    return survey_from(answer)


def count_directly(broker: Broker, login: Login, variants: Iterable[Variant]) -> dict[str, Answer]:
    """How much waits for some variants, and what their workers hold, by Deployment.

    :raises LibraryError: as above.
    """
    wanted = list(variants)
    queues = {queue for item in wanted for queue in item.queues}
    try:
        if broker.is_redis:
            client = _redis(broker, login)
            waiting = _waiting(Lists(client, _place(broker), queues, 0).queues)
            hashes = {item.unacked.hash for item in wanted if item.unacked is not None}
            held = {name: int(client.hlen(f"{key_prefix(broker)}{name}")) for name in hashes}
        elif broker.type == "rabbitmq":
            held = {}
            with _rabbit(broker, login) as connection:
                waiting = _waiting(RabbitQueues(connection, _place(broker), queues, None).queues)
        else:
            return {}
    except LibraryError:
        raise
    except Exception as error:  # as above
        said = without_values(f"{type(error).__name__}: {why(error)}", login.secrets)
        return {item.deployment: Answer(error=f"the broker gave no answer: {said}") for item in wanted}
    return {
        item.deployment: Answer(
            waiting=sum(waiting[queue] for queue in item.queues),
            held=held[item.unacked.hash] if item.unacked is not None and broker.is_redis else None,
        )
        for item in wanted
    }


def _waiting(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, int]:
    return {queue: int(row["waiting"]) for queue, row in rows.items()}


def _place(broker: Broker) -> Place:
    steps = broker.priority_steps if broker.priority_steps is not None else PRIORITY_STEPS
    return Place(key_prefix(broker), SEPARATOR if broker.sep is None else broker.sep, steps)


def _redis(broker: Broker, login: Login) -> Any:
    """A client of a Redis, or of the master that sentinels name."""
    try:
        import redis
        from redis.sentinel import Sentinel
    except ImportError:
        raise LibraryError("redis") from None
    options: dict[str, Any] = {"socket_timeout": login.timeout, "socket_connect_timeout": login.timeout}
    options |= {"username": broker.username or None, "password": login.password or None}
    if broker.tls is not None:
        options |= {"ssl": True, "ssl_cert_reqs": "none" if broker.tls.insecure_skip_verify else "required"}
        names = {"ssl_ca_certs": login.authority, "ssl_certfile": login.certificate, "ssl_keyfile": login.key}
        options |= {name: path for name, path in names.items() if path}
    if broker.type == "redis":
        return redis.Redis(host=broker.host, port=broker.port or 6379, db=broker.database, **options)
    own = {"username": broker.sentinel_username or None, "password": login.sentinel_password or None}
    hosts = [host_and_port(written, broker.port or 26379) for written in broker.hosts]
    make: Any = Sentinel
    return make(hosts, sentinel_kwargs={**options, **own}, **options).master_for(
        broker.master_name or "mymaster", db=broker.database
    )


@contextmanager
def _rabbit(broker: Broker, login: Login) -> Iterator[Any]:
    """A connection to RabbitMQ."""
    try:
        import amqp
    except ImportError:
        raise LibraryError("amqp") from None
    encrypted: Any = False
    if broker.tls is not None:
        checks = not broker.tls.insecure_skip_verify
        encrypted = {"cert_reqs": ssl.CERT_REQUIRED if checks else ssl.CERT_NONE, "server_hostname": broker.host}
        names = {"ca_certs": login.authority, "certfile": login.certificate, "keyfile": login.key}
        encrypted |= {name: path for name, path in names.items() if path}
    connection = amqp.Connection(
        host=f"{broker.host}:{broker.port or (5671 if broker.tls else 5672)}",
        userid=broker.username or "guest",
        password=login.password or "guest",
        virtual_host=broker.virtual_host,
        connect_timeout=login.timeout,
        read_timeout=login.timeout,
        ssl=encrypted,
    )
    with connection:
        yield connection


def _management(broker: Broker, login: Login, question: SurveyQuestion) -> Management:
    """The management API, at the address that is given, or where it is by default."""
    address = question.management or management_url(broker)
    context = None
    if address.startswith("https:"):
        checks = broker.tls is None or not broker.tls.insecure_skip_verify
        context = tls_context(login.authority, checks)
    return Management(
        address,
        (broker.username or "guest", login.password or "guest"),
        broker.virtual_host,
        login.timeout,
        context,
    )
