# SPDX-License-Identifier: GPL-3.0-or-later
"""Manifest files instead of a cluster: the same bytes each time, without a cluster and without kubernetes.core."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from tests.checks import layout
from tests.integration.cluster import Json
from tests.integration.playbook import VENV, VENV_TEST, Player, Run, mode_of, write_inventory

HOSTS = ("north", "south", "west")
SCALED: Json = {"enable_keda": True, "min_replicas": 1}
SHARED: Json = {
    "celery_workers_namespace": "learn-{{ inventory_hostname }}",
    "celery_workers_output": "manifests",
    "celery_workers_create_namespace": True,
    "celery_workers_broker": {"host": "redis", "password": "only-for-this-test"},
    "celery_workers_services": {"shop": {"app": "shop.celery", "image": "registry.example/shop:1"}},
}
ALL: Json = {"shop": {"default": {}, "high": SCALED}}
LESS: Json = {"shop": {"default": {}}}


def content(tree: Path) -> dict[str, bytes]:
    return {str(path.relative_to(tree)): path.read_bytes() for path in sorted(tree.rglob("*")) if path.is_file()}


@dataclass
class Story:
    runs: dict[str, Run] = field(default_factory=dict)
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    modes: dict[str, str] = field(default_factory=dict)


class TestManifests:
    @pytest.fixture(scope="class")
    @classmethod
    def player(cls, folder: Path) -> Player:
        """Without any kubeconfig."""
        return Player(folder)

    @pytest.fixture(scope="class")
    @classmethod
    def story(cls, player: Player, folder: Path) -> Story:
        story = Story()
        # The environment of `make demo` has ansible-core alone.
        bare = VENV if (VENV / "bin" / "ansible-playbook").exists() else VENV_TEST
        tree = folder / "manifests"

        def step(name: str, config: Json, *options: str, playbook: str = "deploy", venv: Path = VENV_TEST) -> None:
            hosts: dict[str, Json] = {
                host: {"celery_workers_config": config if host == "north" else ALL} for host in HOSTS
            }
            hosts["south"] |= {"celery_workers_manifests_secrets": True}
            inventory = write_inventory(folder, hosts, SHARED | {"celery_workers_manifests_dir": str(tree)})
            # The json callback is not part of ansible-core.
            story.runs[name] = player.play(playbook, inventory, *options, json_output=False, venv=venv)
            story.files[name] = content(tree)

        step("check", ALL, "--check", "--diff")
        step("first", ALL, venv=bare)
        story.modes = {name: mode_of(tree / name) for name in ("south/secrets.yaml", "south/kustomization.yaml")}
        step("second", ALL)
        foreign = tree / "west" / "shop" / "deployment-shop-worker.yaml"
        foreign.unlink()
        index = tree / "west" / ".celery-manifests.json"
        index.unlink()
        foreign.write_text("kind: Foreign\n", encoding="utf-8")
        step("less", LESS, "--diff", venv=bare)
        (tree / "north" / "README.md").write_text("by hand\n", encoding="utf-8")
        step("absent", LESS, "--limit=north,south", playbook="remove", venv=bare)
        return story

    def test_check_mode_writes_nothing(self, story: Story) -> None:
        run = story.runs["check"]
        assert story.files["check"] == {}
        for host in HOSTS:
            assert run.recap[host]["failed"] == 0
            assert run.recap[host]["changed"] > 0
        assert "kind: ScaledObject" in run.stdout
        assert "only-for-this-test" not in run.output

    def test_each_host_has_its_own_tree(self, story: Story) -> None:
        files = story.files["first"]
        for host in HOSTS:
            assert story.runs["first"].recap[host]["failed"] == 0
            assert f"{host}/shop/deployment-shop-worker.yaml" in files
            assert f"{host}/shop/scaledobject-shop-worker-high-scaledobject.yaml" in files
            listed = yaml.safe_load(files[f"{host}/kustomization.yaml"])["resources"]
            others = {name.removeprefix(f"{host}/") for name in files if name.startswith(f"{host}/")}
            assert set(listed) == {name for name in others if name.endswith(".yaml")} - {"kustomization.yaml"}
            for name in listed:
                for manifest in yaml.safe_load_all(files[f"{host}/{name}"]):
                    assert manifest["metadata"].get("namespace", manifest["metadata"]["name"]) == f"learn-{host}"

    def test_two_runs_write_the_same_bytes(self, story: Story) -> None:
        assert story.files["second"] == story.files["first"]
        for host in HOSTS:
            assert story.runs["second"].recap[host]["changed"] == 0

    def test_secrets_are_written_on_request_only(self, story: Story) -> None:
        assert [name for name in story.files["first"] if name.endswith("secrets.yaml")] == ["south/secrets.yaml"]
        assert story.modes == {"south/secrets.yaml": "0o600", "south/kustomization.yaml": "0o644"}
        assert "learn-north-celery-broker" in story.runs["first"].stdout
        assert "only-for-this-test" not in story.runs["first"].output

    def test_the_file_of_a_variant_that_is_gone_goes_too(self, story: Story) -> None:
        assert story.runs["less"].recap["north"]["failed"] == 0
        gone = set(story.files["second"]) - set(story.files["less"])
        assert "north/shop/deployment-shop-worker-high.yaml" in gone
        assert "north/shop/scaledobject-shop-worker-high-scaledobject.yaml" in gone
        assert "high" not in story.files["less"]["north/kustomization.yaml"].decode()
        assert story.runs["less"].recap["south"]["changed"] == 0

    def test_a_file_of_somebody_else_is_refused(self, story: Story) -> None:
        assert story.runs["less"].recap["west"]["failed"] == 1
        assert "shop/deployment-shop-worker.yaml" in story.runs["less"].output
        assert "Move it away" in story.runs["less"].output
        assert story.files["less"]["west/shop/deployment-shop-worker.yaml"] == b"kind: Foreign\n"

    def test_absent_removes_the_tree_and_leaves_files_of_others(self, story: Story, folder: Path) -> None:
        for host in ("north", "south"):
            assert story.runs["absent"].recap[host]["failed"] == 0
            assert story.runs["absent"].recap[host]["changed"] > 0
        assert [name for name in story.files["absent"] if not name.startswith("west/")] == ["north/README.md"]

    def test_no_traceback(self, story: Story) -> None:
        for run in story.runs.values():
            assert "Traceback" not in run.output


class TestDefaultFolder:
    """A relative folder is below the one in which ansible-playbook was started, not inside the installed collection.

    A program that starts ansible-playbook in another folder need not have changed PWD, so that must not matter.
    """

    @pytest.fixture(scope="class")
    @classmethod
    def installed(cls, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """A copy of the collection, so that nothing can be written into the checkout."""
        parent = tmp_path_factory.mktemp("installed")
        layout.copy_tree(parent)
        return parent

    @pytest.fixture(scope="class")
    @classmethod
    def run(cls, installed: Path, folder: Path) -> Run:
        host: Json = {"celery_workers_config": LESS, "celery_workers_manifests_secrets": True}
        inventory = write_inventory(folder, {"north": host}, SHARED)
        env = {"ANSIBLE_COLLECTIONS_PATH": str(installed), "PWD": str(installed)}
        return Player(folder).deploy(inventory, json_output=False, env=env)

    def test_files_are_where_the_user_is(self, folder: Path, run: Run) -> None:
        assert run.recap["north"]["failed"] == 0
        assert (folder / "manifests" / "north" / "kustomization.yaml").is_file(), run

    def test_nothing_is_written_into_the_collection(self, installed: Path, run: Run) -> None:
        assert run.code == 0
        assert not list(installed.rglob("secrets.yaml"))
        assert not list(installed.rglob("kustomization.yaml"))
