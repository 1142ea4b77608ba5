# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a real server has refused draws a message before anything is sent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._check.pods import check_finished_pod
from ansible_collections.queueops.celery.plugins.module_utils._schema.kubernetes import Kubernetes
from ansible_collections.queueops.celery.plugins.module_utils._schema.layers import nested
from ansible_collections.queueops.celery.plugins.module_utils._schema.problems import Problems

from tests.unit.inventories import fleet_of, one_variant, problems_of, problems_with

#: Objects with the words of the server that refused them; they are no part of this repository.
FIXTURE = Path(__file__).resolve().parents[4] / "shared" / "fixtures" / "server-refusals.json"
CASES: list[dict[str, Any]] = json.loads(FIXTURE.read_text("utf-8"))["cases"] if FIXTURE.is_file() else []
DEPLOYMENTS = [case for case in CASES if case["object"]["kind"] == "Deployment"]


def messages_about(spec: dict[str, Any]) -> list[str]:
    problems = Problems()
    Kubernetes("DeploymentStrategy")(nested(spec["strategy"], "strategy"), problems)
    pod = spec["template"]["spec"]
    check_finished_pod(pod, pod["containers"][0]["name"], {}, str, problems)
    return [str(problem) for problem in problems.found]


@pytest.mark.skipif(not DEPLOYMENTS, reason="../shared/fixtures/server-refusals.json is not at hand")
@pytest.mark.parametrize("case", DEPLOYMENTS, ids=lambda case: str(case["server_says"])[:80])
def test_what_a_server_refused_draws_a_message(case: dict[str, Any]) -> None:
    spec = case["object"]["spec"]
    images = [item["image"] for item in spec["template"]["spec"]["containers"]]
    # The random images of the fixture would draw a message of their own.
    for container in [*spec["template"]["spec"]["containers"], *spec["template"]["spec"].get("initContainers", [])]:
        container["image"] = "registry.example/app:1"
    assert messages_about(spec), images


def container(**keys: Any) -> list[dict[str, Any]]:
    return [{"name": "more", "image": "registry.example/more:1", **keys}]


def volume(**source: Any) -> list[dict[str, Any]]:
    return [{"name": "data", **source}]


def mount(**keys: Any) -> dict[str, Any]:
    return {"volumes": volume(emptyDir={}), "volume_mounts": [{"name": "data", "mountPath": "/data", **keys}]}


PEERS = {"topologyKey": "kubernetes.io/hostname"}
SPREAD = {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway"}

#: Keys of a variant, the path of the one message, and words of it.
REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"resources": {"requests": {"cpus": 1}}}, "resources.requests.cpus", "did you mean 'cpu'?"),
    ({"resources": {"limits": {"memmory": "1Gi"}}}, "resources.limits.memmory", "did you mean 'memory'?"),
    ({"resources": {"limits": {"ram": "1Gi"}}}, "resources.limits.ram", "did you mean 'memory'?"),
    ({"resources": {"limits": {"gpu": 1}}}, "resources.limits.gpu", "did you mean 'nvidia.com/gpu'?"),
    ({"resources": {"limits": {"memory": "100m"}}}, "resources.limits.memory", "write Mi for mebibytes"),
    ({"resources": {"requests": {"nvidia.com/gpu": 1}}}, "resources", "nvidia.com/gpu needs a limit"),
    ({"resources": {"claims": [{"name": "gpu"}]}}, "resources", "the claim 'gpu' is none of the pod's"),
    ({"image": "Registry/My:1"}, "image", "write 'registry/my'"),
    ({"image": "https://registry.example/app:1"}, "image", "it is no URL; write 'registry.example/app:1'"),
    ({"image": "registry.example/app:"}, "image", "its tag is missing"),
    ({"image": "registry.example/app:1+2"}, "image", "'1+2' is no tag"),
    ({"image": "registry.example/my app:1"}, "image", "white space"),
    ({"image": "registry.example/app:1 "}, "image", "white space"),
    ({"image": "registry.example/app@sha256:12"}, "image", "no digest"),
    ({"container_security_context": {"privileged": True}}, "container_security_context", "exclude each other"),
    (
        {"container_security_context": {"capabilities": {"add": ["SYS_ADMIN"]}}},
        "container_security_context",
        "the capability SYS_ADMIN and allowPrivilegeEscalation: false exclude each other",
    ),
    ({"security_context": {"runAsUser": 0}}, "security_context", "runAsUser 0 is root"),
    ({"security_context": {"seLinuxChangePolicy": "MountOption"}}, "seLinuxChangePolicy", "write one of Recursive"),
    ({"security_context": {"seccompProfile": {"type": "Localhost"}}}, "seccompProfile", "needs localhostProfile"),
    (
        {"container_security_context": {"appArmorProfile": {"type": "Unconfined", "localhostProfile": "a"}}},
        "appArmorProfile",
        "localhostProfile belongs to type Localhost",
    ),
    ({"container_security_context": {"procMount": "Unmasked"}}, "container_security_context", "hostUsers: false"),
    ({"env_from": [{"secretRef": {}}]}, "env_from[0].secretRef", "lacks name"),
    ({"env_from": [{"prefix": "1=", "secretRef": {"name": "a"}}]}, "env_from[0].prefix", "does not start with"),
    ({"strategy": {"type": "Recreate", "rollingUpdate": {}}}, "strategy", "Recreate takes no rollingUpdate"),
    ({"tolerations": [{"key": "a", "operator": "Lt", "value": "1"}]}, "tolerations[0]", "Exists or Equal"),
    ({"tolerations": [{"key": "a b", "operator": "Exists"}]}, "tolerations[0].key", "at most 63 letters"),
    (
        {"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [PEERS]}}},
        "requiredDuringSchedulingIgnoredDuringExecution[0]",
        "without labelSelector the term matches no pod",
    ),
    (
        {
            "affinity": {
                "nodeAffinity": {
                    "requiredDuringSchedulingIgnoredDuringExecution": {
                        "nodeSelectorTerms": [
                            {"matchFields": [{"key": "metadata.uid", "operator": "In", "values": ["a"]}]}
                        ]
                    }
                }
            }
        },
        "nodeSelectorTerms[0]",
        "matchFields knows the key metadata.name only",
    ),
    (
        {"topology_spread_constraints": [SPREAD, SPREAD]},
        "topology_spread_constraints",
        "is written here more than once",
    ),
    ({"topology_spread_constraints": [{**SPREAD, "minDomains": 2}]}, "[0]", "whenUnsatisfiable: DoNotSchedule"),
    ({"volumes": volume(glusterfs={"endpoints": "a", "path": "b"})}, "volumes[0]", "has no driver for glusterfs"),
    ({"volumes": volume(projected={})}, "volumes[0].projected", "lacks sources"),
    ({"volumes": volume(secret={})}, "volumes[0].secret", "lacks secretName"),
    (
        {"volumes": volume(downwardAPI={"items": [{"path": "a", "fieldRef": {"fieldPath": "spec.nodeName"}}]})},
        "items[0]",
        "is none that a file can hold",
    ),
    (
        {"volumes": volume(projected={"sources": [{"serviceAccountToken": {"path": "a", "expirationSeconds": 60}}]})},
        "expirationSeconds",
        "from 600",
    ),
    (mount(subPath="a", subPathExpr="b"), "volume_mounts[0]", "subPath or subPathExpr"),
    (mount(recursiveReadOnly="Enabled"), "volume_mounts[0]", "needs readOnly: true"),
    (mount(mountPropagation="Bidirectional"), "volume_mounts", "needs a privileged container"),
    (
        {"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.node"}}}]},
        "env[0].valueFrom",
        "is none that a variable can hold",
    ),
    (
        {"env": [{"name": "A", "valueFrom": {"resourceFieldRef": {"resource": "limits.disk"}}}]},
        "resourceFieldRef",
        "'limits.disk' is no resource of a container",
    ),
    ({"sidecars": container(livenessProbe={})}, "sidecars[0].livenessProbe", "exactly one of exec"),
    ({"sidecars": container(startupProbe={"exec": {}})}, "startupProbe.exec", "lacks command"),
    (
        {"sidecars": container(livenessProbe={"tcpSocket": {"port": 1}, "successThreshold": 2})},
        "sidecars[0]",
        "successThreshold of livenessProbe must be 1",
    ),
    ({"sidecars": container(restartPolicy="Always")}, "sidecars", "restartPolicy is for init containers"),
    (
        {
            "sidecars": container(
                ports=[{"name": "web", "containerPort": 1}, {"name": "web", "containerPort": 2}],
            )
        },
        "sidecars[0]",
        "the port name web is taken",
    ),
    ({"sidecars": container(ports=[{"name": "a--b", "containerPort": 1}])}, "ports[0].name", "single '-'"),
    ({"init_containers": container(readinessProbe={"grpc": {"port": 1}})}, "init_containers", "no readinessProbe"),
    (
        {"init_containers": container(resizePolicy=[{"resourceName": "cpu", "restartPolicy": "RestartContainer"}])},
        "init_containers",
        "only restartPolicy: NotRequired",
    ),
    (
        {"sidecars": container(resizePolicy=[{"resourceName": "disk", "restartPolicy": "NotRequired"}])},
        "resizePolicy[0]",
        "must be cpu or memory",
    ),
    (
        {"lifecycle": {"postStart": {"sleep": {"seconds": 700}}}, "termination_grace_period": 600},
        "lifecycle",
        "longer than the grace period of 600 s",
    ),
    ({"lifecycle": {"preStop": {}}}, "lifecycle.preStop", "exactly one source"),
    ({"pod_overrides": {"activeDeadlineSeconds": 5}}, "activeDeadlineSeconds", "pods that end"),
    ({"pod_overrides": {"priority": 5}}, "pod_overrides.priority", "write priorityClassName"),
    ({"pod_overrides": {"dnsPolicy": "None"}}, "pod_overrides", "needs dnsConfig with nameservers"),
    ({"pod_overrides": {"hostPID": True, "shareProcessNamespace": True}}, "pod_overrides", "exclude each other"),
    ({"pod_overrides": {"dnsConfig": {"nameservers": ["dns.example"]}}}, "dnsConfig", "is not an IP address"),
    ({"pod_overrides": {"os": {"name": "windows"}}}, "os.name", "write one of linux"),
    ({"pod_overrides": {"containers": [{"name": "worker", "volumeMounts": [{"name": "no", "mountPath": "/a"}]}]}},
     "pod_overrides", "mounts the volume 'no'"),
    ({"pod_overrides": {"containers": [{"name": "worker", "readinessProbe": {"periodSeconds": 3}}]}},
     "pod_overrides", "exactly one of exec"),
]  # fmt: skip


@pytest.mark.parametrize(("keys", "path", "words"), REFUSED, ids=[f"{row[1]}: {row[2]}" for row in REFUSED])
def test_a_pod_that_a_server_refuses_draws_one_message_at_the_users_key(
    keys: dict[str, Any], path: str, words: str
) -> None:
    found = problems_with(keys)
    assert len(found) == 1, found
    where, _colon, message = found[0].partition(": ")
    assert where.startswith("celery_workers_config.billing.default.")
    assert path in where
    assert words in message


TAKEN: list[dict[str, Any]] = [
    {"resources": {"limits": {"nvidia.com/gpu": 1, "hugepages-2Mi": "64Mi", "memory": "1Gi"}}},
    {"resources": {"requests": {"cpu": "100m", "ephemeral-storage": "1Gi"}}},
    {"image": "app"},
    {"image": "localhost:5000/team/app_x/y-z:V1.2_3"},
    {"image": f"registry.example/app:1@sha256:{'a' * 64}"},
    {"image": "123456789012.dkr.ecr.eu-west-1.amazonaws.com/shop:latest"},
    {"container_security_context": {"privileged": True, "allowPrivilegeEscalation": True}},
    {"container_security_context": {"privileged": True}, "pod_security": "none"},
    {"security_context": {"runAsUser": 0}, "pod_security": "none"},
    {"init_containers": container(restartPolicy="Always", startupProbe={"exec": {"command": ["true"]}})},
    {
        "resources": {"claims": [{"name": "gpu"}]},
        "pod_overrides": {"resourceClaims": [{"name": "gpu", "resourceClaimTemplateName": "a"}]},
    },
    {"lifecycle": {"preStop": {"sleep": {"seconds": 5}}}},
]


@pytest.mark.parametrize("keys", TAKEN, ids=str)
def test_a_pod_that_a_server_takes_draws_none(keys: dict[str, Any]) -> None:
    assert fleet_of(**one_variant(keys)).variants


SERVER_REFUSED: list[tuple[str, dict[str, Any], str, str]] = [
    ("flower", {"container_security_context": {"privileged": True}}, "container_security_context", "exclude"),
    ("flower", {"resources": {"claims": [{"name": "gpu"}]}}, "resources", "the claim 'gpu'"),
    ("exporter", {"pod_overrides": {"activeDeadlineSeconds": 0}}, "pod_overrides.activeDeadlineSeconds", "pods that"),
    (
        "exporter",
        {"pod_overrides": {"containers": [{"name": "more", "image": "more", "livenessProbe": {}}]}},
        "pod_overrides",
        "more: write exactly one of exec",
    ),
]


@pytest.mark.parametrize(("part", "keys", "path", "words"), SERVER_REFUSED)
def test_the_pods_of_flower_and_the_exporter_are_checked_alike(
    part: str, keys: dict[str, Any], path: str, words: str
) -> None:
    found = problems_of(**one_variant(), enabled=(part,), **{part: keys})
    assert len(found) == 1, found
    assert found[0].startswith(f"celery_workers_{part}.{path}: ")
    assert words in found[0]


BEAT_REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"container_security_context": {"privileged": True}}, "container_security_context", "exclude each other"),
    ({"beat": {"resources": {"claims": [{"name": "gpu"}]}}}, "beat.resources", "the claim 'gpu' is none of the pod's"),
    ({"pod_overrides": {"dnsPolicy": "None"}}, "pod_overrides", "needs dnsConfig with nameservers"),
]


@pytest.mark.parametrize(("service", "path", "words"), BEAT_REFUSED)
def test_the_pod_of_beat_is_checked_where_no_worker_is_like_it(service: dict[str, Any], path: str, words: str) -> None:
    (problem,) = problems_with({"enabled": False}, service={"beat": True, **service})
    assert problem.startswith(f"celery_workers_services.billing.{path}: ")
    assert words in problem


def test_what_a_service_says_wrong_for_beat_and_workers_is_one_problem() -> None:
    service = {"beat": True, "container_security_context": {"privileged": True}}
    assert len(problems_with({}, service=service)) == 1


def test_annotations_that_no_object_can_hold_are_refused() -> None:
    (problem,) = problems_with({"pod_annotations": {"example.org/note": "x" * 200_000}})
    assert problem.startswith("celery_workers_config.billing.default.pod_annotations: 200016 bytes are too many")
