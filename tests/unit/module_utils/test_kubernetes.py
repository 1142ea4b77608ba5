# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kubernetes' own values: taken verbatim, refused where a server would refuse them, merged as a server merges."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._schema.kubernetes import Kubernetes, merge
from ansible_collections.queueops.celery.plugins.module_utils._schema.layers import nested
from ansible_collections.queueops.celery.plugins.module_utils._schema.problems import Problems
from ansible_collections.queueops.celery.plugins.module_utils._schema.quantities import quantity


def read(kind: str, value: Any, partial: bool = False) -> tuple[Any, list[str]]:
    problems = Problems()
    return Kubernetes(kind, partial)(nested(value, "here"), problems), [str(item) for item in problems.found]


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("500m", Decimal("0.5")),
        ("1Gi", Decimal(1024**3)),
        ("1.5G", Decimal("1.5e9")),
        (2, Decimal(2)),
        (0.5, Decimal("0.5")),
        ("1e3", Decimal(1000)),
        ("1E", Decimal(10**18)),
        ("1Ei", Decimal(1024**6)),
        ("100u", Decimal("0.0001")),
        ("-1", Decimal(-1)),
        ("1gb", None),
        ("1 Gi", None),
        ("1Gi\n", None),
        ("", None),
        (True, None),
        (None, None),
        ("GiB", None),
        ("٣", None),
    ],
)
def test_a_quantity_stands_for_what_kubernetes_takes_it_for(text: Any, amount: Decimal | None) -> None:
    assert quantity(text) == amount


TAKEN: list[tuple[str, Any, Any]] = [
    ("[Toleration]", [{"operator": "Exists"}], [{"operator": "Exists"}]),
    ("[Toleration]", [{"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": "30"}], None),
    ("ResourceRequirements", {"limits": {"cpu": 1, "memory": "1Gi"}}, {"limits": {"cpu": "1", "memory": "1Gi"}}),
    ("SecurityContext", {"runAsUser": "1000", "privileged": "no"}, {"runAsUser": 1000, "privileged": False}),
    ("[Volume@name]", [{"name": "a", "emptyDir": {}}], None),
    ("DeploymentStrategy", {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "50%"}}, None),
]


@pytest.mark.parametrize(("kind", "value", "expected"), TAKEN)
def test_a_value_that_a_server_takes_is_taken(kind: str, value: Any, expected: Any) -> None:
    found, problems = read(kind, value)
    assert problems == []
    assert expected is None or found == expected


REFUSED: list[tuple[str, Any, str]] = [
    ("[Toleration]", [{"operater": "Exists"}], "here[0].operater: "),
    ("[Toleration]", [{"operator": "exists"}], "here[0].operator: 'exists' is not valid here; write one of '', Exists"),
    ("[Toleration]", [{"operator": "Exists", "value": "x"}], "operator Exists takes no value"),
    ("[Toleration]", [{"value": "x"}], "a toleration without key needs operator: Exists."),
    ("[Toleration]", [{"key": "a", "tolerationSeconds": 3}], "tolerationSeconds needs effect: NoExecute."),
    ("[Toleration]", {"operator": "Exists"}, "write a list."),
    (
        "ResourceRequirements",
        {"limits": {"memory": "1gb"}},
        "here.limits.memory: '1gb' is not valid here; write a quantity",
    ),
    ("ResourceRequirements", {"limits": {"memory": "-1"}}, "here.limits.memory: '-1' is not valid here"),
    (
        "ResourceRequirements",
        {"requests": {"cpu": 2}, "limits": {"cpu": "500m"}},
        "the cpu request 2 is above its limit 500m.",
    ),
    ("[Volume@name]", [{"name": "a", "emptyDir": {}, "configMap": {"name": "b"}}], "write exactly one source, not 2"),
    ("[Volume@name]", [{"name": "a"}], "write exactly one source, not 0."),
    ("[Volume@name]", [{"name": "A_b", "emptyDir": {}}], "here[0].name: 'A_b' is not valid here; write a DNS label"),
    (
        "[Volume@name]",
        [{"name": "a", "emptyDir": {}}, {"name": "a", "emptyDir": {}}],
        "name a is written here more than once",
    ),
    ("[VolumeMount@mountPath]", [{"name": "a"}], "lacks mountPath."),
    ("[EnvVar@name]", [{"name": "A", "value": 5}], "here[0].value: 5 is not valid here; write text, in quotes"),
    (
        "[EnvVar@name]",
        [{"name": "A", "value": "x", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        "write value or valueFrom",
    ),
    ("[EnvVar@name]", [{"name": "A", "valueFrom": {}}], "write exactly one source, not 0."),
    ("[Container@name]", [{"image": "x"}], "lacks name."),
    (
        "DeploymentStrategy",
        {"type": "Recreate", "rollingUpdate": {"maxSurge": 1}},
        "type Recreate takes no rollingUpdate",
    ),
    ("DeploymentStrategy", {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "0%"}}, "cannot both be 0"),
    (
        "HorizontalPodAutoscalerBehavior",
        {"scaleDown": {"stabilizationWindowSeconds": 3601}},
        "write a whole number from 0 to 3600.",
    ),
    ("PodSpec", {"containers": [], "restartPolicy": "Never"}, "write one of Always."),
    ("SecurityContext", {"runAsUser": True}, "here.runAsUser: True is not valid here"),
    ("Affinity", {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {}}}, "lacks nodeSelectorTerms."),
]


@pytest.mark.parametrize(("kind", "value", "message"), REFUSED)
def test_a_value_that_a_server_refuses_is_refused_before(kind: str, value: Any, message: str) -> None:
    _found, problems = read(kind, value)
    assert len(problems) == 1
    assert message in problems[0]


@pytest.mark.parametrize(
    ("kind", "lower", "upper", "expected"),
    [
        ("PodSpec", {"a": {"b": 1}}, {"a": {"c": 2}}, {"a": {"b": 1, "c": 2}}),
        ("PodSpec", {"tolerations": [{"key": "a"}]}, {"tolerations": [{"key": "b"}]}, {"tolerations": [{"key": "b"}]}),
        (
            "PodSpec",
            {"containers": [{"name": "worker", "image": "x", "env": [{"name": "A", "value": "1"}]}]},
            {"containers": [{"name": "worker", "tty": True, "env": [{"name": "B", "value": "2"}]}]},
            {
                "containers": [
                    {
                        "name": "worker",
                        "image": "x",
                        "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
                        "tty": True,
                    }
                ]
            },
        ),
        (
            "SecurityContext",
            {"capabilities": {"drop": ["ALL"]}},
            {"capabilities": {"drop": []}},
            {"capabilities": {"drop": []}},
        ),
    ],
)
def test_values_merge_as_a_strategic_merge_does(kind: str, lower: Any, upper: Any, expected: Any) -> None:
    assert merge(kind, lower, upper) == expected


@pytest.mark.parametrize(("written", "mode"), [("0440", 0o440), ("0o400", 0o400), (0o640, 0o640), (256, 256)])
def test_a_file_mode_in_quotes_is_octal(written: Any, mode: int) -> None:
    volume = {"name": "x", "secret": {"secretName": "y", "defaultMode": written}}
    checked = Kubernetes("Volume")(nested(volume, "p"), Problems())
    assert checked["secret"]["defaultMode"] == mode


def test_one_port_number_stands_once_because_a_second_run_would_drop_the_other() -> None:
    problems = Problems()
    ports = [{"containerPort": 53, "protocol": "TCP"}, {"containerPort": 53, "protocol": "UDP"}]
    Kubernetes("Container")(nested({"name": "dns", "ports": ports}, "p"), problems)
    assert "53" in str(problems.found)
