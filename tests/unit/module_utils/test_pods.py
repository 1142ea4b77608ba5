# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pods: what their containers run, see and may do, and how Kubernetes learns that they are up."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._build.watching import watching_resources
from ansible_collections.queueops.celery.plugins.module_utils._model.observed import NOTHING, Observed, ObservedObject

from tests.unit.inventories import (
    REDIS,
    container_with,
    deployment_with,
    fleet_of,
    manifests_of,
    manifests_with,
    of_kind,
    one_variant,
    problems_of,
    problems_with,
)


def pod_with(keys: Any = None, **rest: Any) -> dict[str, Any]:
    spec: dict[str, Any] = deployment_with(keys, **rest)["spec"]["template"]["spec"]
    return spec


def beat_pod_with(service: dict[str, Any], **rest: Any) -> dict[str, Any]:
    deployments = of_kind(manifests_with({}, service={"beat": True, **service}, **rest), "Deployment")
    spec: dict[str, Any] = deployments[1]["spec"]["template"]["spec"]
    return spec


def env_of(container: dict[str, Any]) -> dict[str, Any]:
    return {entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in container.get("env", [])}


@pytest.mark.parametrize(
    ("broker", "expected"),
    [
        ({"host": "redis", "database": 2}, "redis://redis:6379/2"),
        ({"host": "redis", "tls": True}, "rediss://redis:6379/0?ssl_cert_reqs=required"),
        (
            {"host": "redis", "tls": {"insecure_skip_verify": True}},
            "rediss://redis:6379/0?ssl_cert_reqs=none",
        ),
        (
            {"host": "redis", "tls": {"ca_secret": "ca"}},
            "rediss://redis:6379/0?ssl_ca_certs=/celery-broker-tls/ca.crt&ssl_cert_reqs=required",
        ),
        ({"host": "fe80::1"}, "redis://[fe80::1]:6379/0"),
        ({"type": "rabbitmq", "host": "rabbit"}, "amqp://rabbit:5672/%2F"),
        ({"type": "rabbitmq", "host": "rabbit", "tls": True, "virtual_host": "a/b"}, "amqps://rabbit:5671/a%2Fb"),
        ({"host": "redis", "password": True}, {"secretKeyRef": {"name": "shop-celery-broker", "key": "url"}}),
        ({"secret": {"name": "x", "url_key": "u"}}, {"secretKeyRef": {"name": "x", "key": "u"}}),
    ],
)
def test_workers_get_the_broker_by_its_url_or_by_reference(broker: dict[str, Any], expected: Any) -> None:
    assert env_of(container_with(broker=broker))["CELERY_BROKER_URL"] == expected


def test_where_the_app_names_the_broker_only_the_probe_is_told_of_it() -> None:
    container = container_with(broker={"host": "redis", "inject_env": ""})
    assert "CELERY_BROKER_URL" not in env_of(container)
    assert env_of(container)["CELERY_PROBE_BROKER_URL"] == "redis://redis:6379/0"
    assert 'CELERY_BROKER_URL="$CELERY_PROBE_BROKER_URL"' in container["startupProbe"]["exec"]["command"][2]


def test_the_users_own_entry_wins_over_ours_and_stands_there_once() -> None:
    broker = {"type": "sqs", "region": "eu-central-1", "pod_identity": True}
    container = container_with({"env": {"AWS_DEFAULT_REGION": "eu-central-1"}}, broker=broker)
    assert [entry for entry in container["env"] if entry["name"] == "AWS_DEFAULT_REGION"] == [
        {"name": "AWS_DEFAULT_REGION", "value": "eu-central-1"}
    ]


def test_a_secret_environment_is_referenced() -> None:
    keys = {"secret_env": {"OWN": True, "OTHER": {"secret": "pay", "key": "token"}}}
    assert env_of(container_with(keys))["OWN"] == {"secretKeyRef": {"name": "billing-worker-env", "key": "OWN"}}
    assert env_of(container_with(keys))["OTHER"] == {"secretKeyRef": {"name": "pay", "key": "token"}}


SECRETS_IN_PLAIN_SIGHT: list[tuple[str, dict[str, Any]]] = [
    ("env", {"env": {"DB_PASSWORD": "hunter2"}}),
    ("env by its value", {"env": {"DB": "postgres://me:hunter2@db/x"}}),
    ("a sidecar", {"sidecars": [{"name": "x", "image": "y", "env": [{"name": "API_TOKEN", "value": "hunter2"}]}]}),
    (
        "an init container",
        {"init_containers": [{"name": "x", "image": "y", "env": [{"name": "API_TOKEN", "value": "hunter2"}]}]},
    ),
    (
        "pod_overrides",
        {"pod_overrides": {"containers": [{"name": "worker", "env": [{"name": "API_TOKEN", "value": "hunter2"}]}]}},
    ),
]


@pytest.mark.parametrize(
    "keys", [row[1] for row in SECRETS_IN_PLAIN_SIGHT], ids=[row[0] for row in SECRETS_IN_PLAIN_SIGHT]
)
def test_an_environment_that_holds_a_secret_in_plain_sight_is_refused(keys: dict[str, Any]) -> None:
    found = problems_with(keys)
    assert "looks like a secret" in found[0]
    assert "hunter2" not in str(found)


def test_a_secret_in_the_environment_of_beat_alone_is_refused_too() -> None:
    service = {"beat": True, "env": {"DB_PASSWORD": "hunter2"}}
    assert "looks like a secret" in problems_with({"enabled": False}, service=service)[0]


@pytest.mark.parametrize("name", ["PASSWORD", "password"])
def test_a_variable_with_the_name_of_a_secret_key_is_said_to_look_like_a_secret(name: str) -> None:
    """The role has taken the value out by then, so what arrives is C(true)."""
    assert "looks like a secret" in problems_with({"env": {name: True}})[0]


@pytest.mark.parametrize("name", ["TOKEN_URL_LIST", "PASSWORD_HASHER", "SECRETS_DIR", "KEYBOARD"])
def test_an_environment_that_only_sounds_like_a_secret_is_taken(name: str) -> None:
    assert env_of(container_with({"env": {name: "x"}}))[name] == "x"


def test_who_accepts_the_risk_may_write_it() -> None:
    keys = {"env": {"DB_PASSWORD": "none"}, "accept_risks": ["plain-secret"]}
    assert env_of(container_with(keys))["DB_PASSWORD"] == "none"


def test_a_value_that_is_no_text_is_not_shown_where_it_may_be_a_secret() -> None:
    assert "8431975" not in str(problems_with({"env": {"DB_PASSWORD": 8431975}}))


def test_pods_are_restricted_by_default_also_beside_the_worker() -> None:
    pod = pod_with({"sidecars": [{"name": "x", "image": "y"}], "init_containers": [{"name": "z", "image": "y"}]})
    assert pod["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    for container in [*pod["containers"], *pod["initContainers"]]:
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_a_looser_standard_leaves_the_user_and_the_capabilities_alone() -> None:
    pod = pod_with({"pod_security": "baseline"})
    assert "securityContext" not in pod
    assert pod["containers"][0]["securityContext"] == {"allowPrivilegeEscalation": False}
    assert "securityContext" not in pod_with({"pod_security": "none"})["containers"][0]


def test_a_security_context_of_the_user_is_merged_over_the_standard() -> None:
    pod = pod_with(
        {"security_context": {"runAsUser": 1000}, "container_security_context": {"readOnlyRootFilesystem": True}}
    )
    assert pod["securityContext"]["runAsUser"] == 1000
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["containers"][0]["securityContext"]["readOnlyRootFilesystem"] is True


PROBES: list[tuple[dict[str, Any], set[str]]] = [
    ({}, {"startupProbe"}),
    ({"probe": "none"}, set()),
    ({"probe": False}, set()),
    ({"pool": "solo"}, set()),
    ({"extra_params": ["--pool=solo"]}, set()),
    ({"probe": "heartbeat"}, {"startupProbe", "livenessProbe"}),
    ({"probe": {"type": "heartbeat", "liveness": False}}, {"startupProbe"}),
    ({"probe": "consuming"}, {"startupProbe", "livenessProbe"}),
    ({"probe": "consuming", "pool": "solo"}, {"startupProbe", "livenessProbe"}),
    ({"probe": {"type": "consuming", "liveness": False}}, {"startupProbe"}),
    ({"probe": {"type": "exec", "command": ["true"]}}, {"startupProbe", "livenessProbe"}),
    ({"probe": {"type": "ping", "liveness": True}}, {"startupProbe", "livenessProbe"}),
]


@pytest.mark.parametrize(("keys", "expected"), PROBES)
def test_a_worker_has_the_probes_that_fit_it(keys: dict[str, Any], expected: set[str]) -> None:
    found = {name for name in container_with(keys) if name.endswith("Probe")}
    assert found == expected


@pytest.mark.parametrize("keys", [{"enforce_settings": True}, {"max_starts": 3, "acks_late": True}])
def test_a_worker_that_our_file_starts_is_ready_without_a_program_of_celery(keys: dict[str, Any]) -> None:
    container = container_with({**keys, "probe": {"type": "ping", "liveness": True}})
    shell, option, script = container["startupProbe"]["exec"]["command"]
    assert (shell, option) == ("sh", "-c")
    assert script.startswith("test -e /tmp/celery-heartbeat || ")
    assert "inspect ping" in container["livenessProbe"]["exec"]["command"][2]


@pytest.mark.parametrize("broker", [{}, {"host": "redis", "transport_options": {"global_keyprefix": "x"}}])
def test_a_worker_that_a_ping_cannot_reach_has_no_probe(broker: dict[str, Any]) -> None:
    assert not [name for name in container_with(broker=broker) if name.endswith("Probe")]


def test_a_worker_has_the_time_to_start_that_it_is_given() -> None:
    probe = container_with({"probe": {"startup_seconds": 65}})["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] >= 65


@pytest.mark.parametrize("keys", [{}, {"probe": {"timeout_seconds": 12}}])
def test_a_ping_has_time_to_start_on_a_busy_node_beside_the_time_for_its_answer(keys: dict[str, Any]) -> None:
    probe = container_with(keys)["startupProbe"]
    answer = int(probe["exec"]["command"][2].rpartition("--timeout ")[2])
    assert answer == (7 if keys else 5)
    assert probe["timeoutSeconds"] - answer == 25


def test_a_heartbeat_worker_starts_from_a_mounted_file_and_rolls_with_it() -> None:
    manifests = manifests_with({"probe": "heartbeat"})
    (config_map,) = of_kind(manifests, "ConfigMap")
    template = of_kind(manifests, "Deployment")[0]["spec"]["template"]
    container = template["spec"]["containers"][0]
    assert container["command"] == ["python", "/celery-heartbeat/start.py"]
    assert container["args"][0] == "celery"
    assert set(config_map["data"]) == {"start.py", "check.py"}
    assert template["spec"]["volumes"][0]["configMap"]["name"] == config_map["metadata"]["name"]
    assert template["metadata"]["annotations"]["celery.queueops.io/config-hash"]
    for name, text in config_map["data"].items():
        compile(text, name, "exec")


def test_a_worker_that_takes_nothing_is_found_in_two_minutes_and_its_tasks_have_the_grace_period() -> None:
    container = container_with({"probe": "consuming", "termination_grace_period": 1234})
    told = json.loads(env_of(container)["CELERY_LAUNCHER"])["consuming"]
    probe = container["livenessProbe"]
    python, check, idle, busy = probe["exec"]["command"]
    assert (python, check, busy) == ("python", "/celery-heartbeat/check_consuming.py", "1234")
    fails = probe["periodSeconds"] * probe["failureThreshold"] + probe["timeoutSeconds"]
    # Looks are five seconds apart.
    assert told["seconds"] + 5 + int(idle) + fails + probe["terminationGracePeriodSeconds"] <= 120


def test_times_of_the_consuming_probe_are_those_that_are_written() -> None:
    keys = {"type": "consuming", "consuming_seconds": 300, "period_seconds": 20, "failures": 3}
    container = container_with({"probe": keys})
    assert json.loads(env_of(container)["CELERY_LAUNCHER"]) == {"consuming": {"seconds": 300}}
    probe = container["livenessProbe"]
    assert (probe["periodSeconds"], probe["failureThreshold"]) == (20, 3)


def test_no_probe_but_the_consuming_one_shortens_the_end_of_a_worker() -> None:
    for keys in ({"probe": "heartbeat"}, {"probe": {"type": "ping", "liveness": True}}):
        probe = container_with(keys)["livenessProbe"]
        assert "terminationGracePeriodSeconds" not in probe
        assert (probe["periodSeconds"], probe["failureThreshold"]) == (30, 5)


def test_pods_roll_when_a_secret_of_ours_has_changed_and_only_then() -> None:
    keys = {"secret_env": {"A": True}}

    def versions(number: str, name: str = "billing-worker-env") -> Any:
        observed = Observed((ObservedObject("Secret", name, resource_version=number),))
        template = deployment_with(keys, observed)["spec"]["template"]["metadata"]
        return json.loads(template.get("annotations", {}).get("celery.queueops.io/secret-versions", "{}"))

    assert versions("7") == {"billing-worker-env": "7"}
    assert versions("7", "another") == {}


def test_pod_overrides_have_the_last_word() -> None:
    overrides = {
        "dnsPolicy": "Default",
        "containers": [{"name": "worker", "tty": True}, {"name": "more", "image": "x"}],
    }
    pod = pod_with({"pod_overrides": overrides})
    assert pod["dnsPolicy"] == "Default"
    assert [item["name"] for item in pod["containers"]] == ["worker", "more"]
    assert (pod["containers"][0]["tty"], pod["containers"][0]["image"]) == (True, "registry.example/billing:1.4")


@pytest.mark.parametrize(
    "overrides",
    [
        {"terminationGracePeriodSeconds": 5},
        {"containers": [{"name": "worker", "args": ["celery", "worker"]}]},
        {"containers": [{"name": "worker", "command": ["sh", "-c", "exec celery worker"]}]},
    ],
)
def test_pod_overrides_may_not_replace_what_the_scaler_counts_on(overrides: dict[str, Any]) -> None:
    (problem,) = problems_with({"pod_overrides": overrides})
    assert "instead" in problem


def test_beat_finds_the_master_behind_sentinels_as_workers_do() -> None:
    broker = {"type": "redis-sentinel", "hosts": ["a"], "master_name": "main", "sentinel_password": True}
    manifests = manifests_with({}, service={"beat": True}, broker=broker)
    (beat,) = [item for item in of_kind(manifests, "Deployment") if item["metadata"]["name"] == "billing-beat"]
    container = beat["spec"]["template"]["spec"]["containers"][0]
    assert container["args"][-1] == 'broker.transport_options=(dict){"master_name":"main"}'
    assert container["command"][-1].endswith("start.py")
    assert "CELERY_SENTINEL_PASSWORD" in [entry["name"] for entry in container["env"]]


UNFINISHED = [
    {"containers": [{"name": "more"}]},
    {"initContainers": [{"name": "more"}]},
    {"topologySpreadConstraints": [{"maxSkew": 1}]},
    {"containers": [{"name": "worker", "ports": [{"name": "http"}]}]},
    {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {}}}},
]


@pytest.mark.parametrize("overrides", UNFINISHED)
def test_pod_overrides_that_give_a_pod_no_server_takes_are_refused(overrides: dict[str, Any]) -> None:
    assert problems_with({"pod_overrides": overrides})


def test_overrides_of_the_workers_container_do_not_reach_beat() -> None:
    pod = beat_pod_with({"pod_overrides": {"containers": [{"name": "worker", "tty": True}]}})
    assert [container["name"] for container in pod["containers"]] == ["beat"]


def test_beat_keeps_its_schedule_in_the_volume_it_is_given() -> None:
    volume = {"persistentVolumeClaim": {"claimName": "schedule"}}
    pod = beat_pod_with({"beat": {"schedule_volume": volume, "schedule_file": "/data/schedule"}})
    mount = pod["containers"][0]["volumeMounts"][0]
    assert mount["mountPath"] == "/data"
    assert pod["volumes"] == [{"name": mount["name"], **volume}]
    assert "--schedule=/data/schedule" in pod["containers"][0]["args"]


def test_beat_with_a_scheduler_of_its_own_needs_no_file() -> None:
    pod = beat_pod_with({"beat": {"scheduler": "django_celery_beat.schedulers:DatabaseScheduler", "max_interval": 30}})
    assert pod["containers"][0]["args"][2:] == [
        "beat",
        "--loglevel=info",
        "--pidfile=",
        "--scheduler=django_celery_beat.schedulers:DatabaseScheduler",
        "--max-interval=30",
    ]
    assert "volumes" not in pod


def test_a_spread_without_a_selector_spreads_the_variants_own_pods() -> None:
    constraint = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}
    deployment = deployment_with({"topology_spread_constraints": [constraint]})
    (found,) = deployment["spec"]["template"]["spec"]["topologySpreadConstraints"]
    assert found["labelSelector"] == deployment["spec"]["selector"]


@pytest.mark.parametrize(
    ("celery", "beat", "broker", "expected"),
    [
        ("5.7", {}, REDIS, True),
        ("5.6.3", {}, REDIS, False),
        ("", {}, REDIS, False),
        ("", {"liveness": True}, REDIS, True),
        ("5.7", {"liveness": False}, REDIS, False),
        ("5.7", {}, {"host": "redis", "global_keyprefix": "shop_"}, False),
        ("5.7", {}, {"type": "rabbitmq", "host": "rabbit", "tls": True}, False),
        ("5.7", {}, {"type": "sqs", "region": "eu-central-1", "pod_identity": True}, False),
    ],
)
def test_a_beat_that_can_say_whether_it_ticks_is_asked(
    celery: str, beat: dict[str, Any], broker: dict[str, Any], expected: bool
) -> None:
    variables = one_variant({}, {"beat": beat}, broker)
    manifests = manifests_of(fleet_of(**variables, versions={"celery": celery}))
    (found,) = (item for item in of_kind(manifests, "Deployment") if item["metadata"]["name"] == "billing-beat")
    (container,) = found["spec"]["template"]["spec"]["containers"]
    assert ("--enable-remote-control" in container["args"]) is expected
    assert ("livenessProbe" in container) is expected
    if expected:
        script = container["livenessProbe"]["exec"]["command"][-1]
        assert 'celery inspect ping --destination "celerybeat@$HOSTNAME"' in script


def test_a_beat_whose_app_names_the_broker_is_asked_over_the_broker_of_the_fleet() -> None:
    variables = one_variant({}, {"beat": True}, {"host": "redis", "inject_env": ""})
    manifests = manifests_of(fleet_of(**variables, versions={"celery": "5.7"}))
    (found,) = (item for item in of_kind(manifests, "Deployment") if item["metadata"]["name"] == "billing-beat")
    (container,) = found["spec"]["template"]["spec"]["containers"]
    named = re.search(r'CELERY_BROKER_URL="\$(\w+)"', container["livenessProbe"]["exec"]["command"][-1])
    assert named is not None
    assert named[1] in {entry["name"] for entry in container["env"]}


@pytest.mark.parametrize(
    ("broker", "words"),
    [
        (REDIS, "needs Celery 5.7, and 5.6 is installed"),
        ({"host": "redis", "global_keyprefix": "x"}, "no ping reaches"),
    ],
)
def test_a_liveness_that_beat_cannot_have_is_refused(broker: dict[str, Any], words: str) -> None:
    variables = one_variant({}, {"beat": {"liveness": True}}, broker)
    (problem,) = problems_of(**variables, versions={"celery": "5.6"})
    assert problem.startswith("celery_workers_services.billing.beat.liveness: ")
    assert words in problem


@pytest.mark.parametrize(
    ("beat", "broker", "words"),
    [
        ({"probe": "tick", "liveness": True}, REDIS, "liveness true says another thing; write probe alone."),
        ({"probe": "ping", "liveness": False}, REDIS, "liveness false says another thing; write probe alone."),
        ({"probe": "tick"}, {"secret": {"name": "broker"}}, "tells a beat that hangs from a broker that is away"),
        ({"probe": "ping"}, {"host": "redis", "global_keyprefix": "x"}, "write beat.probe: tick."),
    ],
)
def test_a_probe_that_beat_cannot_have_is_refused(beat: dict[str, Any], broker: dict[str, Any], words: str) -> None:
    (problem,) = problems_of(**one_variant({}, {"beat": beat}, broker))
    assert problem.startswith("celery_workers_services.billing.beat.")
    assert words in problem


@pytest.mark.parametrize("broker", [REDIS, {"host": "redis", "global_keyprefix": "x"}])
def test_a_beat_that_notes_its_ticks_is_restarted_once_they_are_late(broker: dict[str, Any]) -> None:
    manifests = manifests_of(fleet_of(**one_variant({}, {"beat": {"probe": "tick"}}, broker)))
    (found,) = (item for item in of_kind(manifests, "Deployment") if item["metadata"]["name"] == "billing-beat")
    template = found["spec"]["template"]
    (container,) = template["spec"]["containers"]
    assert container["command"] == ["python", "/celery-heartbeat/start.py"]
    assert "--enable-remote-control" not in container["args"]
    assert json.loads(env_of(container)["CELERY_LAUNCHER"]) == {"beat_tick": {}}
    command = ["python", "/celery-heartbeat/check_beat.py", "redis:6379"]
    assert container["livenessProbe"]["exec"]["command"] == command
    (files,) = of_kind(manifests, "ConfigMap")
    assert {"start.py", "watching.py", "beat_tick.py", "check_beat.py"} <= set(files["data"])
    assert template["metadata"]["annotations"]["celery.queueops.io/config-hash"]


def test_a_beat_without_a_probe_has_none() -> None:
    variables = one_variant({}, {"beat": {"probe": "none"}})
    manifests = manifests_of(fleet_of(**variables, versions={"celery": "5.7"}))
    (found,) = (item for item in of_kind(manifests, "Deployment") if item["metadata"]["name"] == "billing-beat")
    assert "livenessProbe" not in found["spec"]["template"]["spec"]["containers"][0]


NULLS: list[tuple[dict[str, Any], str, str]] = [
    ({"security_context": {"runAsNonRoot": None}}, "pod", "runAsNonRoot"),
    ({"security_context": {"seccompProfile": None}}, "pod", "seccompProfile"),
    ({"container_security_context": {"allowPrivilegeEscalation": None}}, "worker", "allowPrivilegeEscalation"),
    ({"container_security_context": {"capabilities": None}}, "worker", "capabilities"),
    ({"container_security_context": {"capabilities": {"drop": None}}}, "worker", "drop"),
    ({"pod_overrides": {"securityContext": {"runAsNonRoot": None}}}, "pod", "runAsNonRoot"),
    (
        {"pod_overrides": {"containers": [{"name": "worker", "securityContext": {"capabilities": None}}]}},
        "worker",
        "capabilities",
    ),
    (
        {"sidecars": [{"name": "more", "image": "more", "securityContext": {"allowPrivilegeEscalation": None}}]},
        "more",
        "allowPrivilegeEscalation",
    ),
]


@pytest.mark.parametrize(("keys", "place", "field"), NULLS)
def test_a_null_takes_a_default_out_of_a_security_context(keys: dict[str, Any], place: str, field: str) -> None:
    def context(pod: dict[str, Any]) -> str:
        if place == "pod":
            return json.dumps(pod["securityContext"])
        found = {item["name"]: item.get("securityContext", {}) for item in pod["containers"]}
        return json.dumps(found[place])

    more = {"sidecars": [{"name": "more", "image": "more"}]} if place == "more" else {}
    assert f'"{field}"' in context(pod_with(more))
    pod = pod_with(keys)
    assert f'"{field}"' not in context(pod)
    assert "null" not in json.dumps(pod)


def test_a_null_takes_a_default_out_of_beats_security_context() -> None:
    spec = beat_pod_with(
        {"security_context": {"runAsNonRoot": None}, "container_security_context": {"capabilities": None}}
    )
    assert spec["securityContext"] == {"seccompProfile": {"type": "RuntimeDefault"}}
    assert spec["containers"][0]["securityContext"] == {"allowPrivilegeEscalation": False}


def test_a_null_on_a_variant_takes_out_what_its_service_says() -> None:
    found = pod_with({"security_context": {"runAsUser": None}}, service={"security_context": {"runAsUser": 1000}})
    assert "runAsUser" not in found["securityContext"]


def test_a_null_takes_a_probe_out_of_the_finished_pod() -> None:
    overrides = {"containers": [{"name": "worker", "startupProbe": None}]}
    assert "startupProbe" not in pod_with({"pod_overrides": overrides})["containers"][0]


@pytest.mark.parametrize("part", ["flower", "exporter"])
def test_a_null_takes_a_default_out_of_the_security_context_of_what_watches(part: str) -> None:
    keys = {"security_context": {"runAsUser": None, "runAsNonRoot": None, "fsGroup": None, "runAsGroup": None}}
    fleet = fleet_of(**one_variant(), enabled=(part,), **{part: keys})
    (deployment,) = of_kind(watching_resources(fleet, NOTHING), "Deployment")
    spec = deployment["spec"]["template"]["spec"]
    assert spec["securityContext"] == {"seccompProfile": {"type": "RuntimeDefault"}}


READ_ONLY: list[dict[str, Any]] = [
    {"read_only_root_filesystem": True},
    {"container_security_context": {"readOnlyRootFilesystem": True}},
    {"pod_overrides": {"containers": [{"name": "worker", "securityContext": {"readOnlyRootFilesystem": True}}]}},
]


@pytest.mark.parametrize("keys", READ_ONLY)
def test_a_worker_with_read_only_files_can_write_to_tmp(keys: dict[str, Any]) -> None:
    pod = pod_with(keys)
    container = pod["containers"][0]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    (mount,) = [item for item in container["volumeMounts"] if item["mountPath"] == "/tmp"]
    assert {"name": mount["name"], "emptyDir": {}} in pod["volumes"]


def test_a_volume_of_the_users_at_tmp_stays() -> None:
    pod = pod_with(
        {
            "read_only_root_filesystem": True,
            "volumes": [{"name": "scratch", "emptyDir": {"sizeLimit": "1Gi"}}],
            "volume_mounts": [{"name": "scratch", "mountPath": "/tmp/"}],
        }
    )
    assert [item["name"] for item in pod["volumes"]] == ["scratch"]
    assert pod["containers"][0]["volumeMounts"] == [{"name": "scratch", "mountPath": "/tmp/"}]


def test_nothing_is_mounted_where_the_files_can_be_written() -> None:
    assert "volumes" not in pod_with()


def test_beat_with_read_only_files_can_write_to_tmp_and_to_its_schedule() -> None:
    spec = beat_pod_with({"read_only_root_filesystem": True})
    paths = {mount["mountPath"] for mount in spec["containers"][0]["volumeMounts"]}
    assert {"/tmp", "/var/run/celery-beat"} <= paths


def test_a_schedule_in_tmp_needs_no_second_volume() -> None:
    beat = {"schedule_file": "/tmp/schedule"}
    spec = beat_pod_with({"read_only_root_filesystem": True, "beat": beat})
    assert [mount["mountPath"] for mount in spec["containers"][0]["volumeMounts"]] == ["/tmp"]


def test_no_pod_has_a_token_for_the_kubernetes_api_unless_it_is_asked_for() -> None:
    keys = {"service_account_name": "billing"}
    assert pod_with(keys)["automountServiceAccountToken"] is False
    assert pod_with({**keys, "automount_service_account_token": True})["automountServiceAccountToken"] is True
    assert beat_pod_with({})["automountServiceAccountToken"] is False
    assert beat_pod_with({"automount_service_account_token": True})["automountServiceAccountToken"] is True


def test_a_container_that_fails_shows_the_end_of_its_log() -> None:
    assert pod_with()["containers"][0]["terminationMessagePolicy"] == "FallbackToLogsOnError"
    assert beat_pod_with({})["containers"][0]["terminationMessagePolicy"] == "FallbackToLogsOnError"


HOOKS: list[tuple[dict[str, Any], int]] = [
    ({"sleep": {"seconds": 20}}, 20),
    ({"exec": {"command": ["sleep", "20"]}}, 20),
    ({"exec": {"command": ["sh", "-c", "touch /tmp/x; sleep 1.5 && sleep 2m"]}}, 122),
    ({"exec": {"command": ["/app/stop.sh"]}}, 0),
]


@pytest.mark.parametrize(("hook", "seconds"), HOOKS)
def test_the_time_of_a_hook_lengthens_the_grace_period(hook: dict[str, Any], seconds: int) -> None:
    keys = {"lifecycle": {"preStop": hook}}
    assert pod_with(keys)["terminationGracePeriodSeconds"] == 600 + seconds
    assert pod_with({**keys, "profile": "fast"})["terminationGracePeriodSeconds"] == 120 + seconds
    known = pod_with({**keys, "longest_task_seconds": 300})
    assert known["terminationGracePeriodSeconds"] == 330 + seconds
    assert pod_with({**keys, "termination_grace_period": 700})["terminationGracePeriodSeconds"] == 700


def test_a_hook_of_pod_overrides_counts_too() -> None:
    lifecycle = {"preStop": {"sleep": {"seconds": 20}}}
    overrides = {"containers": [{"name": "worker", "lifecycle": lifecycle}]}
    assert pod_with({"pod_overrides": overrides})["terminationGracePeriodSeconds"] == 620


def test_a_grace_period_that_a_hook_uses_up_is_refused() -> None:
    keys = {"lifecycle": {"preStop": {"sleep": {"seconds": 60}}}, "termination_grace_period": 60}
    (problem,) = problems_with(keys)
    assert "the preStop hook of variant default of service billing takes 60 s" in problem
    assert "accept_risks: [short-grace]" in problem


def test_the_longest_task_must_fit_into_what_a_hook_leaves() -> None:
    hook = {"lifecycle": {"preStop": {"exec": {"command": ["sleep", "60"]}}}}
    fits = {"longest_task_seconds": 300, "termination_grace_period": 330}
    assert pod_with(fits)["terminationGracePeriodSeconds"] == 330
    (problem,) = problems_with({**fits, **hook})
    assert "is killed 270 s after it was told to stop, after the 60 s of its preStop hook" in problem
    assert "Set termination_grace_period to 390 or more" in problem


@pytest.mark.parametrize(
    ("keys", "deadline"),
    [
        ({}, None),
        ({"probe": {"startup_seconds": 300}}, None),
        ({"probe": {"startup_seconds": 900}}, 1200),
        ({"probe": {"type": "none", "startup_seconds": 900}}, None),
        (
            {
                "pod_overrides": {
                    "containers": [{"name": "worker", "startupProbe": {"failureThreshold": 100, "periodSeconds": 20}}]
                }
            },
            2300,
        ),
    ],
)
def test_a_rollout_may_take_as_long_as_its_slowest_start(keys: dict[str, Any], deadline: int | None) -> None:
    assert deployment_with(keys)["spec"].get("progressDeadlineSeconds") == deadline


SETTINGS: list[tuple[str, str]] = [
    ("task_trak_started", "did you mean 'task_track_started'?"),
    ("worker_prefetch_multipliers", "did you mean 'worker_prefetch_multiplier'?"),
    ("shop_xyzzy", "no known name is like it"),
]


@pytest.mark.parametrize(("name", "hint"), SETTINGS)
def test_a_setting_that_celery_does_not_have_is_refused_unless_it_is_accepted(name: str, hint: str) -> None:
    (problem,) = problems_with({"settings": {name: True}})
    assert f"{name} of variant default of service billing is no setting of Celery" in problem
    assert hint in problem
    assert problem.endswith("Or accept it with accept_risks: [unknown-setting].")
    accepted = container_with({"settings": {name: True}, "accept_risks": ["unknown-setting"]})
    assert f"{name.replace('_', '.', 1)}=(bool)true" in accepted["args"]


@pytest.mark.parametrize(
    ("name", "today"),
    [
        ("CELERY_TASK_TRACK_STARTED", "task_track_started"),
        ("CELERY_TRACK_STARTED", "task_track_started"),
        ("CELERYD_TASK_LOG_FORMAT", "worker_task_log_format"),
        ("CELERYBEAT_SYNC_EVERY", "beat_sync_every"),
        ("CELERY_TASK_RESULT_EXPIRES", "result_expires"),
    ],
)
def test_an_old_name_of_a_setting_is_refused_with_the_one_of_today(name: str, today: str) -> None:
    (problem,) = problems_with({"settings": {name: 5}})
    assert problem.endswith(f"a command line takes the names of Celery 4 and later only; write {today}.")
