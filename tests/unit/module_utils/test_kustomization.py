# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A kustomization gives the Deployments that kubectl gives; what it asks for and is not done is said."""

from __future__ import annotations

import base64
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.queueops.celery.plugins.module_utils._openedx.kustomization import config_map_hash, kustomized
from ansible_collections.queueops.celery.plugins.module_utils._openedx.kustomize_patches import KustomizationError

from tests.unit.tutor_trees import Json, deployment, write

CONFIG = {"name": "config", "literals": ["key=value"]}


def build(folder: Path, *objects: Json, files: Json | None = None, **kustomization: Any) -> dict[str, Json]:
    """Objects by name, without a warning."""
    write(folder, {"kustomization.yml": {"resources": ["all.yml"], **kustomization}, "all.yml": list(objects)})
    write(folder, files or {})
    found = kustomized(folder)
    assert not found.warnings
    return {item["metadata"]["name"]: item for item in found.objects}


def pod(item: Json) -> Json:
    spec: Json = item["spec"]["template"]["spec"]
    return spec


def warnings(folder: Path, **kustomization: Any) -> str:
    write(
        folder, {"kustomization.yml": {"resources": ["all.yml"], **kustomization}, "all.yml": deployment("lms-worker")}
    )
    return "\n".join(kustomized(folder).warnings)


# Name of a generated ConfigMap and of its one file, content, and the end of its name, measured with kustomize 5.5.
HASHES = {
    "plain": (b"a=1\n", "996c8btfgg"),
    "nonl": (b"a=1", "7b4hb4h2bk"),
    "empty": (b"", "t6869b4btd"),
    "crlf": (b"a\r\nb\r\n", "58897965db"),
    "html": (b'<a href="x">&</a>\n', "f422k8td7t"),
    "sep": ("a\u2028b\u2029c\n".encode(), "f667t9kcm2"),
    "uni": ("gr\u00fc\u00df \U0001f600\n".encode(), "4d2mc6mm96"),
    "bom": (b"\xef\xbb\xbfabc\n", "5h9ccfm96h"),
    "tab": (b"\tx\ty \n", "6ck4hgchmh"),
    "bslash": (b'a\\b"c\n', "hmtb9fghbm"),
}


@pytest.mark.parametrize("name", HASHES)
def test_a_hash_is_the_one_that_kustomize_gives(name: str, tmp_path: Path) -> None:
    content, end = HASHES[name]
    write(tmp_path, {"kustomization.yml": {"configMapGenerator": [{"name": name, "files": [name]}]}, name: content})
    assert list(kustomized(tmp_path).texts) == [f"{name}-{end}"]


def test_hashes_of_several_files_of_binary_ones_and_of_none() -> None:
    binary = base64.b64encode(b"\xff\xfe\x00").decode()
    assert config_map_hash({"html": '<a href="x">&</a>\n', "k.txt": "a=1\n"}, {"bin": binary}) == "b2m6kh9k8d"
    assert config_map_hash({}, {"bin": binary}) == "fmgm4dd92f"
    assert config_map_hash({}) == "6ct58987ht"


@pytest.mark.parametrize(
    ("generator", "files", "name"),
    [
        ({"literals": ["a=b", "c='d e'", 'e="f"', "g=h=i", "j='k", "l="]}, {}, "286d8h72h4"),
        ({"envs": ["e.env"]}, {"e.env": "# c\nA=1\n  B = 2 \n\nC='x'\nD=a=b\n"}, "ckt266h594"),
        (
            {"files": ["k.txt=plain", "html", "bin"]},
            {"plain": "a=1\n", "html": '<a href="x">&</a>\n', "bin": b"\xff\xfe\x00"},
            "b2m6kh9k8d",
        ),
    ],
)
def test_every_form_of_a_generator_is_read(generator: Json, files: Json, name: str, tmp_path: Path) -> None:
    write(tmp_path, {"kustomization.yml": {"configMapGenerator": [{"name": "c", **generator}]}, **files})
    assert list(kustomized(tmp_path).texts) == [f"c-{name}"]


@pytest.mark.parametrize(
    "extra",
    [
        {"generatorOptions": {"disableNameSuffixHash": True}},
        {"configMapGenerator": [{**CONFIG, "options": {"disableNameSuffixHash": True}}]},
    ],
)
def test_a_hash_that_is_switched_off_is_left_out(extra: Json, tmp_path: Path) -> None:
    write(tmp_path, {"kustomization.yml": {"configMapGenerator": [CONFIG], **extra}})
    assert list(kustomized(tmp_path).texts) == ["config"]


def test_a_patch_of_a_generated_config_map_changes_its_hash(tmp_path: Path) -> None:
    patch = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "config"}, "data": {"key": "other"}}
    before = config_map_hash({"key": "value"})
    write(tmp_path, {"kustomization.yml": {"configMapGenerator": [CONFIG], "patches": [{"patch": yaml.dump(patch)}]}})
    assert list(kustomized(tmp_path).texts) == [f"config-{config_map_hash({'key': 'other'})}"]
    assert before != config_map_hash({"key": "other"})


def test_every_reference_to_a_generated_config_map_gets_its_new_name(tmp_path: Path) -> None:
    item = deployment(
        "lms-worker",
        env=[{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "config", "key": "key"}}}],
        envFrom=[{"configMapRef": {"name": "config"}}, {"secretRef": {"name": "config"}}],
        pod={
            "initContainers": [{"name": "init", "envFrom": [{"configMapRef": {"name": "config"}}]}],
            "volumes": [
                {"name": "one", "configMap": {"name": "config"}},
                {"name": "two", "projected": {"sources": [{"configMap": {"name": "config"}}]}},
                {"name": "three", "configMap": {"name": "somebody-elses"}},
                {"name": "four", "secret": {"secretName": "config"}},
            ],
        },
    )
    found = pod(build(tmp_path, item, configMapGenerator=[CONFIG])["lms-worker"])
    name = f"config-{config_map_hash({'key': 'value'})}"
    container = found["containers"][0]
    assert container["env"][0]["valueFrom"]["configMapKeyRef"]["name"] == name
    assert container["envFrom"] == [{"configMapRef": {"name": name}}, {"secretRef": {"name": "config"}}]
    assert found["initContainers"][0]["envFrom"][0]["configMapRef"]["name"] == name
    assert found["volumes"] == [
        {"name": "one", "configMap": {"name": name}},
        {"name": "two", "projected": {"sources": [{"configMap": {"name": name}}]}},
        {"name": "three", "configMap": {"name": "somebody-elses"}},
        {"name": "four", "secret": {"secretName": "config"}},
    ]


def test_labels_reach_selectors_and_pods_only_where_they_are_asked_to(tmp_path: Path) -> None:
    found = build(
        tmp_path,
        deployment("lms-worker"),
        namespace="campus",
        commonAnnotations={"note": "all"},
        labels=[
            {"pairs": {"own": "only"}},
            {"pairs": {"pods": "too"}, "includeTemplates": True},
            {"pairs": {"site": "all"}, "includeSelectors": True},
        ],
    )["lms-worker"]
    name = {"app.kubernetes.io/name": "lms-worker"}
    assert found["metadata"]["namespace"] == "campus"
    assert found["metadata"]["labels"] == {**name, "own": "only", "pods": "too", "site": "all"}
    assert found["spec"]["selector"]["matchLabels"] == {**name, "site": "all"}
    assert found["spec"]["template"]["metadata"]["labels"] == {**name, "pods": "too", "site": "all"}
    assert found["metadata"]["annotations"] == found["spec"]["template"]["metadata"]["annotations"] == {"note": "all"}


def test_common_labels_of_older_tutors_reach_everything(tmp_path: Path) -> None:
    term = {"topologyKey": "zone", "labelSelector": {"matchLabels": {"app.kubernetes.io/name": "lms-worker"}}}
    rule = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    item = deployment("lms-worker", pod={"affinity": rule})
    found = build(tmp_path, item, commonLabels={"site": "all"})["lms-worker"]
    assert found["spec"]["selector"]["matchLabels"]["site"] == "all"
    assert found["spec"]["template"]["metadata"]["labels"]["site"] == "all"
    [rule] = pod(found)["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert rule["labelSelector"]["matchLabels"]["site"] == "all"


PATCH = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: lms-worker}
spec:
  template:
    spec:
      nodeSelector: {pool: workers}
      terminationGracePeriodSeconds: null
      volumes: [{name: old, $patch: delete}, {name: more, emptyDir: {}}]
      containers:
        - name: lms-worker
          args: [other]
          env: [{name: NEW, value: "2"}, {name: KEPT, value: changed}]
          resources: {limits: {memory: 3Gi}}
        - {name: side, $patch: delete}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: gone}
$patch: delete
"""


@pytest.mark.parametrize("key", ["patches", "patchesStrategicMerge"])
def test_a_patch_is_merged_as_kustomize_does(key: str, tmp_path: Path) -> None:
    item = deployment(
        "lms-worker",
        "one",
        env=[{"name": "FIRST", "value": "1"}, {"name": "KEPT", "value": "old"}],
        pod={"volumes": [{"name": "old", "emptyDir": {}}], "terminationGracePeriodSeconds": 5},
    )
    pod(item)["containers"].append({"name": "side", "image": "side:1"})
    wanted = [{"path": "override.yml"}] if key == "patches" else ["override.yml"]
    built = build(tmp_path, item, deployment("gone"), files={"override.yml": PATCH}, **{key: wanted})
    found = pod(built["lms-worker"])
    assert "gone" not in built
    assert found["nodeSelector"] == {"pool": "workers"}
    assert "terminationGracePeriodSeconds" not in found
    assert found["volumes"] == [{"name": "more", "emptyDir": {}}]
    [container] = found["containers"]
    assert (container["args"], container["image"]) == (["other"], "registry.example/openedx:1")
    # What a patch names comes first.
    assert [(entry["name"], entry["value"]) for entry in container["env"]] == [
        ("NEW", "2"),
        ("KEPT", "changed"),
        ("FIRST", "1"),
    ]


def test_a_patch_with_a_target_reaches_all_that_it_selects(tmp_path: Path) -> None:
    patch = yaml.dump({**deployment("any"), "spec": {"template": {"spec": {"priorityClassName": "low"}}}})
    target = {"kind": "Deployment", "name": ".*-worker"}
    found = build(tmp_path, deployment("lms-worker"), deployment("lms"), patches=[{"patch": patch, "target": target}])
    assert {name: pod(item).get("priorityClassName") for name, item in found.items()} == {
        "lms-worker": "low",
        "lms": None,
    }


def test_an_empty_patch_file_changes_nothing(tmp_path: Path) -> None:
    files = {"override.yml": "# nothing\n"}
    found = build(tmp_path, deployment("lms-worker"), files=files, patches=[{"path": "override.yml"}])
    assert found == {"lms-worker": deployment("lms-worker")}


@pytest.mark.parametrize(
    ("change", "before", "after"),
    [
        ({"newTag": "2"}, "reg.example:5000/openedx:1", "reg.example:5000/openedx:2"),
        ({"newName": "mirror/openedx"}, "reg.example:5000/openedx:1", "mirror/openedx:1"),
        ({"digest": "sha256:ab"}, "reg.example:5000/openedx:1", "reg.example:5000/openedx@sha256:ab"),
        ({"newTag": "2"}, "reg.example:5000/openedx-dev:1", "reg.example:5000/openedx-dev:1"),
    ],
)
def test_images_are_replaced_by_name(change: Json, before: str, after: str, tmp_path: Path) -> None:
    item = deployment("lms-worker", image=before)
    found = build(tmp_path, item, images=[{"name": "reg.example:5000/openedx", **change}])
    assert pod(found["lms-worker"])["containers"][0]["image"] == after


def test_replicas_are_set_by_name(tmp_path: Path) -> None:
    found = build(tmp_path, deployment("lms"), deployment("cms"), replicas=[{"name": "lms", "count": 3}])
    assert {name: item["spec"].get("replicas") for name, item in found.items()} == {"lms": 3, "cms": None}


@pytest.mark.parametrize(
    ("kustomization", "said"),
    [
        ({"namePrefix": "a-"}, "namePrefix is not applied here"),
        ({"components": ["x"]}, "components is not applied here"),
        ({"secretGenerator": [{"name": "s"}]}, "secretGenerator is not applied here"),
        ({"labels": [{"pairs": {}, "fields": []}]}, "labels with fields is not applied here"),
        ({"patches": [{"patch": "- {op: remove, path: /spec}"}]}, "a patch (JSON 6902) is not applied here"),
        (
            {"patches": [{"patch": "kind: Deployment", "target": {"labelSelector": "a=b"}}]},
            "a patch with target.labelSelector is not applied here",
        ),
        (
            {"patches": [{"patch": "{apiVersion: apps/v1, kind: Deployment, metadata: {name: typo}}"}]},
            "a patch for Deployment typo finds no such object",
        ),
        (
            {"patches": [{"patch": yaml.dump({**deployment("lms-worker"), "$retainKeys": ["a"]})}]},
            "a patch with $retainKeys is only applied in part",
        ),
        ({"configMapGenerator": [{**CONFIG, "behavior": "merge"}]}, "behavior merge of the ConfigMap config"),
        ({"resources": ["all.yml", "https://example.com/x.yml"]}, "the resource https://example.com/x.yml is no file"),
        ({"images": [{"name": "a", "tagSuffix": "-b"}]}, "images with tagSuffix is not applied here"),
    ],
)
def test_what_is_not_done_is_said_with_the_command_that_does_it(kustomization: Json, said: str, tmp_path: Path) -> None:
    found = warnings(tmp_path, **kustomization)
    assert said in found
    assert f"kubectl kustomize {tmp_path}" in found


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"kustomization.yml": {"resources": ["none.yml"]}}, "none.yml cannot be read: No such file or directory."),
        ({"kustomization.yml": {"resources": ["../outside.yml"]}}, "outside.yml lies outside of"),
        ({"kustomization.yml": {"resources": ["bad.yml"]}, "bad.yml": "a: b\n  secret: [\n"}, "bad.yml, line 2:"),
        ({"kustomization.yml": ""}, "kustomization.yml is empty."),
    ],
)
def test_a_file_that_cannot_be_used_is_named_and_not_shown(files: Json, said: str, tmp_path: Path) -> None:
    write(tmp_path / "outside.yml", {})
    with pytest.raises(KustomizationError) as caught:
        kustomized(write(tmp_path / "env", files))
    assert said in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere.yml").write_text("a: b\n")
    folder = write(tmp_path / "env", {"kustomization.yml": {"resources": ["link.yml"]}})
    (folder / "link.yml").symlink_to(tmp_path / "elsewhere.yml")
    with pytest.raises(KustomizationError, match="lies outside of"):
        kustomized(folder)


def test_scalars_are_read_as_kustomize_reads_them(tmp_path: Path) -> None:
    text = yaml.dump(deployment("lms-worker")) + "# end\n"
    text = text.replace("spec:\n", "  annotations: {date: 2020-01-01, on: yes}\nspec:\n", 1)
    write(tmp_path, {"kustomization.yml": {"resources": ["all.yml"]}, "all.yml": text})
    [found] = kustomized(tmp_path).objects
    assert found["metadata"]["annotations"] == {"date": "2020-01-01", "on": "yes"}


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
def test_all_of_it_at_once_is_what_kubectl_gives(tmp_path: Path) -> None:
    item = deployment(
        "lms-worker",
        "one",
        env=[{"name": "FIRST", "value": "1"}, {"name": "KEPT", "value": "old"}],
        ports=[{"containerPort": 80}, {"containerPort": 53, "protocol": "UDP"}],
        envFrom=[{"configMapRef": {"name": "config"}}],
        volumeMounts=[{"name": "old", "mountPath": "/old"}],
        pod={
            "volumes": [{"name": "old", "emptyDir": {}}, {"name": "config", "configMap": {"name": "config"}}],
            "terminationGracePeriodSeconds": 5,
            "tolerations": [{"key": "a", "operator": "Exists"}],
            "imagePullSecrets": [{"name": "one"}],
        },
    )
    pod(item)["containers"].append({"name": "side", "image": "side:1"})
    target = {"kind": "Deployment", "name": "l.*"}
    more = {
        **deployment("any"),
        "spec": {
            "template": {
                "spec": {
                    "tolerations": [{"key": "b", "operator": "Exists"}],
                    "imagePullSecrets": [{"name": "two"}],
                    "containers": [{"name": "lms-worker", "ports": [{"containerPort": 53, "protocol": "TCP"}]}],
                }
            }
        },
    }
    found = build(
        tmp_path,
        item,
        deployment("gone"),
        deployment("cms", image="side"),
        files={"override.yml": PATCH},
        namespace="campus",
        configMapGenerator=[{"name": "config", "literals": ["a=<&>"], "options": {"labels": {"x": "z"}}}],
        commonAnnotations={"app.kubernetes.io/version": "22.0.3"},
        labels=[{"pairs": {"site": "all"}, "includeSelectors": True, "includeTemplates": True}],
        patches=[{"path": "override.yml"}, {"patch": yaml.dump(more), "target": target}],
        images=[{"name": "side", "newName": "mirror/side", "newTag": "7"}],
        replicas=[{"name": "cms", "count": 2}],
    )
    printed = subprocess.run(
        ["kubectl", "kustomize", str(tmp_path)], capture_output=True, text=True, check=True, timeout=60
    )
    real = {each["metadata"]["name"]: each for each in yaml.safe_load_all(printed.stdout)}
    assert found == {name: each for name, each in real.items() if each["kind"] == "Deployment"}
