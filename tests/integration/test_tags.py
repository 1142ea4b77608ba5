# SPDX-License-Identifier: GPL-3.0-or-later
"""--tags validate and plan only read; apply does the whole job."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.cluster import Cluster
from tests.integration.playbook import Player, Run, write_inventory


class TestTags:
    @pytest.fixture(scope="class")
    @classmethod
    def inventory(cls, namespace: str, folder: Path) -> Path:
        variables = {
            "celery_workers_namespace": namespace,
            "celery_workers_wait": False,
            "celery_workers_broker": {"host": "redis", "password": "only-for-this-test"},
            "celery_workers_services": {"shop": {"app": "shop.celery", "image": "registry.example/shop:1"}},
            "celery_workers_config": {"shop": {"high": {"enable_keda": True, "min_replicas": 1}}},
        }
        return write_inventory(folder, {"shop": variables})

    @pytest.mark.parametrize("tag", ["validate", "plan"])
    def test_reading_tags_write_nothing(
        self, cluster: Cluster, player: Player, namespace: str, inventory: Path, tag: str
    ) -> None:
        run = player.deploy(inventory, f"--tags={tag}")
        assert run.changed("shop") == 0
        assert cluster.names(namespace) == set()
        if cluster.emulator:
            assert [one.path for one in cluster.requests_of(namespace) if one.is_write] == []
        assert ("shop     high" in " ".join(run.said("shop", "fleet"))) == (tag == "plan")

    def test_a_run_that_begins_after_the_work_fails(
        self, cluster: Cluster, player: Player, namespace: str, inventory: Path
    ) -> None:
        run = player.deploy(inventory, "--start-at-task=Say what was done")
        assert run.code == 2
        assert "leave --start-at-task and --step out" in run.message("shop")
        assert cluster.names(namespace) == set()

    def test_apply_does_the_whole_job(self, cluster: Cluster, player: Player, namespace: str, inventory: Path) -> None:
        run: Run = player.deploy(inventory, "--tags=apply")
        assert run.changed("shop") > 0
        assert cluster.names(namespace) == {
            f"Secret {namespace}-celery-broker",
            "TriggerAuthentication shop-worker-trigger-auth",
            "Deployment shop-worker-high",
            "PodDisruptionBudget shop-worker-high",
            "ScaledObject shop-worker-high-scaledobject",
        }
