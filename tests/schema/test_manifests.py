# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Manifests of the sample inventories, and of inventories with every key of the model, are ones that a server takes."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.queueops.celery.plugins.module_utils._fleet import VARIANT_CLASSES
from ansible_collections.queueops.celery.plugins.module_utils._keys import Section, key_names, key_of
from ansible_collections.queueops.celery.plugins.module_utils._model import Broker, ServiceKeys
from ansible_collections.queueops.celery.plugins.module_utils._secrets import secret_manifests

from tests.schema.manifest_schemas import assert_accepted, faults_of, needs_crds
from tests.unit.inventories import (
    SCALED,
    Manifest,
    deployment_with,
    fleet_of,
    manifests_of,
    one_variant,
    scaled_object_with,
)
from tests.unit.others import adopted, deployment, seen

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = sorted(path.parent.name for path in (ROOT / "playbooks" / "inventory").glob("*/hosts.yml"))

pytestmark = needs_crds


def run_playbook(sample: str, target: Path) -> str:
    """Write the manifests of a sample inventory with the shipped playbook."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "K8S_AUTH_"))}
    environment |= {
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "build" / "tree"),
        "ANSIBLE_HOME": str(target / "home"),
        "ANSIBLE_LOCALHOST_WARNING": "false",
        "ANSIBLE_NOCOLOR": "true",
    }
    variables = {
        "celery_workers_output": "manifests",
        "celery_workers_manifests_dir": str(target / "files"),
        "celery_workers_manifests_secrets": True,
        "celery_workers_tutor_plugins_root": str(target / "plugins"),
    }
    if sample == "openedx":
        variables["celery_workers_tutor_root"] = str(ROOT / "tests" / "checks" / "demo_site")
    command = [
        str(Path(sys.executable).parent / "ansible-playbook"),
        "queueops.celery.deploy",
        "--inventory",
        str(ROOT / "playbooks" / "inventory" / sample),
        "--extra-vars",
        yaml.safe_dump(variables, default_flow_style=True),
    ]
    done = subprocess.run(command, env=environment, cwd=target, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("sample", SAMPLES)
def test_the_shipped_playbook_writes_files_of_every_sample_that_a_server_takes(sample: str, tmp_path: Path) -> None:
    said = run_playbook(sample, tmp_path)
    assert "[WARNING]" not in said
    hosts = sorted((tmp_path / "files").iterdir())
    assert hosts
    for host in hosts:
        found: list[Manifest] = []
        for path in sorted(host.rglob("*.yaml")):
            if path.name != "kustomization.yaml" and "patches" not in path.relative_to(host).parts:
                found += [item for item in yaml.safe_load_all(path.read_text(encoding="utf-8")) if item]
        assert {"Deployment", "ScaledObject"} <= {item["kind"] for item in found}
        assert_accepted(found)


def test_there_are_sample_inventories() -> None:
    assert {"openedx", "generic-redis", "generic-rabbitmq", "fleet"} <= set(SAMPLES)


MOUNT = [{"name": "data", "mountPath": "/data"}]
WIDE: dict[str, Any] = {
    "namespace": "shop",
    "fleet": "north",
    "broker": {
        "type": "redis",
        "host": "redis.example",
        "port": 6380,
        "database": 2,
        "username": "shop",
        "password": True,
        "tls": {
            "ca_secret": "ca",
            "ca_key": "tls.crt",
            "insecure_skip_verify": True,
            "certificate_secret": "client",
            "certificate_key": "tls.crt",
            "private_key_key": "tls.key",
        },
        "priority_steps": [0, 5],
        "sep": ":",
        "global_keyprefix": "shop:",
        "max_connections": 5000,
        "inject_env": "BROKER",
        "transport_options": {"visibility_timeout": 7200},
    },
    "services": {
        "billing": {
            "app": "billing.celery:app",
            "image": "registry.example/billing:1.4",
            "queue_name": "{service}.{variant}",
            "known_queues": ["billing.default"],
            "known_tasks": ["billing.tasks.charge"],
            "beat": {
                "enabled": True,
                "schedule_file": "/data/schedule",
                "max_interval": 60,
                "loglevel": "warning",
                "extra_params": ["--no-color"],
                "resources": {"limits": {"memory": "128Mi"}},
            },
        },
        "mail": {
            "image": "registry.example/mail:1",
            "queue_name": "mail.{variant}",
            "beat": {"scheduler": "redbeat.RedBeatScheduler"},
            "broker": {
                "url": "redis://redis/1",
                "secret": {"name": "mail", "url_key": "u", "username_key": "n", "password_key": "p"},
            },
        },
        "hall": {
            "image": "x:1",
            "idempotent": True,
            "database": {"name": "hall", "max_connections": 500},
            "broker": {
                "type": "rabbitmq",
                "host": "rabbit",
                "virtual_host": "hall",
                "tls": {"ca_secret": "ca"},
                "secret": {"name": "hall", "password_key": "p", "tls_key": "tls"},
                "management": {"host": "rabbit-api", "port": 15671, "tls": True},
                "scaler": {
                    "username": "reader",
                    "secret": {"name": "reader", "username_key": "n", "password_key": "p"},
                },
                "queue_type": "quorum",
                "delivery_limit": 0,
                "consumer_timeout": 7200,
            },
        },
        "watch": {
            "image": "x:1",
            "idempotent": True,
            "broker": {
                "type": "redis-sentinel",
                "hosts": ["one", "two:26380"],
                "master_name": "main",
                "sentinel_username": "reader",
                "sentinel_password": True,
                "secret": {"name": "watch", "sentinel_password_key": "s"},
            },
        },
        "cloud": {
            "image": "x:1",
            "idempotent": True,
            "broker": {
                "type": "sqs",
                "region": "eu-central-1",
                "account": "123456789012",
                "access_key_id": True,
                "secret_access_key": True,
            },
        },
        "sky": {
            "image": "x:1",
            "broker": {
                "type": "sqs",
                "region": "eu-central-1",
                "pod_identity": True,
                "secret": {"name": "sky", "access_key_id_key": "i", "secret_access_key_key": "s"},
            },
        },
    },
    "config": {
        "billing": {
            "default": {
                **SCALED,
                "enabled": True,
                "name": "billing-main",
                "queues": ["billing.default", "billing.more"],
                "exclude_queues": ["billing.reports"],
                "concurrency": 4,
                "pool": "prefork",
                "prefetch_multiplier": 2,
                "disable_prefetch": True,
                "optimization": "default",
                "max_tasks_per_child": 10,
                "max_memory_per_child": 200000,
                "time_limit": 300,
                "soft_time_limit": 280,
                "acks_late": True,
                "reject_on_worker_lost": True,
                "without_gossip": False,
                "without_mingle": False,
                "loglevel": "error",
                "settings": {"task_track_started": True, "result_extended": "a"},
                "extra_params": ["-E"],
                "max_replicas": 7,
                "list_length": 9,
                "activation_list_length": 3,
                "polling_interval": 10,
                "cooldown_period": 400,
                "initial_cooldown_period": 10,
                "idle_replicas": 0,
                "fallback": {"failure_threshold": 5, "replicas": 2, "behavior": "static"},
                "behavior": {"scaleUp": {"stabilizationWindowSeconds": 10, "selectPolicy": "Min"}},
                "paused": "scale_in",
                "extra_triggers": [{"type": "cpu", "metricType": "Utilization", "metadata": {"value": "80"}}],
                "scaled_object_annotations": {"example.org/a": "b"},
                "profile": "standard",
                "task_seconds": 2,
                "longest_task_seconds": 250,
                "longest_eta_seconds": 60,
                "max_wait_seconds": 120,
                "accept_risks": ["invisible-work"],
            },
            "reports": {
                "scaler": "none",
                "replicas": 3,
                "image": "registry.example/billing:1.5",
                "image_pull_policy": "IfNotPresent",
                "image_pull_secrets": ["registry"],
                "working_dir": "/app",
                "env": {"MODE": "reports"},
                "secret_env": {"PAY_KEY": True, "OTHER": {"secret": "pay", "key": "token"}},
                "env_from": [{"configMapRef": {"name": "settings"}}, {"secretRef": {"name": "more"}, "prefix": "A_"}],
                "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
                "volume_mounts": MOUNT,
                "resources": {"requests": {"cpu": 1, "memory": "1Gi"}, "limits": {"memory": "2Gi"}},
                "node_selector": {"disk": "ssd"},
                "tolerations": [{"key": "batch", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60}],
                "affinity": {
                    "podAntiAffinity": {
                        "preferredDuringSchedulingIgnoredDuringExecution": [
                            {"weight": 1, "podAffinityTerm": {"topologyKey": "kubernetes.io/hostname"}}
                        ]
                    }
                },
                "topology_spread_constraints": [
                    {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}
                ],
                "priority_class_name": "low",
                "service_account_name": "billing",
                "labels": {"team": "a"},
                "annotations": {"example.org/note": "b"},
                "pod_labels": {"team": "a"},
                "pod_annotations": {"example.org/note": "b"},
                "pod_security": "baseline",
                "security_context": {"fsGroup": 1000},
                "container_security_context": {"readOnlyRootFilesystem": True},
                "init_containers": [{"name": "wait", "image": "busybox:1", "volumeMounts": MOUNT}],
                "sidecars": [{"name": "proxy", "image": "envoy:1", "ports": [{"containerPort": 80}]}],
                "termination_grace_period": 30,
                "lifecycle": {"preStop": {"exec": {"command": ["sleep", "5"]}}},
                "probe": {
                    "type": "heartbeat",
                    "liveness": True,
                    "startup_seconds": 60,
                    "period_seconds": 20,
                    "timeout_seconds": 5,
                    "failures": 3,
                    "heartbeat_seconds": 90,
                    "python": "python3",
                },
                "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}},
                "pdb": {"max_unavailable": "50%"},
                "pod_overrides": {"dnsPolicy": "ClusterFirst", "containers": [{"name": "worker", "tty": True}]},
                "secret_revision": "7",
            },
            "slow": {"replicas": 2, "pdb": {"min_available": 1}, "probe": {"type": "exec", "command": ["true"]}},
        },
        "mail": {"default": {**SCALED, "strategy": {"type": "Recreate"}}},
        "hall": {
            "default": {**SCALED, "scaler": "keda", "in_flight": True, "hold": "pods", "visibility_timeout": 3600}
        },
        "watch": {
            "default": {
                **SCALED,
                "enforce_settings": True,
                "soft_shutdown_timeout": 60,
                "accept_early_ack_tasks": ["watch.touch"],
            }
        },
        "cloud": {"default": SCALED},
        "sky": {
            "default": {
                "scaler": "hpa",
                "cpu_utilization": 70,
                "memory_utilization": 80,
                "resources": {"requests": {"cpu": "1", "memory": "1Gi"}},
            }
        },
    },
}


def test_an_inventory_with_every_key_gives_manifests_that_a_server_takes() -> None:
    fleet = fleet_of(**WIDE)
    manifests = manifests_of(fleet)
    kinds = {item["kind"] for item in manifests}
    assert kinds == {
        "ConfigMap",
        "Deployment",
        "HorizontalPodAutoscaler",
        "PodDisruptionBudget",
        "ScaledObject",
        "TriggerAuthentication",
    }
    assert_accepted(manifests)


#: Apart from the rest: beat with a schedule that outlives its pod.
SCHEDULE = one_variant(
    {}, {"beat": {"schedule_volume": {"persistentVolumeClaim": {"claimName": "x"}}, "schedule_file": "/data/schedule"}}
)


def test_a_schedule_on_a_claim_gives_manifests_that_a_server_takes() -> None:
    assert_accepted(manifests_of(fleet_of(**SCHEDULE)))


#: Apart from the rest: what somebody else runs.
SHARED: dict[str, Any] = {
    "services": {"lms": {"inherit_from": "lms-worker"}},
    "config": {"lms": {"default": {"adopt": True, **SCALED, "queues": ["a"]}, "high": {}}},
    "broker": {"host": "redis", "inject_env": ""},
}


def test_what_is_made_like_or_beside_a_deployment_of_somebody_else_is_what_a_server_takes() -> None:
    raw = deployment(env=[{"name": "A", "value": "b"}], volumeMounts=MOUNT)
    raw["spec"]["template"]["spec"]["volumes"] = [{"name": "data", "emptyDir": {}}]
    observed = seen(raw)
    fleet = fleet_of(**SHARED, observed=observed)
    assert_accepted(manifests_of(fleet, observed))
    assert_accepted(adopted(fleet, raw))


def test_the_secrets_of_an_inventory_with_every_key_are_ones_that_a_server_takes() -> None:
    layers = [{"name": f"celery_workers_{name}", "value": WIDE[name]} for name in ("broker", "services", "config")]
    layers[0]["value"] = {**WIDE["broker"], "password": "x"}
    secrets = secret_manifests(layers, "shop", "north")
    assert [item["metadata"]["name"] for item in secrets] == [
        "north-celery-broker",
        "watch-worker-broker",
        "cloud-worker-broker",
        "billing-worker-reports-env",
    ]
    assert_accepted(secrets)


def written_keys(value: Any) -> set[str]:
    """Every key that stands anywhere in an inventory."""
    if isinstance(value, dict):
        return {str(key) for key in value} | {key for item in value.values() for key in written_keys(item)}
    if isinstance(value, list):
        return {key for item in value for key in written_keys(item)}
    return set()


def model_keys(*classes: type) -> set[str]:
    """Every key of the model, those of its sections too."""
    found = set(key_names(*classes))
    for cls in classes:
        for item in fields(cls):
            known = key_of(item)
            if known is not None and isinstance(known.check, Section):
                found |= model_keys(known.check.cls)
    return found


def test_no_key_of_the_model_is_left_out() -> None:
    missing = model_keys(Broker, ServiceKeys, *VARIANT_CLASSES) - written_keys([WIDE, SCHEDULE, SHARED])
    assert missing == set()


BROKEN: list[tuple[str, Any]] = [
    (
        "an unknown field of a container",
        {"spec": {"template": {"spec": {"containers": [{"name": "worker", "imagee": "x"}]}}}},
    ),
    ("a number in a label", {"metadata": {"name": "x", "labels": {"a": 1}}}),
    ("a selector that matches nothing", {"spec": {"selector": {"matchLabels": {"a": "b"}}}}),
]


def merged(lower: Any, upper: Any) -> Any:
    if isinstance(lower, dict) and isinstance(upper, dict):
        return {**lower, **{key: merged(lower.get(key), value) for key, value in upper.items()}}
    return upper


@pytest.mark.parametrize("change", [row[1] for row in BROKEN], ids=[row[0] for row in BROKEN])
def test_the_check_finds_a_broken_deployment(change: Any) -> None:
    assert faults_of(merged(deployment_with({}), change))


@pytest.mark.parametrize(
    "change",
    [
        {"spec": {"maxReplicas": 3}},
        {"spec": {"maxReplicaCount": "3"}},
        {"spec": {"maxReplicaCount": 0}},
        {"spec": {"fallback": {"behavior": "never"}}},
        {"spec": {"triggers": [{"type": "redis", "metadata": {"listLength": 5}}]}},
        {"spec": {"idleReplicaCount": 1}},
    ],
)
def test_the_check_finds_a_broken_scaled_object(change: Any) -> None:
    assert faults_of(merged(scaled_object_with({}), change))
