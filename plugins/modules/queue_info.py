#!/usr/bin/python
# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Says what the queues of a broker hold."""

from __future__ import annotations

DOCUMENTATION = r"""
module: queue_info
short_description: See what the queues of a Celery broker hold
version_added: 1.0.0
description:
  - Reads Redis, also behind sentinels, or RabbitMQ, and says for each queue how many messages wait, how many are not
    acknowledged, how many of these are held for their ETA, who consumes it, and how old the oldest message is.
  - Connects from where the module runs (O(broker)), or runs a command in a pod of a Deployment of workers
    (O(namespace) and O(deployment)), whose image has Celery and whose app knows the broker.
  - Looks for what is left over as well (O(audit)), and changes nothing. The playbook C(queueops.celery.gc) cleans up.
  - What the broker does not tell is null, and never 0.
author:
  - queueops (@queueops)
extends_documentation_fragment:
  - queueops.celery._attributes
  - queueops.celery._attributes.reads
  - queueops.celery._attributes.cluster
  - kubernetes.core.k8s_auth_options
options:
  broker:
    description: The broker to connect to. Write O(broker.url) or its parts.
    type: dict
    suboptions:
      url:
        description:
          - The broker as one URL (V(redis://), V(rediss://), V(amqp://), V(amqps://)), percent-encoded.
        type: str
      type:
        description: Kind of broker.
        type: str
        choices: [redis, redis-sentinel, rabbitmq]
        default: redis
      host:
        description: Host name of the broker.
        type: str
        default: localhost
      port:
        description: Port of the broker. The default is 6379 for Redis, 26379 for sentinels, and 5672 for RabbitMQ (5671
          with TLS).
        type: int
      hosts:
        description: Host names of the sentinels, each with C(:port) if wanted.
        type: list
        elements: str
        default: []
      master_name:
        description: Name of the master that the sentinels watch.
        type: str
        default: mymaster
      database:
        description: Redis database of the queues.
        type: int
        default: 0
      virtual_host:
        description: RabbitMQ virtual host of the queues.
        type: str
        default: /
      username:
        description: User name.
        type: str
      password:
        description: Password. Neither it nor the one in O(broker.url) is in the result, and equal texts there are not
          masked.
        type: str
      sentinel_username:
        description: User name for the sentinels themselves.
        type: str
      sentinel_password:
        description: Password of the sentinels themselves.
        type: str
      tls:
        description: Connect with TLS.
        type: bool
        default: false
      verify:
        description: Check the certificate of the broker and of its management API.
        type: bool
        default: true
      ca_path:
        description: File with the CA certificate of the broker. Without it the system's certificates count.
        type: path
      cert_path:
        description: File with a client certificate.
        type: path
      key_path:
        description: File with the private key of O(broker.cert_path).
        type: path
      global_keyprefix:
        description: The prefix that the app gives to every Redis key.
        type: str
      priority_steps:
        description: The priority steps of the app on Redis. The default is kombu's, 0, 3, 6 and 9.
        type: list
        elements: int
      sep:
        description: What stands between a queue and its step in the name of a Redis list. The default is kombu's.
        type: str
      management_url:
        description: Address of RabbitMQ's management API. The default is port 15672 of O(broker.host), or 15671 with
          TLS.
        type: str
  namespace:
    description: Namespace of O(deployment).
    type: str
  deployment:
    description: A Deployment of Celery workers. One of its ready pods is asked.
    type: str
  queues:
    description: Queues that are told even where they are empty. Those that hold something are found.
    type: list
    elements: str
    default: []
  audit:
    description: Look for reply and event queues that nobody reads, and for bindings of processes that are gone.
    type: bool
    default: true
  quiet:
    description: Seconds for which something must be unused to count as left over. The module takes that long.
    type: int
    default: 10
  timeout:
    description: Seconds to wait for an answer of the broker.
    type: int
    default: 10
requirements:
  - python >= 3.11
  - redis, to connect to Redis
  - amqp, to connect to RabbitMQ
  - kubernetes >= 24.2.0, != 36.0.0, != 36.0.1 and the collection kubernetes.core >= 3.2.0, to ask a pod
"""

EXAMPLES = r"""
- name: Ask through a pod
  queueops.celery.queue_info:
    namespace: shop
    deployment: shop-worker
  register: through_pod

- name: Stop if something waits that nobody consumes
  ansible.builtin.assert:
    that: through_pod.queues | selectattr('waiting') | rejectattr('consumers') | length == 0

- name: Connect to Redis
  queueops.celery.queue_info:
    broker:
      host: redis.example
      password: "{{ redis_password }}"
    queues: [default, high]
    audit: false

- name: Connect to RabbitMQ
  queueops.celery.queue_info:
    broker:
      type: rabbitmq
      host: rabbitmq.example
      username: celery
      password: "{{ rabbitmq_password }}"
      management_url: http://rabbitmq.example:15672
"""

RETURN = r"""
type:
  description: Kind of broker.
  returned: success
  type: str
  sample: redis
asked:
  description: The pod that was asked; empty where the module connected itself.
  returned: success
  type: str
  sample: shop-worker-6c9d8f7b5-x2x7k
queues:
  description: One row per queue, by name.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name of the queue.
      type: str
      sample: default
    waiting:
      description: Messages that wait.
      type: int
      sample: 12
    by_priority:
      description: Messages that wait by priority step. Empty on RabbitMQ, which does not tell.
      type: dict
      sample: {"0": 10, "3": 2, "6": 0, "9": 0}
    unacked:
      description: Messages that were delivered and are not acknowledged. RabbitMQ tells it by its management API.
      type: int
      sample: 3
    held_for_eta:
      description: Unacknowledged messages whose ETA has not come. On RabbitMQ only pods tell, and only if every
        consumer answers.
      type: int
      sample: 1
    consumers:
      description: Consumers. On Redis the workers that answer over remote control, which only pods tell.
      type: int
      sample: 2
    workers:
      description: Nodes that consume it and answer. Null where none was asked.
      type: list
      elements: str
      sample: [shop.default@shop-worker-6c9d8f7b5-x2x7k]
    oldest_waiting_seconds:
      description: Seconds since the next message was sent. Only where messages have a timestamp, which Celery does not
        give them by itself.
      type: int
      sample: 90
    oldest_unacked_seconds:
      description: Seconds since the oldest unacknowledged message was delivered. Redis only.
      type: int
      sample: 30
unacked:
  description: One row per hash of Redis that holds unacknowledged messages.
  returned: success
  type: list
  elements: dict
  contains:
    key:
      description: Name of the hash.
      type: str
      sample: unacked:shop.shop.default
    messages:
      description: Messages in it.
      type: int
      sample: 3
    oldest_seconds:
      description: Seconds since the oldest of them was delivered.
      type: int
      sample: 30
    in_use:
      description: Whether some worker uses it. Null where that is not known.
      type: bool
      sample: true
    stranded:
      description: Messages of it that no worker will acknowledge or give back, by queue.
      type: dict
      sample: {}
    stranded_without_queue:
      description: Such messages whose queue cannot be told.
      type: int
      sample: 0
    given_back:
      description: Always empty, because this module changes nothing.
      type: dict
      sample: {}
leaks:
  description: What is left over, one row per kind.
  returned: success
  type: list
  elements: dict
  contains:
    kind:
      description:
        - V(reply_queue), V(node_queue) or V(event_queue) for queues of remote control and of events that nobody reads;
          V(reply_binding), V(node_binding) or V(event_binding) for bindings in Redis of processes that are gone.
      type: str
      sample: reply_binding
    count:
      description: How many there are.
      type: int
      sample: 41
    messages:
      description: Messages in them.
      type: int
      sample: 0
    names:
      description: The first three.
      type: list
      elements: str
      sample: [0b7d6c0e-8c0b-3a8e-9d2c-3f6f7d0f1a11.reply.celery.pidbox]
    removed:
      description: Always 0, because this module changes nothing.
      type: int
      sample: 0
unconsumed:
  description: Queues with messages that no worker of the namespace consumes, nor any that answers. Null where that is
    not known.
  returned: success
  type: list
  elements: str
  sample: []
unread:
  description: What of it could not be read, and why; empty where all was read.
  returned: success
  type: str
  sample: ""
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.queueops.celery.plugins.module_utils._celery.broker_urls import (
    FAULTS,
    SCHEMES,
    UrlFault,
    read_url,
)
from ansible_collections.queueops.celery.plugins.module_utils._celery.survey_texts import unconsumed
from ansible_collections.queueops.celery.plugins.module_utils._celery.surveys import Survey, SurveyQuestion, as_data
from ansible_collections.queueops.celery.plugins.module_utils._cluster.connection import (
    client_of,
    cluster_module,
    connection_options,
)
from ansible_collections.queueops.celery.plugins.module_utils._cluster.reaching import (
    LibraryError,
    Login,
    survey_directly,
)
from ansible_collections.queueops.celery.plugins.module_utils._cluster.reading import (
    ClusterError,
    open_cluster,
)
from ansible_collections.queueops.celery.plugins.module_utils._cluster.surveying import (
    SurveyWish,
    survey_deployment,
)
from ansible_collections.queueops.celery.plugins.module_utils._model.broker import Broker, Management, Tls

#: What stands for a secret in what is shown of the arguments.
_HIDDEN = "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"
_PORTS = {"redis": 6379, "redis-sentinel": 26379, "rabbitmq": 5672}


def broker_options() -> dict[str, Any]:
    """Argument spec of the broker."""
    return {
        "url": {"type": "str", "no_log": True},
        "type": {"type": "str", "choices": ["redis", "redis-sentinel", "rabbitmq"], "default": "redis"},
        "host": {"type": "str", "default": "localhost"},
        "port": {"type": "int"},
        "hosts": {"type": "list", "elements": "str", "default": []},
        "master_name": {"type": "str", "default": "mymaster"},
        "database": {"type": "int", "default": 0},
        "virtual_host": {"type": "str", "default": "/"},
        "username": {"type": "str"},
        "password": {"type": "str", "no_log": True},
        "sentinel_username": {"type": "str"},
        "sentinel_password": {"type": "str", "no_log": True},
        "tls": {"type": "bool", "default": False},
        "verify": {"type": "bool", "default": True},
        "ca_path": {"type": "path"},
        "cert_path": {"type": "path"},
        "key_path": {"type": "path", "no_log": False},
        "global_keyprefix": {"type": "str", "no_log": False},
        "priority_steps": {"type": "list", "elements": "int"},
        "sep": {"type": "str"},
        "management_url": {"type": "str", "no_log": True},
    }


def argument_spec() -> dict[str, Any]:
    """Options of the connection to a cluster, of the broker, and of what is asked."""
    return {
        **connection_options(),
        "broker": {"type": "dict", "options": broker_options()},
        "namespace": {"type": "str"},
        "deployment": {"type": "str"},
        "queues": {"type": "list", "elements": "str", "default": []},
        "audit": {"type": "bool", "default": True},
        "quiet": {"type": "int", "default": 10},
        "timeout": {"type": "int", "default": 10},
    }


def broker_from(given: Mapping[str, Any]) -> tuple[Broker, str]:
    """The broker that options describe, and its password.

    :raises ValueError: with what is wrong with its URL, of which it shows nothing.
    """
    parts = dict(given)
    if given["url"]:
        found = read_url(given["url"])
        if isinstance(found, UrlFault):
            raise ValueError(f"broker.url: {FAULTS.get(found.name, 'write redis://, rediss://, amqp:// or amqps://.')}")
        kind, encrypted = SCHEMES[found.scheme]
        parts.update(type=kind, tls=encrypted, host=found.host, port=found.port, username=found.username)
        parts["password"] = found.password or given["password"]
        if kind == "redis" and found.path and not found.path.isdigit():
            raise ValueError("broker.url: what follows the host is the number of a Redis database, such as /0.")
        parts.update({"database": int(found.path or 0)} if kind == "redis" else {"virtual_host": found.path or "/"})
    kind, encrypted = parts["type"], bool(parts["tls"])
    default = 5671 if kind == "rabbitmq" and encrypted else _PORTS[kind]
    steps = parts["priority_steps"]
    broker = Broker(
        type=kind,
        host=parts["host"],
        hosts=tuple(parts["hosts"]),
        port=parts["port"] or default,
        database=parts["database"],
        virtual_host=parts["virtual_host"],
        username=parts["username"],
        sentinel_username=parts["sentinel_username"],
        tls=Tls(insecure_skip_verify=not parts["verify"]) if encrypted else None,
        priority_steps=tuple(steps) if steps else None,
        sep=parts["sep"],
        global_keyprefix=parts["global_keyprefix"],
        master_name=parts["master_name"],
        management=Management(),
    )
    return broker, str(parts["password"] or "")


def without_secrets(value: Any, spec: Mapping[str, Any]) -> Any:
    """Arguments as they may be shown."""
    found = {}
    for name, item in value.items():
        option = spec.get(name) or {}
        hides = option.get("no_log") and item is not None
        inner = isinstance(item, Mapping) and isinstance(option.get("options"), Mapping)
        found[name] = _HIDDEN if hides else without_secrets(item, option["options"]) if inner else item
    return found


def _ask_directly(params: Mapping[str, Any]) -> Survey:
    given = params["broker"]
    broker, password = broker_from(given)
    management = urlsplit(given["management_url"] or "http://unused")
    if management.scheme not in ("http", "https") or not management.hostname or management.username:
        raise ValueError("broker.management_url: write http://host:15672 or https://host:15671, without a login.")
    if broker.type == "redis-sentinel" and not broker.hosts:
        raise ValueError("broker.hosts: name the sentinels.")
    login = Login(
        password=password,
        sentinel_password=given["sentinel_password"] or "",
        authority=given["ca_path"] or "",
        certificate=given["cert_path"] or "",
        key=given["key_path"] or "",
        timeout=params["timeout"],
    )
    question = SurveyQuestion(
        app="",
        queues=tuple(params["queues"]),
        management=given["management_url"] or "",
        asks_nodes=False,
        audits=params["audit"],
        quiet=params["quiet"],
        timeout=params["timeout"],
    )
    return survey_directly(broker, login, question)


def main() -> None:
    """Entry point."""
    rules: dict[str, Any] = {
        "mutually_exclusive": [("broker", "namespace")],
        "required_together": [("namespace", "deployment")],
        "required_one_of": [("broker", "namespace")],
    }
    spec = argument_spec()
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True, **rules)
    params, asked, consumed = module.params, "", None
    try:
        if params["broker"] is not None:
            found = _ask_directly(params)
        else:
            wish = SurveyWish(audits=params["audit"], quiet=params["quiet"])
            cluster = open_cluster(lambda: client_of(cluster_module(spec)), params["namespace"])
            own = (params["queues"], params["timeout"])
            found, asked, consumed = survey_deployment(cluster, params["deployment"], wish, *own)
    except LibraryError as error:
        module.fail_json(msg=missing_required_lib(error.name, reason="to connect to this broker"))
    except (ClusterError, ValueError) as error:
        module.fail_json(msg=str(error))
    # Ansible would put asterisks wherever a result has the same text as a password: in the name of a queue, or in a
    # number. No password is in this result: texts of the broker are free of it already.
    shown = {"invocation": {"module_args": without_secrets(params, spec)}}
    module.no_log_values.clear()
    if found.error:
        module.fail_json(msg=f"The broker could not be read: {found.error}", **shown)
    free = None if consumed is None else [row.name for row in unconsumed(found, consumed)]
    module.exit_json(changed=False, asked=asked, unconsumed=free, **as_data(found), **shown)


if __name__ == "__main__":
    main()
