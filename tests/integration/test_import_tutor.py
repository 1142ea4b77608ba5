# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A site of the real Tutor is read as kubectl reads it, and imported into an inventory that works as it stands."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.queueops.celery.plugins.module_utils._openedx.kustomization import kustomized

from tests.integration.cluster import Json
from tests.integration.playbook import VENV_TEST, Player, Run, extra_vars
from tests.support.real_tutor import VERSIONS, plugin_site, render

NEWEST = VERSIONS[-1]
SITE = "learn.example.com"
VARIABLES = f"host_vars/{SITE}/celery.yml"
PASSWORD = "only-for:this/test<&>"
TASK = "lms.djangoapps.grades.tasks.compute_all_grades_for_course"

SETTINGS = {
    "LMS_HOST": SITE,
    "CMS_HOST": f"studio.{SITE}",
    "K8S_NAMESPACE": "campus",
    "OPENEDX_CELERY_REDIS_DB": 3,
    "REDIS_USERNAME": "edx",
    "REDIS_PASSWORD": PASSWORD,
    "CELERY_FLOWER": True,
    "CELERY_CMS_EXPLICIT_QUEUES": {TASK: {"queue": "edx.lms.core.high_mem"}},
}
# Lists of pods that are merged by a key, and one that is replaced.
OVERRIDES = """\
name: overrides
version: 0.1.0
patches:
  k8s-override: |
    apiVersion: apps/v1
    kind: Deployment
    metadata:
      name: lms-worker
    spec:
      template:
        spec:
          tolerations:
            - {key: dedicated, operator: Exists}
          nodeSelector: {pool: workers}
          volumes:
            - {name: scratch, emptyDir: {}}
          containers:
            - name: lms-worker
              env:
                - {name: EXTRA, value: "1"}
              volumeMounts:
                - {name: scratch, mountPath: /scratch}
              resources:
                limits: {cpu: 1.50, memory: 3Gi}
  kustomization-labels: |
    example.com/cost-centre: campus
"""


def kubectl_deployments(folder: Path) -> dict[str, Json]:
    """What kubectl makes of a rendered environment."""
    done = subprocess.run(
        ["kubectl", "kustomize", str(folder)], capture_output=True, text=True, check=True, timeout=240
    )
    found = (item for item in yaml.safe_load_all(done.stdout) if item["kind"] == "Deployment")
    return {item["metadata"]["name"]: item for item in found}


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("with_plugins", [False, True], ids=["plain", "plugins"])
def test_every_deployment_of_a_site_is_the_one_that_kubectl_makes(
    version: str, with_plugins: bool, tmp_path: Path
) -> None:
    if with_plugins:
        site = plugin_site(version, tmp_path, SETTINGS, ("pod-autoscaling",), {"overrides.yml": OVERRIDES})
    else:
        site = render(version, tmp_path)
    found = kustomized(site / "env")
    assert found.warnings == ()
    assert {item["metadata"]["name"]: item for item in found.of_kind("Deployment")} == kubectl_deployments(site / "env")


def secrets_of(site: Path) -> set[str]:
    """Passwords of a rendered site, and every line of its key."""
    config: dict[str, Any] = yaml.safe_load((site / "config.yml").read_text(encoding="utf-8"))
    words = ("PASSWORD", "SECRET", "KEY", "AUTH")
    values = [str(value) for name, value in config.items() if any(word in name for word in words) and "UID" not in name]
    return {line.strip() for value in values for line in value.splitlines() if len(line.strip()) > 5}


def content(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text(encoding="utf-8")
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@dataclass
class Story:
    site: Path
    inventory: Path
    runs: dict[str, Run] = field(default_factory=dict)
    files: dict[str, dict[str, str]] = field(default_factory=dict)


class TestImport:
    @pytest.fixture(scope="class")
    @classmethod
    def player(cls, folder: Path) -> Player:
        """Without any kubeconfig."""
        return Player(folder)

    @pytest.fixture(scope="class")
    @classmethod
    def story(cls, player: Player, folder: Path) -> Story:
        def rendered(**settings: Any) -> Path:
            return plugin_site(NEWEST, folder / "site", SETTINGS | settings, ("pod-autoscaling",))

        story = Story(rendered(), folder / "inventory")

        def step(name: str, *options: str) -> None:
            # As users write it: from their own folder.
            given = extra_vars({"tutor_root": str(story.site), "inventory_dir": "inventory"})
            story.runs[name] = player.play("import_tutor", Path("localhost,"), given, *options)
            story.files[name] = content(story.inventory)

        step("check", "--check", "--diff", "-vvv")
        step("first", "-vvv")
        step("second")
        story.runs["deploy"] = player.deploy(
            story.inventory,
            extra_vars(
                {
                    "celery_workers_output": "manifests",
                    "celery_workers_manifests_dir": str(folder / "manifests"),
                    "vault_celery_redis_password": "the-role-needs-one",
                }
            ),
        )
        mine = story.inventory / VARIABLES
        mine.write_text(mine.read_text(encoding="utf-8") + "celery_workers_prune: true\n", encoding="utf-8")
        step("edited")
        rendered(K8S_NAMESPACE="new-campus")
        step("news", "--diff")
        step("again")
        return story

    def test_check_mode_shows_the_files_and_writes_none(self, story: Story) -> None:
        run = story.runs["check"]
        assert run.changed("localhost") == 1
        assert story.files["check"] == {}
        shown = {name: after for name, (_before, after) in run.diffs("localhost").items()}
        assert shown == {f"{story.inventory}/{name}": text for name, text in story.files["first"].items()}

    def test_a_second_run_changes_nothing(self, story: Story) -> None:
        assert story.runs["first"].changed("localhost") == 1
        assert story.runs["second"].changed("localhost") == 0
        assert set(story.files["first"]) == {"hosts.yml", VARIABLES}

    def test_what_was_found_is_written(self, story: Story) -> None:
        found = yaml.safe_load(story.files["first"][VARIABLES])
        scaled = {"enable_keda": True}
        assert found == {
            "celery_workers_preset": "openedx",
            "celery_workers_namespace": "campus",
            "celery_workers_tutor_root": str(story.site),
            "celery_workers_broker": {
                "host": "redis",
                "port": 6379,
                "database": 3,
                "username": "edx",
                "password": "{{ vault_celery_redis_password }}",
            },
            "celery_workers_config": {
                "lms": {"default": {"adopt": True, **scaled}, "high": scaled, "high_mem": scaled},
                "cms": {"default": {"adopt": True, **scaled}, "high": scaled, "low": scaled},
            },
            "celery_workers_take_over": True,
            "celery_workers_autoscaler_conflict": "fail",
            "celery_workers_explicit_queues": {"cms": {TASK: {"queue": "edx.lms.core.high_mem"}}},
        }
        assert "Flower" in story.files["first"][VARIABLES]

    def test_no_password_is_written_or_printed(self, story: Story) -> None:
        hidden = secrets_of(story.site)
        assert PASSWORD in hidden
        assert len(hidden) > 20
        texts = [run.output for name, run in story.runs.items() if name != "deploy"]
        texts += [text for files in story.files.values() for text in files.values()]
        assert [secret for secret in hidden if any(secret in text for text in texts)] == []

    def test_the_files_are_tidy(self, story: Story, tmp_path: Path) -> None:
        for name, text in story.files["first"].items():
            (tmp_path / Path(name).name).write_text(text, encoding="utf-8")
        rules = "{extends: default, rules: {line-length: {max: 120}}}"
        done = subprocess.run(
            [str(VENV_TEST / "bin" / "yamllint"), "--strict", "-d", rules, str(tmp_path)],
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert (done.returncode, done.stdout) == (0, "")

    def test_the_inventory_deploys_as_it_stands(self, story: Story, folder: Path) -> None:
        run = story.runs["deploy"]
        assert run.code == 0, run.message(SITE)
        made = yaml.safe_load((folder / "manifests" / SITE / "lms" / "deployment-lms-worker-high.yaml").read_text())
        [own] = [
            item
            for item in kustomized(story.site / "env").of_kind("Deployment")
            if item["metadata"]["name"] == "lms-worker-high"
        ]
        # Taken over in place: a selector cannot change.
        assert made["spec"]["selector"] == own["spec"]["selector"]
        pod, theirs = (item["spec"]["template"]["spec"] for item in (made, own))
        assert pod["containers"][0]["image"] == theirs["containers"][0]["image"]
        assert {"settings-lms", "config"} <= {volume["name"] for volume in pod["volumes"]}

    def test_what_a_person_changed_stays_and_the_news_go_beside_it(self, story: Story) -> None:
        assert story.runs["edited"].changed("localhost") == 0
        news = story.runs["news"]
        assert news.changed("localhost") == 1
        assert story.files["news"][VARIABLES] == story.files["edited"][VARIABLES]
        assert "celery_workers_namespace: new-campus" in story.files["news"][f"{VARIABLES}.new"]
        assert f"{VARIABLES} was changed by hand" in news.warnings
        assert story.runs["again"].changed("localhost") == 0

    def test_without_a_project_it_says_how_to_call_it(self, player: Player) -> None:
        run = player.play("import_tutor", Path("localhost,"))
        assert run.code != 0
        assert "-e tutor_root=" in run.message("localhost")

    def test_a_folder_that_is_no_project_is_refused(self, player: Player, folder: Path) -> None:
        given = extra_vars({"tutor_root": str(folder), "inventory_dir": "other"})
        run = player.play("import_tutor", Path("localhost,"), given)
        assert "has no config.yml, so it is no Tutor project" in run.message("localhost")
        assert not (folder / "other").exists()
