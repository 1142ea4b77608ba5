# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A broker as the inventory describes it: keys, types, defaults and the sentences of the key reference."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .._schema.keys import Section, key
from .._schema.kubernetes_values import (
    DNS_SUBDOMAIN,
    SECRET_KEY,
)
from .._schema.scalars import (
    SECONDS,
    Choice,
    Flag,
    Integer,
    ListOf,
    MapOf,
    Plain,
    Text,
)
from .._schema.values import (
    OPTIONAL_USER_NAME,
    USER_NAME,
    SecretValue,
)

#: kombu 5.7 transports that work is scaled on.
BROKER_TYPES = ("redis", "redis-sentinel", "rabbitmq", "sqs")
HOST = Text("a host name or address", r"[A-Za-z0-9]([-A-Za-z0-9._:]*[A-Za-z0-9])?\.?", 253)


@dataclass(frozen=True)
class SecretReference:
    """Names an existing Secret and the keys in it."""

    name: str = key(DNS_SUBDOMAIN, "Name of an existing Secret in the fleet's namespace.", "")
    url_key: str = key(SECRET_KEY, "Key that holds the complete broker URL, percent-encoded.", "url")
    username_key: str | None = key(
        SECRET_KEY, "Key that holds the user name for the scaler. Leave out if the broker has none."
    )
    password_key: str | None = key(
        SECRET_KEY, "Key that holds the password for the scaler. Leave out if the broker has none."
    )
    sentinel_password_key: str | None = key(SECRET_KEY, "Key that holds the password of the sentinels themselves.")
    tls_key: str | None = key(
        SECRET_KEY, "RabbitMQ with certificates: key that holds the word C(enable), which KEDA asks for."
    )
    access_key_id_key: str | None = key(SECRET_KEY, "Key that holds the AWS access key id (SQS).")
    secret_access_key_key: str | None = key(SECRET_KEY, "Key that holds the AWS secret access key (SQS).")


@dataclass(frozen=True)
class Tls:
    """How the connection to the broker is encrypted, for workers and scaler alike."""

    ca_secret: str | None = key(
        DNS_SUBDOMAIN, "Secret with the CA certificate of the broker. Without it the system's certificates count."
    )
    ca_key: str = key(SECRET_KEY, "Key in O(ca_secret).", "ca.crt")
    certificate_secret: str | None = key(DNS_SUBDOMAIN, "Secret with a client certificate and its private key.")
    certificate_key: str = key(SECRET_KEY, "Key of the certificate in O(certificate_secret).", "tls.crt")
    private_key_key: str = key(SECRET_KEY, "Key of the private key in O(certificate_secret).", "tls.key")
    insecure_skip_verify: bool = key(
        Flag(),
        "Accept any certificate (KEDA's C(unsafeSsl)). Anybody between pod and broker can then read along.",
        False,
    )


@dataclass(frozen=True)
class Management:
    """RabbitMQ's HTTP management API, which tells the scaler what waits and what is being worked on."""

    host: str | None = key(HOST, "Host name of the API.", default_text="the broker's host")
    port: int | None = key(Integer(1, 65535), "Port of the API.", default_text="15672, or 15671 with TLS")
    tls: bool | None = key(Flag(), "Whether the API speaks HTTPS.", default_text="as the broker")


@dataclass(frozen=True)
class ScalerLogin:
    """Credentials of the scaler, where they are not those of the workers."""

    username: str | None = key(USER_NAME, "User name.")
    password: bool = key(SecretValue(), "Password; kept in the Secret that the role makes.", False, "none")
    secret: SecretReference | None = key(
        Section(SecretReference, switchable=False), "An existing Secret that holds the credentials."
    )


@dataclass(frozen=True)
class Broker:
    """The message broker, as workers and scaler reach it. Holds no secret, only where one is."""

    type: str = key(Choice(BROKER_TYPES), "Kind of broker.", "redis")
    host: str = key(
        HOST,
        "Host name of the broker. A name without a dot is a Service of the fleet's namespace.",
        "",
    )
    hosts: tuple[str, ...] = key(
        ListOf(HOST, unique=True, minimum=1),
        "Redis Sentinel: host names of the sentinels, each with C(:port) if wanted.",
        (),
    )
    port: int | None = key(
        Integer(1, 65535),
        "Port of the broker.",
        default_text="6379 for redis, 26379 for redis-sentinel, 5672 for rabbitmq (5671 with TLS)",
    )
    database: int = key(Integer(0, 65535), "Redis database of the queues.", 0)
    virtual_host: str = key(
        Text("a virtual host without $(NAME), which nothing expands here", r"(?!.*\$\([A-Za-z_]).+"),
        "RabbitMQ virtual host of the queues.",
        "/",
    )
    username: str | None = key(OPTIONAL_USER_NAME, "User name. Give the password beside it. Empty is none.")
    password: bool = key(
        SecretValue(),
        "Password. The role puts it into a Secret of its own; it reaches no module, no Deployment and no log. Empty "
        "is none.",
        False,
        "none",
    )
    tls: Tls | None = key(Section(Tls), "Encrypted connection (V(rediss://), V(amqps://)).", default_text="false")
    url: str | None = key(
        # What is wrong with a URL is said by the one that takes it apart, which shows no part of a password.
        Text("a broker URL such as redis://redis:6379/0"),
        "The broker as one URL instead of parts. A password in it is taken out before anything else sees it. Options "
        "after C(?) are read too, and those that have no meaning here are refused by name.",
    )
    secret: SecretReference | None = key(
        Section(SecretReference, switchable=False), "An existing Secret that holds the credentials."
    )
    inject_env: str = key(
        Text("the name of an environment variable, or '' for none", r"|[-._A-Za-z][-._A-Za-z0-9]*"),
        "Environment variable that hands the broker URL to workers. Celery reads E(CELERY_BROKER_URL) before its own "
        "settings. Empty where the app's settings name the broker.",
        "CELERY_BROKER_URL",
    )
    transport_options: dict[str, Any] = key(
        MapOf(Text("an option name"), Plain()),
        "kombu transport options. They replace the app's own as a whole (Celery 5.6), so repeat what the app needs.",
        {},
    )
    priority_steps: tuple[int, ...] | None = key(
        ListOf(Integer(0, 255), unique=True, minimum=1),
        "Redis: the priority steps of the app. Each is a list of its own, and the scaler counts all of them. V([0]) "
        "where no task has a priority saves the scaler three readings per queue.",
        default_text="kombu's: 0, 3, 6, 9",
    )
    sep: str | None = key(
        Text("a separator", r"[\s\S]+", 16),
        "Redis: what stands between queue and step in the name of a list.",
        default_text="kombu's: the characters 0x06 0x16",
    )
    global_keyprefix: str | None = key(
        Text("a prefix", r"[^\x00-\x1f]*", 128),
        "Redis: the prefix that the app gives to every key.",
        default_text="none",
    )
    master_name: str | None = key(Text("a name"), "Redis Sentinel: name of the master.")
    sentinel_username: str | None = key(USER_NAME, "Redis Sentinel: user name for the sentinels themselves.")
    sentinel_password: bool = key(
        SecretValue(), "Redis Sentinel: password of the sentinels themselves; kept in a Secret.", False, "none"
    )
    management: Management = key(
        Section(Management, switchable=False),
        "RabbitMQ: where its management API is.",
        Management(),
        "port 15672 of host",
    )
    queue_type: str = key(
        Choice(("classic", "quorum")), "RabbitMQ: type of the queues, as the app declares them.", "classic"
    )
    delivery_limit: int | None = key(
        Integer(0),
        "RabbitMQ quorum queues: deliveries after which the broker drops a message, as your policy sets it; 0 is "
        "never.",
        default_text="20 (RabbitMQ 4)",
    )
    consumer_timeout: int = key(
        Integer(0, unit=SECONDS),
        "RabbitMQ: C(consumer_timeout) of the server in seconds, after which it takes a message away from its "
        "worker; 0 is never.",
        1800,
    )
    region: str | None = key(Text("an AWS region", r"[a-z0-9-]+"), "SQS: region of the queues.")
    account: str | None = key(
        Text("an AWS account number", r"[0-9]{12}"), "SQS: account of the queues, where it is not the credentials' own."
    )
    endpoint: str | None = key(
        Text(
            "an address without a path such as https://vpce-0a1b.sqs.eu-central-1.vpce.amazonaws.com",
            r"https?://[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?(:[0-9]{1,5})?/?",
        ),
        "SQS: where workers and scaler find it, such as a VPC endpoint or localstack.",
        default_text="AWS's own address of the region",
    )
    pod_identity: bool = key(Flag(), "SQS: KEDA uses the identity of its own pod (C(aws)) instead of keys.", False)
    access_key_id: bool = key(SecretValue(), "SQS: access key id; kept in a Secret.", False, "none")
    secret_access_key: bool = key(SecretValue(), "SQS: secret access key; kept in a Secret.", False, "none")
    scaler: ScalerLogin | None = key(
        Section(ScalerLogin, switchable=False),
        "Credentials of the scaler, which only reads.",
        default_text="those of the workers",
    )
    max_connections: int | None = key(
        Integer(1),
        "Connections that the broker accepts. A fleet that could need more is refused.",
        default_text="not checked",
    )

    #: Name of the Secret that the role makes for the credentials; computed.
    own_secret: str = ""
    #: Namespace of the fleet, in which a name without a dot is a Service.
    namespace: str = ""
    #: Where it was written, and where each of its keys was.
    path: str = "celery_workers_broker"
    written: Mapping[str, str] = field(default_factory=dict)
    #: Whether nothing in it was refused. What follows from a refused value is not checked.
    is_sound: bool = True

    def at(self, name: str) -> str:
        """Where a key was written, or would be."""
        return self.written.get(name, f"{self.path}.{name}")

    def wrote(self, paths: Iterable[str]) -> bool:
        """Whether one of some paths is the broker's or that of one of its keys."""
        own = {self.path, *self.written.values()}
        return any(path == root or path.startswith(f"{root}.") for path in paths for root in own)

    @property
    def is_redis(self) -> bool:
        """Whether queues are Redis lists."""
        return self.type in ("redis", "redis-sentinel")

    @property
    def is_known(self) -> bool:
        """Whether a scaler can find it."""
        return bool(self.host or self.hosts or self.region)

    @property
    def has_own_secret(self) -> bool:
        """Whether the role makes a Secret for it."""
        return (
            self.password
            or self.sentinel_password
            or self.secret_access_key
            or (self.scaler is not None and self.scaler.password)
        )


@dataclass(frozen=True)
class UnackedKeys:
    """Where kombu's Redis transport keeps what a variant's workers hold.

    The names begin with kombu's own, so that an ACL pattern C(~unacked*) covers them.

    :param place: broker, database and prefix, without credentials.
    """

    hash: str
    index: str
    mutex: str
    place: str

    @property
    def identity(self) -> str:
        """What must stay the same for a worker to find what an earlier one held."""
        return f"{self.place} {self.hash}"


#: Keys of a broker that hold a secret, which the role keeps in one Secret.
BROKER_SECRETS = ("password", "sentinel_password", "access_key_id", "secret_access_key")
