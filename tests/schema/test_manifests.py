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
from ansible_collections.queueops.celery.plugins.module_utils._build.rights import Account, account_resources
from ansible_collections.queueops.celery.plugins.module_utils._model.broker import Broker
from ansible_collections.queueops.celery.plugins.module_utils._model.observed import API_VERSIONS
from ansible_collections.queueops.celery.plugins.module_utils._model.rights import Scope, rights_of
from ansible_collections.queueops.celery.plugins.module_utils._model.service_keys import ServiceKeys
from ansible_collections.queueops.celery.plugins.module_utils._model.watching import (
    PARTS,
    Dashboard,
    Exporter,
    Flower,
    PrometheusRule,
    ServerPod,
    ServiceMonitor,
)
from ansible_collections.queueops.celery.plugins.module_utils._read.reader import VARIANT_CLASSES
from ansible_collections.queueops.celery.plugins.module_utils._schema.keys import Section, key_names, key_of

from tests.schema.manifest_schemas import assert_accepted, faults_of, needs_crds
from tests.support.secret_manifests import secret_manifests
from tests.unit.inventories import (
    SCALED,
    Manifest,
    deployment_with,
    fleet_of,
    manifests_of,
    manifests_with,
    of_kind,
    one_variant,
    scaled_object_with,
)
from tests.unit.others import adopted, deployment, seen
from tests.unit.watching import flower_with, one_of, watched, watching_of

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
            "beat": {"scheduler": "redbeat.RedBeatScheduler", "probe": "tick"},
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
                "endpoint": "https://vpce-1.sqs.eu-central-1.vpce.amazonaws.com",
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
                "extra_params": ["-O", "fair"],
                "task_events": True,
                "alerts": {
                    "at_maximum_seconds": 600,
                    "no_workers_seconds": 120,
                    "scaler_errors_seconds": 120,
                    "paused_seconds": 3600,
                    "drain_seconds": 300,
                    "failure_ratio": 0.05,
                    "failure_minimum": 3,
                    "stalled_seconds": 1200,
                    "poison_starts": 50,
                    "restarts": 5,
                },
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
                "schedule": [
                    {"start": "0 8 * * 1-5", "end": "0 18 * * 1-5", "timezone": "Europe/Berlin", "min_replicas": 3}
                ],
                "scaled_object_annotations": {"example.org/a": "b"},
                "profile": "standard",
                "task_seconds": 2,
                "longest_task_seconds": 250,
                "longest_eta_seconds": 60,
                "start_seconds": 90,
                "max_wait_seconds": 120,
                "accept_risks": ["invisible-work"],
            },
            "reports": {
                "scaler": "none",
                "replicas": 3,
                "image": "registry.example/billing:1.5",
                "image_pull_policy": "IfNotPresent",
                "image_pull_secrets": ["registry"],
                "command_prefix": ["/app/venv/bin/python", "-m", "celery"],
                "pass_app": True,
                "read_only_root_filesystem": True,
                "automount_service_account_token": True,
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
                            {"weight": 1, "podAffinityTerm": {"topologyKey": "host", "labelSelector": {}}}
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
            "stuck": {
                "idempotent": True,
                "max_starts": 3,
                "idle_first": True,
                "probe": {"type": "consuming", "consuming_seconds": 120},
            },
        },
        "mail": {
            "default": {
                **SCALED,
                "strategy": {"type": "Recreate"},
                "budget": {"name": "database", "pods": 9, "reserve": 3},
            }
        },
        "hall": {
            "default": {**SCALED, "scaler": "keda", "in_flight": True, "hold": "pods", "visibility_timeout": 3600}
        },
        "watch": {
            "default": {
                **SCALED,
                "enforce_settings": True,
                "soft_shutdown_timeout": 60,
                "accept_early_ack_tasks": ["watch.touch"],
            },
            "film": {
                "run_as": "jobs",
                "idempotent": True,
                "idle_seconds": 20,
                "max_age_seconds": 900,
                "queues": ["film"],
                "env": {"A": "1"},
                "volumes": [{"name": "data", "emptyDir": {}}],
                "volume_mounts": [{"name": "data", "mountPath": "/data"}],
                "init_containers": [{"name": "proxy", "image": "proxy:1", "restartPolicy": "Always"}],
                "pod_overrides": {"containers": [{"name": "worker", "tty": True}]},
                "paused": True,
            },
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
        "ScaledJob",
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


POD_KEYS: dict[str, Any] = {
    "accept_risks": ["version"],
    "image": "registry.example/watch:1",
    "image_pull_policy": "IfNotPresent",
    "image_pull_secrets": ["registry"],
    "env": {"TZ": "UTC"},
    "resources": {"requests": {"cpu": "10m"}, "limits": {"memory": "1Gi"}},
    "node_selector": {"disk": "ssd"},
    "tolerations": [{"key": "ops", "operator": "Exists", "effect": "NoSchedule"}],
    "affinity": {"podAffinity": {}},
    "priority_class_name": "low",
    "service_account_name": "watch",
    "labels": {"team": "a"},
    "annotations": {"example.org/note": "b"},
    "pod_labels": {"team": "a"},
    "pod_annotations": {"example.org/note": "b"},
    "security_context": {"fsGroup": 2000},
    "container_security_context": {"readOnlyRootFilesystem": False},
    "pod_overrides": {"dnsPolicy": "ClusterFirst"},
}
BUCKETS = {"runtime_buckets": [0.5, 5, 60, 3600]}
MONITOR = {
    "type": "service_monitor",
    "labels": {"release": "prometheus"},
    "interval": "1m",
    "scrape_timeout": "20s",
    "drop_producers": True,
    "relabelings": [{"sourceLabels": ["__meta_kubernetes_pod_name"], "targetLabel": "pod", "action": "replace"}],
    "metric_relabelings": [{"regex": "pod|container", "action": "labeldrop"}],
}
#: Apart from the rest: what watches a fleet, once for each way that excludes another one.
WATCHED: dict[str, dict[str, Any]] = {
    "with a password": {
        "enabled": PARTS,
        "flower": {
            **POD_KEYS,
            **BUCKETS,
            "name": "watch",
            "app": "billing.celery:app",
            "username": "ops",
            "password": True,
            "cookie_secret": True,
            "read_only": False,
            "max_tasks": 500,
            "max_workers": 50,
            "purge_offline_workers": 60,
            "inspect_timeout": 2.5,
            "url_prefix": "ops/flower",
            "persistence": {
                "size": "2Gi",
                "storage_class": "fast",
                "access_mode": "ReadWriteOncePod",
                "save_seconds": 60,
            },
            "ingress": {
                "host": "flower.example.org",
                "class_name": "nginx",
                "tls": True,
                "tls_secret": "flower-cert",
                "annotations": {"cert-manager.io/cluster-issuer": "letsencrypt"},
            },
            "network_policy": {
                "allow_from": [
                    {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress"}}},
                    {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}},
                ]
            },
            "extra_params": ["--natural_time=true"],
        },
        "exporter": {
            **POD_KEYS,
            **BUCKETS,
            "name": "watch-exporter",
            "worker_timeout": 90,
            "purge_offline_workers": 600,
            "extra_params": ["--log-level=DEBUG"],
        },
        "service_monitor": MONITOR,
        "prometheus_rule": {
            "labels": {"release": "prometheus"},
            "alert_labels": {"team": "learning"},
            "runbook_url": "https://runbooks.example.org/celery",
            "severities": {"CeleryTasksFail": "critical", "CeleryScalerPaused": "none"},
            "interval": "1m",
        },
        "dashboard": {
            "delivery": "config_map",
            "uid": "celery-shop",
            "title": "Workers",
            "datasource": "Prometheus",
            "labels": {"grafana_dashboard": "1"},
            "annotations": {"grafana_folder": "Celery"},
            "refresh": "1m",
        },
    },
    "with oauth": {
        "enabled": PARTS,
        "flower": {
            "secret": {
                "name": "login",
                "password_key": "pw",
                "cookie_secret_key": "cookie",
                "client_secret_key": "client",
            },
            "oauth": {
                "provider": "gitlab",
                "client_id": "abc",
                "redirect_uri": "https://flower.example.org/login",
                "allow": ".*@example.org",
                "domain": "git.example.org",
                "gitlab_groups": ["shop/ops"],
            },
            "http_route": {
                "host": "flower.example.org",
                "gateway": "public",
                "gateway_namespace": "edge",
                "section_name": "https",
                "annotations": {"example.org/note": "b"},
            },
        },
        "service_monitor": {**MONITOR, "type": "pod_monitor"},
        "dashboard": {
            "delivery": "grafana_dashboard",
            "folder": "Celery",
            "instance_selector": {"dashboards": "grafana"},
            "file": "board.json",
        },
    },
    "with okta": {
        "enabled": ("flower", "service_monitor", "dashboard"),
        "flower": {
            "oauth": {
                "provider": "okta",
                "client_id": "abc",
                "client_secret": True,
                "redirect_uri": "https://flower.example.org/login",
                "allow": "me@example.org|you@example.org",
                "base_url": "https://example.okta.com/oauth2",
            },
            "network_policy": False,
        },
        "service_monitor": {"type": "annotations"},
        "dashboard": {"delivery": "file"},
    },
}
#: What only one Flower can have, where WIDE has several.
ONE_FLOWER: dict[str, Any] = {"flower": {"persistence": {"existing_claim": "mine"}}}
#: Services of WIDE whose broker the exporter cannot listen to.
NOT_EXPORTED = ("watch",)
#: Kinds that watch a fleet, by the way in which it is watched.
WATCHING: dict[str, set[str]] = {
    "with a password": {
        "ConfigMap",
        "Deployment",
        "Ingress",
        "NetworkPolicy",
        "PersistentVolumeClaim",
        "PrometheusRule",
        "Service",
        "ServiceMonitor",
    },
    "with oauth": {
        "ConfigMap",
        "Deployment",
        "GrafanaDashboard",
        "HTTPRoute",
        "PodMonitor",
        "PrometheusRule",
        "Service",
    },
    "with okta": {"ConfigMap", "Deployment", "Service"},
}


def wide_with(way: str) -> dict[str, Any]:
    """The inventory with every key, watched in one of the ways."""
    left_out = NOT_EXPORTED if "exporter" in WATCHED[way]["enabled"] else ()
    kept = {
        name: {service: keys for service, keys in WIDE[name].items() if service not in left_out}
        for name in ("services", "config")
    }
    return {**WIDE, **kept, **WATCHED[way]}


@pytest.mark.parametrize("way", WATCHED)
def test_what_watches_an_inventory_with_every_key_is_what_a_server_takes(way: str) -> None:
    fleet = fleet_of(**wide_with(way))
    manifests = watching_of(fleet)
    assert {item["kind"] for item in manifests} == WATCHING[way]
    assert_accepted([*manifests_of(fleet), *manifests])


@pytest.mark.parametrize("way", WATCHED)
def test_every_service_and_policy_of_what_watches_finds_its_pod(way: str) -> None:
    manifests = watching_of(fleet_of(**wide_with(way)))
    pods = {item["metadata"]["name"]: item["spec"]["template"] for item in of_kind(manifests, "Deployment")}
    assert len(pods) > 2
    selectors = [(item["metadata"]["name"], item["spec"]["selector"]) for item in of_kind(manifests, "Service")]
    selectors += [
        (item["metadata"]["name"], item["spec"]["podSelector"]["matchLabels"])
        for item in of_kind(manifests, "NetworkPolicy")
    ]
    for name, selector in selectors:
        chosen = [owner for owner, pod in pods.items() if selector.items() <= pod["metadata"]["labels"].items()]
        assert chosen == [name]
    for service in of_kind(manifests, "Service"):
        (container,) = pods[service["metadata"]["name"]]["spec"]["containers"]
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= {
            port["name"] for port in container["ports"]
        }


#: Keys whose values the role takes out before a module sees them.
TAKEN_OUT = {"password", "sentinel_password", "access_key_id", "secret_access_key", "client_secret", "cookie_secret"}


def with_secrets(value: Any, all_below: bool = False) -> Any:
    """Variables as a user writes them, from those that modules see: with a text where only C(true) was left."""
    if isinstance(value, dict):
        return {
            key: "hunter2"
            if item is True and (all_below or key in TAKEN_OUT)
            else with_secrets(item, key == "secret_env")
            for key, item in value.items()
        }
    return [with_secrets(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("way", WATCHED)
def test_the_secrets_of_flower_are_ones_that_a_server_takes(way: str) -> None:
    variables = wide_with(way)
    names = ("broker", "services", "config", "flower")
    layers = [{"name": f"celery_workers_{name}", "value": with_secrets(variables.get(name, {}))} for name in names]
    secrets = secret_manifests(layers, "shop", "north", enabled=variables["enabled"])
    found = [item for item in secrets if item["metadata"]["name"].endswith("-auth")]
    assert bool(found) is (way != "with oauth")
    assert_accepted(secrets)


def test_a_claim_of_the_users_own_is_mounted_in_a_way_that_a_server_takes() -> None:
    assert_accepted(flower_with(ONE_FLOWER["flower"]))


PART_KEYS: dict[str, tuple[type, ...]] = {
    "flower": (Flower, ServerPod),
    "exporter": (Exporter, ServerPod),
    "service_monitor": (ServiceMonitor,),
    "prometheus_rule": (PrometheusRule,),
    "dashboard": (Dashboard,),
}


@pytest.mark.parametrize("part", PARTS)
def test_no_key_of_a_part_that_watches_is_left_out(part: str) -> None:
    written = written_keys([way.get(part, {}) for way in (*WATCHED.values(), ONE_FLOWER)])
    assert model_keys(*PART_KEYS[part]) - written == set()


def test_the_secrets_of_an_inventory_with_every_key_are_ones_that_a_server_takes() -> None:
    names = ("broker", "services", "config")
    layers = [{"name": f"celery_workers_{name}", "value": with_secrets(WIDE[name])} for name in names]
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


def test_an_account_with_every_right_is_one_that_a_server_takes() -> None:
    scope = Scope(
        frozenset(API_VERSIONS), adopts=True, replaces=True, uses_keda=True, has_redis=True, removes_data=True
    )
    assert_accepted(account_resources(Account("celery-workers", "campus", "shop", "keda"), rights_of(scope)))


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


JOB_POD = {"containers": [{"name": "worker", "imagee": "x"}]}


@pytest.mark.parametrize(
    "change",
    [
        {"spec": {"cooldownPeriod": 300}},
        {"spec": {"maxReplicaCount": 0}},
        {"spec": {"rollout": {"strategy": "slow"}}},
        {"spec": {"scalingStrategy": {"multipleScalersCalculation": "total"}}},
        {"spec": {"triggers": [{"type": "redis", "metadata": {"listLength": 5}}]}},
        {"spec": {"triggers": [{"type": "redis", "metadata": {}, "metricType": "Value"}]}},
        {"spec": {"jobTargetRef": {"backoffLimits": 0}}},
        {"spec": {"jobTargetRef": {"template": {"spec": JOB_POD}}}},
        {"spec": {"jobTargetRef": {"template": {"spec": {"restartPolicy": "Always"}}}}},
    ],
)
def test_the_check_finds_a_broken_scaled_job(change: Any) -> None:
    (found,) = of_kind(manifests_with({"run_as": "jobs", "idempotent": True}), "ScaledJob")
    assert faults_of(found) == []
    assert faults_of(merged(found, change))


FLOWER = flower_with(
    {
        "ingress": {"host": "flower.example.org"},
        "http_route": {"host": "flower.example.org", "gateway": "public"},
        "network_policy": {"allow_from": [{"podSelector": {}}]},
        "persistence": True,
    }
)
RULES = watching_of(
    fleet_of(
        **watched(
            "flower",
            "service_monitor",
            "prometheus_rule",
            "dashboard",
            dashboard={"delivery": "grafana_dashboard"},
        )
    )
)
PODS = watching_of(fleet_of(**watched("flower", "service_monitor", service_monitor={"type": "pod_monitor"})))
ENDPOINT = {"port": "http"}
MATCH = {"path": {"type": "Exact", "value": "/"}}

#: Changes that a server refuses, or that lead nowhere.
BROKEN_WATCHERS: list[tuple[str, Any]] = [
    ("Service", {"metadata": {"name": "1flower"}}),
    ("Service", {"metadata": {"name": "f" * 64}}),
    ("Service", {"spec": {"ports": [{"port": "http"}]}}),
    ("Service", {"spec": {"ports": [{"name": "a", "port": 1}, {"name": "a", "port": 2}]}}),
    ("Service", {"spec": {"selectors": {"a": "b"}}}),
    ("Ingress", {"spec": {"rules": [{"http": {"paths": [{"path": "/", "backend": {}}]}}]}}),
    ("Ingress", {"spec": {"rules": [{"http": {"paths": [{"path": "a", "pathType": "Exact", "backend": {}}]}}]}}),
    ("Ingress", {"spec": {"rules": [{"http": {"paths": [{"path": "/../a", "pathType": "Prefix", "backend": {}}]}}]}}),
    ("Ingress", {"spec": {"className": "nginx"}}),
    ("NetworkPolicy", {"spec": {"ingress": [{"from": [{"podSelektor": {}}]}]}}),
    ("PersistentVolumeClaim", {"spec": {"size": "1Gi"}}),
    ("HTTPRoute", {"apiVersion": "gateway.networking.k8s.io/v1alpha1"}),
    ("HTTPRoute", {"spec": {"parentRef": {}}}),
    ("HTTPRoute", {"spec": {"parentRefs": [{"kind": "Gateway"}]}}),
    ("HTTPRoute", {"spec": {"hostnames": ["a_b"]}}),
    ("HTTPRoute", {"spec": {"hostnames": []}}),
    ("HTTPRoute", {"spec": {"rules": [{"matches": [MATCH] * 9}]}}),
    ("HTTPRoute", {"spec": {"rules": [{"matches": [{"path": {"type": "Prefix", "value": "/"}}]}]}}),
    ("HTTPRoute", {"spec": {"rules": [{"matches": [{"path": {"type": "Exact", "value": "a//b"}}]}]}}),
    ("HTTPRoute", {"spec": {"rules": [{"backendRefs": [{"name": "flower"}]}]}}),
    ("HTTPRoute", {"spec": {"rules": [{"backend": []}]}}),
    ("ServiceMonitor", {"apiVersion": "monitoring.coreos.com/v1alpha1"}),
    ("ServiceMonitor", {"spec": {"endpoints": [{**ENDPOINT, "interval": "soon"}]}}),
    ("ServiceMonitor", {"spec": {"endpoints": [{**ENDPOINT, "scrapeTimout": "1s"}]}}),
    ("ServiceMonitor", {"spec": {"endpoints": [{**ENDPOINT, "relabelings": [{"action": "lose"}]}]}}),
    ("ServiceMonitor", {"spec": {"endpoints": None}}),
    ("PodMonitor", {"spec": {"endpoints": [ENDPOINT]}}),
    ("PodMonitor", {"spec": {"podMetricsEndpoints": [{**ENDPOINT, "interval": "1s1m"}]}}),
    ("PrometheusRule", {"spec": {"groups": [{"name": "a", "rules": [{"alert": "A"}]}]}}),
    ("PrometheusRule", {"spec": {"groups": [{"name": "a", "rules": [], "evaluate": "1m"}]}}),
    ("GrafanaDashboard", {"spec": {"instanceSelector": None}}),
    ("GrafanaDashboard", {"spec": {"jason": "{}"}}),
]


@pytest.mark.parametrize(
    ("kind", "change"), BROKEN_WATCHERS, ids=[f"{row[0]}-{number}" for number, row in enumerate(BROKEN_WATCHERS)]
)
def test_the_check_finds_what_is_broken_of_every_kind_that_watches(kind: str, change: Any) -> None:
    found = one_of([*FLOWER, *[item for item in (*RULES, *PODS) if item["kind"] in _CRDS_OF_WATCHERS]], kind)
    assert faults_of(found) == []
    assert faults_of(merged(found, change))


_CRDS_OF_WATCHERS = ("ServiceMonitor", "PodMonitor", "PrometheusRule", "GrafanaDashboard")
