# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules between keys, variants and services: what would lose work or never start is refused before anything is sent."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.inventories import (
    IMAGE,
    REDIS,
    SCALED,
    fleet_of,
    manifests_with,
    of_kind,
    one_variant,
    problems_of,
    problems_with,
    variant_of,
)

REFUSED: list[tuple[str, dict[str, Any], str]] = [
    (
        "min_replicas",
        {"min_replicas": 11},
        "min_replicas 11 of variant default of service billing is above max_replicas 10",
    ),
    (
        "idle_replicas",
        {**SCALED, "idempotent": True, "min_replicas": 0, "idle_replicas": 0},
        "idle_replicas must be below min_replicas",
    ),
    ("fallback", {**SCALED, "fallback": {"replicas": 11}}, "fallback.replicas is above max_replicas 10."),
    ("scaler", {"scaler": "none", "enable_keda": True}, "scaler is none and enable_keda is true; write one of them."),
    (
        "reject_on_worker_lost",
        {"reject_on_worker_lost": True, "acks_late": False},
        "it works only with late acknowledgement",
    ),
    ("soft_time_limit", {"soft_time_limit": 60, "time_limit": 60}, "the soft limit 60 must be below time_limit 60"),
    (
        "soft_time_limit",
        {"soft_time_limit": 60, "longest_task_seconds": 60},
        "the soft limit 60 must be below time_limit 60",
    ),
    ("exclude_queues", {"queues": ["a"], "exclude_queues": ["a"]}, "a is consumed and excluded"),
    ("probe", {"probe": "exec"}, "type exec needs command"),
    ("probe", {"probe": {"type": "ping", "command": ["x"]}}, "command belongs to type exec, not to ping."),
    ("probe", {"probe": "ping", "pool": "solo"}, "while a task runs; use exec or none."),
    (
        "extra_params",
        {"probe": "heartbeat", "extra_params": ["--without-heartbeat"]},
        "waits for worker heartbeats, and --without-heartbeat switches them off",
    ),
    (
        "accept_risks",
        {"accept_risks": ["invisble-work"]},
        "there is no rule 'invisble-work'; did you mean 'invisible-work'?",
    ),
    (
        "volumes",
        {"volumes": [{"name": "celery-heartbeat", "emptyDir": {}}]},
        "the volume name celery-heartbeat is ours",
    ),
    (
        "volume_mounts",
        {"volume_mounts": [{"name": "x", "mountPath": "/x"}]},
        "/x mounts the volume 'x', which volumes does not have.",
    ),
    ("sidecars", {"sidecars": [{"name": "worker", "image": "x"}]}, "the container name 'worker' is taken"),
    (
        "init_containers",
        {"init_containers": [{"name": "worker", "image": "x"}]},
        "the container name 'worker' is taken",
    ),
    ("sidecars", {"sidecars": [{"name": "x"}]}, "the container 'x' has no image."),
    ("env", {"env": {"A": "1"}, "secret_env": {"A": True}}, "A is in env and in secret_env; write it once."),
    ("labels", {"labels": {"celery.queueops.io/fleet": "x"}}, "labels of celery.queueops.io/ are ours"),
    ("pod_labels", {"pod_labels": {"celery.queueops.io/variant": "x"}}, "labels of celery.queueops.io/ are ours"),
    # What "kubectl get -o yaml" shows, and a run would write anew each time or could not read.
    *(
        (key, {key: {name: "1"}}, "Kubernetes and its clients write this annotation themselves")
        for key in ("annotations", "pod_annotations", "scaled_object_annotations")
        for name in ("kubectl.kubernetes.io/last-applied-configuration", "deployment.kubernetes.io/revision")
    ),
    ("pdb", {"replicas": 2, "pdb": {"min_available": 1, "max_unavailable": 1}}, ""),
]


@pytest.mark.parametrize(("key", "keys", "message"), REFUSED, ids=[f"{row[0]}-{n}" for n, row in enumerate(REFUSED)])
def test_keys_that_contradict_each_other_are_refused_with_the_mend(
    key: str, keys: dict[str, Any], message: str
) -> None:
    (problem,) = problems_with(keys)
    path, _colon, text = problem.partition(": ")
    assert path.startswith(f"celery_workers_config.billing.default.{key}")
    assert text.startswith(message) or message in text


_ENABLE = "celery_workers_config.billing.default.enable_keda"


@pytest.mark.parametrize(
    ("broker", "path", "message"),
    [
        ({}, _ENABLE, "the scaler of variant default of service billing needs the broker's address"),
        ({"secret": {"name": "x"}}, _ENABLE, "needs the broker's address"),
        (
            {"type": "sqs", "region": "eu-central-1"},
            "celery_workers_broker",
            "needs access to SQS: set pod_identity: true",
        ),
        (
            {"type": "rabbitmq", "host": "rabbit", "tls": {"ca_secret": "ca"}},
            "celery_workers_broker.tls",
            "KEDA takes certificates for RabbitMQ only with the word enable from a Secret",
        ),
    ],
)
def test_a_scaler_needs_a_broker_that_it_can_read(broker: dict[str, Any], path: str, message: str) -> None:
    (problem,) = problems_with(SCALED, broker=broker)
    assert problem.startswith(f"{path}: ")
    assert message in problem


def test_what_the_scalers_of_many_variants_lack_is_said_once() -> None:
    variants = {name: {"scaler": "keda", "min_replicas": 1} for name in ("a", "b", "c", "d", "e")}
    (problem,) = problems_of(**{**one_variant(broker={}), "config": {"billing": variants}})
    assert problem.startswith("celery_workers_config.billing.a.scaler: ")
    assert "variant c of service billing and 2 more variants needs the broker's address" in problem


@pytest.mark.parametrize(
    "broker",
    [
        {"type": "rabbitmq", "host": "rabbit"},
        {"type": "rabbitmq", "host": "rabbit", "tls": {"ca_secret": "ca"}, "secret": {"name": "x", "tls_key": "tls"}},
        {"type": "rabbitmq", "host": "rabbit", "tls": {"ca_secret": "ca"}, "username": "me", "password": True},
        {"type": "redis-sentinel", "hosts": ["a"], "master_name": "main"},
        {"type": "sqs", "region": "eu-central-1", "pod_identity": True},
        {"type": "sqs", "region": "eu-central-1", "access_key_id": True, "secret_access_key": True},
    ],
)
def test_every_kind_of_broker_is_scaled_on_once_it_is_described(broker: dict[str, Any]) -> None:
    assert of_kind(manifests_with(SCALED, broker=broker), "ScaledObject")


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"resources": {"requests": {"cpu": None}}}, "the container 'worker' has none; set resources.requests.cpu."),
        (
            {"memory_utilization": 80, "resources": {"requests": {"memory": None}, "limits": {"memory": None}}},
            "the container 'worker' has none; set resources.requests.memory.",
        ),
        ({"min_replicas": 0}, "an HPA keeps at least one pod; write 1 or more, or scaler: keda."),
    ],
)
def test_an_hpa_that_kubernetes_could_not_work_with_is_refused(keys: dict[str, Any], message: str) -> None:
    (problem,) = problems_with({"scaler": "hpa", **keys})
    assert problem.endswith(message)


def test_a_request_counts_wherever_it_was_written() -> None:
    own = {"name": "worker", "resources": {"requests": {"cpu": "1"}}}
    keys = {"scaler": "hpa", "resources": {"requests": {"cpu": None}}}
    manifests = manifests_with({**keys, "pod_overrides": {"containers": [own]}})
    assert of_kind(manifests, "HorizontalPodAutoscaler")
    other = {"name": "proxy", "image": "registry.example/proxy:1"}
    (problem,) = problems_with({**keys, "pod_overrides": {"containers": [own, other]}})
    assert "the container 'proxy' has none" in problem


def test_a_service_without_an_image_is_named_with_its_variants() -> None:
    (problem,) = problems_of(
        services={"billing": {"beat": True}}, config={"billing": {"default": {}, "high": {"image": "x"}}}
    )
    assert problem.startswith(
        "celery_workers_services.billing.image: service billing has no image for variant default, beat"
    )


@pytest.mark.parametrize(
    "keys",
    [
        {"min_replicas": 0, "accept_risks": ["invisible-work"]},
        {"min_replicas": 0, "idempotent": True},
        {"min_replicas": 1},
        {"enable_keda": False, "min_replicas": 0},
        {},
    ],
)
def test_scale_to_zero_is_taken_where_work_is_seen_or_the_risk_is_accepted(keys: dict[str, Any]) -> None:
    variant = variant_of({"enable_keda": True, **keys})
    assert variant.scaling.min_replicas == keys.get("min_replicas", 1)


TWO = {"a": {"image": IMAGE}, "b": {"image": IMAGE}}


def two_services(broker: Any = None, keys: Any = None, **services: Any) -> dict[str, Any]:
    return {
        "services": {name: {**keys_of, **services.get(name, {})} for name, keys_of in TWO.items()},
        "config": {"a": {"default": {}}, "b": {"default": keys or {}}},
        "broker": {"host": "redis"} if broker is None else broker,
    }


def test_two_services_on_one_queue_are_refused_because_tasks_would_be_lost() -> None:
    (problem,) = problems_of(**two_services())
    assert problem.startswith(
        "celery_workers_config.b.default.queues: variant default of service a and variant default of"
    )
    assert "a worker discards tasks that its app does not have, so they would be lost" in problem
    assert fleet_of(**two_services(keys={"accept_risks": ["shared-queue"]})).warnings == ()


@pytest.mark.parametrize(
    "services",
    [
        {"b": {"queue_name": "b.{variant}"}},
        {"b": {"broker": {"host": "other"}}},
        {"b": {"broker": {"host": "redis", "database": 1}}},
        {"a": {"broker": {"secret": {"name": "one"}}}, "b": {"broker": {"secret": {"name": "two"}}}},
    ],
)
def test_two_services_with_queues_or_brokers_of_their_own_share_nothing(services: dict[str, Any]) -> None:
    assert len(fleet_of(**two_services(**services)).variants) == 2


def test_two_variants_of_one_service_on_one_queue_are_refused_because_both_count_its_messages() -> None:
    variables = one_variant({"queues": ["a"]})
    variables["config"]["billing"]["high"] = {"queues": ["a", "b"]}
    (problem,) = problems_of(**variables)
    assert problem.startswith("celery_workers_config.billing.high.queues: ")
    assert "consume the queue 'a': both count the same messages" in problem


@pytest.mark.parametrize(
    "variables",
    [
        one_variant({}, {"known_queues": ["default", "reports"]}),
        {**one_variant({}), "explicit_queues": {"billing": {"a.task": {"queue": "reports"}}}},
        {**one_variant({}), "explicit_queues": {"billing": {"a.task": "reports"}}},
    ],
)
def test_a_queue_that_is_known_or_routed_and_that_nobody_consumes_is_refused(variables: dict[str, Any]) -> None:
    (problem,) = problems_of(**variables)
    assert "no variant consumes the queue 'reports', so its tasks would wait forever" in problem
    variables["config"]["billing"] = {"default": {}, "reports": {}}
    assert len(fleet_of(**variables).variants) == 2


def test_a_known_queue_whose_variant_is_switched_off_is_refused() -> None:
    variables = one_variant({}, {"known_queues": ["high"]})
    variables["config"]["billing"]["high"] = {"enabled": False}
    assert "no variant consumes the queue 'high'" in problems_of(**variables)[0]


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, (600, 300, 40)),
        ({"longest_task_seconds": 1800}, (1830, 1800, 40)),
        ({"longest_task_seconds": 5}, (60, 300, 40)),
        ({"task_seconds": 20, "max_wait_seconds": 600}, (600, 300, 51)),
        ({"task_seconds": 20, "concurrency": 4}, (600, 300, 102)),
        ({"task_seconds": 9000}, (600, 300, 1)),
        ({"profile": "long"}, (14400, 1800, 1)),
        ({"profile": "fast"}, (120, 300, 20)),
        ({"longest_task_seconds": 1800, "termination_grace_period": 2400, "list_length": 3}, (2400, 1800, 3)),
    ],
)
def test_settings_follow_from_known_task_times_unless_given(
    keys: dict[str, Any], expected: tuple[int, int, int]
) -> None:
    variant = variant_of(keys)
    scaling = variant.scaling
    assert (variant.pod.termination_grace_period, scaling.cooldown_period, scaling.list_length) == expected


SECOND: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("env", {"env": {"CELERY_BROKER_URL": "redis://other/0"}}, {}),
    ("env", {"env": [{"name": "CELERY_BROKER_URL", "value": "redis://redis/0"}]}, {}),
    ("env", {"env": {"BROKER_URL": "redis://other/0"}}, {}),
    ("env", {"env": {"CELERY_BROKER_READ_URL": "redis://other/0"}}, {}),
    ("env", {"env": {"CELERY_BROKER_WRITE_URL": "redis://me:pw@other/0"}}, {}),
    ("env", {"env": {"SHOP_BROKER": "redis://other/0"}}, {"inject_env": "SHOP_BROKER"}),
    ("env", {"env": {"CELERY_BROKER_URL": "redis://other/0"}}, {"inject_env": "SHOP_BROKER"}),
    ("env", {"env": {"CELERY_BROKER_URL": "redis://redis/1"}}, {"inject_env": ""}),
    ("secret_env", {"secret_env": {"CELERY_BROKER_URL": True}}, {}),
    ("secret_env", {"secret_env": {"CELERY_BROKER_URL": {"secret": "x", "key": "url"}}}, {}),
    ("secret_env", {"secret_env": {"BROKER_URL": True}}, {"inject_env": "SHOP_BROKER"}),
    (
        "env",
        {"env": [{"name": "CELERY_BROKER_URL", "valueFrom": {"secretKeyRef": {"name": "x", "key": "url"}}}]},
        {},
    ),
    (
        "pod_overrides",
        {"pod_overrides": {"containers": [{"name": "worker", "env": [{"name": "CELERY_BROKER_URL", "value": "x"}]}]}},
        {},
    ),
]


@pytest.mark.parametrize("place", ["variant", "service", "queue_defaults"])
@pytest.mark.parametrize(("key", "keys", "broker"), SECOND)
def test_workers_and_their_scaler_have_one_broker(
    key: str, keys: dict[str, Any], broker: dict[str, Any], place: str
) -> None:
    paths = {
        "variant": "celery_workers_config.billing.default",
        "service": "celery_workers_services.billing",
        "queue_defaults": "celery_workers_queue_defaults",
    }
    (problem,) = problems_of(
        services={"billing": {"image": IMAGE, **(keys if place == "service" else {})}},
        config={"billing": {"default": {**SCALED, **(keys if place == "variant" else {})}, "high": None}},
        queue_defaults=keys if place == "queue_defaults" else {},
        broker={**REDIS, **broker},
    )
    assert problem.startswith(f"{paths[place]}.{key}: ")
    assert "of service billing to a broker of their own, which no scaler reads. Leave it out: " in problem
    assert ("variant default and variant high" in problem) is (place != "variant")
    assert "pw" not in problem


@pytest.mark.parametrize(
    ("keys", "broker"),
    [
        ({"env": {"CELERY_BROKER_URL": "redis://redis.shop.svc:6379/0"}}, {"inject_env": ""}),
        ({"env": {"CELERY_BROKER_URL": "redis://redis/0"}}, {"inject_env": "SHOP_BROKER"}),
        ({"secret_env": {"CELERY_BROKER_URL": True}}, {"inject_env": ""}),
        ({"env": {"SHOP_BROKER": "redis://cache/0"}}, {}),
        ({"sidecars": [{"name": "x", "image": "x", "env": [{"name": "CELERY_BROKER_URL", "value": "redis://o"}]}]}, {}),
    ],
)
def test_a_variable_that_names_the_same_broker_or_none_is_accepted(keys: dict[str, Any], broker: Any) -> None:
    assert variant_of(keys, broker={**REDIS, **broker}).pod.env == tuple(
        {"name": name, "value": value} for name, value in keys.get("env", {}).items()
    )


def test_without_a_broker_in_the_inventory_a_variable_may_name_it() -> None:
    fleet = fleet_of(**one_variant({"env": {"CELERY_BROKER_URL": "redis://redis/0"}}, broker={}))
    assert fleet.services[0].broker is None


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        *(
            ("settings", {name: "redis://other/0"}, "write celery_workers_broker instead")
            for name in ("broker_url", "broker_read_url", "broker_write_url", "broker_host", "BROKER_URL")
        ),
        ("settings", {"broker_transport": "redis"}, "write celery_workers_broker instead"),
        ("extra_params", ["--broker=redis://other/0"], "the broker is the fleet's; set celery_workers_broker"),
        ("extra_params", ["-b", "redis://other/0"], "the broker is the fleet's; set celery_workers_broker"),
        ("extra_params", ["-bredis://other/0"], "the broker is the fleet's; set celery_workers_broker"),
        ("extra_params", ["--", "broker_url=redis://other/0"], "sets a Celery setting; write it under settings."),
        ("extra_params", ["--", "broker.read_url=redis://other/0"], "sets a Celery setting; write it under settings."),
    ],
)
def test_no_setting_and_no_argument_names_another_broker(key: str, value: Any, said: str) -> None:
    (problem,) = problems_with({key: value})
    assert problem.startswith(f"celery_workers_config.billing.default.{key}")
    assert said in problem


@pytest.mark.parametrize(
    ("settings", "path", "said"),
    [
        ({"task_queue_max_priority": 10}, "task_queue_max_priority", "406 PRECONDITION_FAILED"),
        ({"task.queue_max_priority": 10}, "task.queue_max_priority", "406 PRECONDITION_FAILED"),
        ({"worker_detect_quorum_queues": False}, "worker_detect_quorum_queues", "540 NOT_IMPLEMENTED"),
        ({"worker_detect_quorum_queues": "false"}, "worker_detect_quorum_queues", "540 NOT_IMPLEMENTED"),
    ],
)
@pytest.mark.parametrize("kind", [{"queue_type": "quorum", "delivery_limit": 0}, {}])
def test_what_no_worker_on_a_quorum_queue_starts_with_is_refused_once(
    settings: dict[str, Any], path: str, said: str, kind: dict[str, Any]
) -> None:
    more = {} if kind else {"task_default_queue_type": "quorum"}
    (problem,) = problems_of(
        services={"billing": {"image": IMAGE, "settings": {**settings, **more}}},
        config={"billing": {"a": {}, "b": {}}},
        broker={"type": "rabbitmq", "host": "rabbit", **kind},
    )
    assert problem.startswith(f"celery_workers_services.billing.settings.{path}: ")
    assert said in problem
    assert "variant a of service billing and variant b of service billing" in problem


@pytest.mark.parametrize("settings", [{"task_queue_max_priority": 10}, {"worker_detect_quorum_queues": False}])
def test_a_classic_queue_may_have_priorities_and_no_detection(settings: dict[str, Any]) -> None:
    assert (
        variant_of({"settings": settings}, broker={"type": "rabbitmq", "host": "rabbit"}).process.settings == settings
    )


def test_quorum_queues_before_celery_5_5_are_one_problem_for_all_variants() -> None:
    (problem,) = problems_of(
        services={"billing": {"image": IMAGE}},
        config={"billing": {"a": {}, "b": {}}},
        broker={"type": "rabbitmq", "host": "rabbit", "queue_type": "quorum"},
        versions={"celery": "5.4"},
    )
    assert problem.startswith("celery_workers_celery_version: variant a of service billing and variant b")
    assert "needs Celery 5.5, and 5.4 is installed" in problem


@pytest.mark.parametrize("amount", ["0", 0, "0m"])
def test_an_hpa_does_not_measure_against_a_request_of_nothing(amount: Any) -> None:
    (problem,) = problems_with({"scaler": "hpa", "resources": {"requests": {"cpu": amount}}})
    assert "cpu of variant default of service billing is measured against its request" in problem
