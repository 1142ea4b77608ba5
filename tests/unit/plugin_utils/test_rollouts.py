# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How pods are replaced: all at once, one Deployment after the other, or each once its workers run nothing."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._model.names import DRAINED_ANNOTATION, PAUSE_ANNOTATION
from ansible_collections.queueops.celery.plugins.plugin_utils import _draining
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.inventories import IMAGE
from tests.unit.model_cluster import Object, done, operate, refused, run
from tests.unit.told_pods import ToldSite, told_site

PAUSED = "autoscaling.keda.sh/paused"
NOW = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
SCALED = {"enable_keda": True, "min_replicas": 1, "max_replicas": 8}
CONFIG: Object = {
    "default": {**SCALED, "longest_task_seconds": 3600},
    "high": {**SCALED, "longest_task_seconds": 60},
    "low": {"replicas": 2},
}
DEFAULT, HIGH, LOW = "lms-worker", "lms-worker-high", "lms-worker-low"


def fleet(image: str = IMAGE, variants: Object | None = None, **more: Any) -> Object:
    service = {"image": image, "app": "lms.celery", "queue_name": "{service}.{variant}"}
    config = {"lms": CONFIG if variants is None else variants}
    return {"services": {"lms": service}, "config": config, "broker": {"host": "redis"}, "drain_timeout": 0, **more}


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> ToldSite:
    made = told_site(monkeypatch)
    done(run(made.cluster, **fleet()))
    made.cluster.scale(HIGH, 3)
    made.follow()
    made.story.clear()
    return made


def roll(site: ToldSite, rollout: str = "serial", image: str = "registry.example/lms:2", **more: Any) -> Object:
    """A run with another image, which replaces every pod."""
    site.story.clear()
    return run(site.cluster, clock=lambda: NOW, **fleet(image, rollout=rollout, **more))


def order(site: ToldSite) -> list[str]:
    """Deployments in the order in which they were sent."""
    return [line.split()[-1] for line in site.story if line.startswith("present Deployment")]


def image_of(site: ToldSite, name: str) -> str:
    found: str = site.cluster.objects["Deployment", name]["spec"]["template"]["spec"]["containers"][0]["image"]
    return found


def test_by_default_all_are_sent_at_once(site: ToldSite) -> None:
    found = done(run(site.cluster, **fleet("registry.example/lms:2")))
    assert set(order(site)) == {DEFAULT, HIGH, LOW}
    assert not [line for line in site.story if line.startswith(("pause", "resume"))]
    assert not [text for text in found["notes"] if "Replaces pods" in text]


def test_one_after_the_other_those_with_the_longest_tasks_last(site: ToldSite) -> None:
    found = done(roll(site))
    assert order(site) == [LOW, HIGH, DEFAULT]
    assert "Replaces pods of lms/low, lms/high, lms/default, one after the other." in found["notes"]
    sends = [arguments["definition"] for arguments, _hides in site.cluster.sent[-3:]]
    assert [len([item for item in objects if item["kind"] == "Deployment"]) for objects in sends] == [1, 1, 1]
    assert roll(site)["changed"] is False


def test_one_that_does_not_come_up_stops_the_rest_which_is_named_and_a_second_run_continues(site: ToldSite) -> None:
    site.fails = {HIGH}
    said = refused(roll(site, wait_timeout=0))
    assert said.startswith(
        "lms/high does not come up with its new pods, so the run ends here. Not replaced yet: lms/default, whose pods "
        "run as before. A second run continues."
    )
    assert image_of(site, DEFAULT) == IMAGE
    again = refused(roll(site, wait_timeout=0))
    assert "These workers do not come up, so the run ends here. Not replaced yet: lms/default" in again
    assert image_of(site, DEFAULT) == IMAGE
    site.fails.clear()
    site.cluster.objects["Deployment", HIGH]["status"]["updatedReplicas"] = 3
    done(roll(site, wait_timeout=0))
    assert order(site) == [DEFAULT]


def test_a_variant_without_pods_needs_no_wave_and_nor_does_one_whose_pods_stay(site: ToldSite) -> None:
    site.cluster.scale(HIGH, 0)
    site.follow()
    labels = {**CONFIG, "default": {**CONFIG["default"], "max_replicas": 20}}
    found = done(roll(site, "after_drain", image=IMAGE, variants=labels))
    assert not [text for text in found["notes"] if "Replaces pods" in text]
    found = done(roll(site, variants=labels))
    assert "Replaces pods of lms/low, lms/default, one after the other." in found["notes"]


def test_who_leaves_a_queue_comes_after_the_one_that_takes_it_over(site: ToldSite) -> None:
    moved = {
        "default": {**CONFIG["default"], "queues": ["lms.default", "lms.extra"]},
        "high": {**CONFIG["high"], "queues": ["lms.high"]},
        "low": {"replicas": 2},
    }
    extra = {**CONFIG, "high": {**CONFIG["high"], "queues": ["lms.high", "lms.extra"]}}
    done(run(site.cluster, **fleet(variants=extra)))
    taken: list[bool] = []
    site.watch = lambda: taken.append("lms.extra" in site.consumed)
    done(roll(site, image=IMAGE, variants=moved))
    assert order(site) == [DEFAULT, HIGH]
    assert all(taken)


def test_workers_finish_before_their_pods_are_replaced_and_their_scaler_is_paused_meanwhile(site: ToldSite) -> None:
    for worker in site.workers.values():
        worker.running, worker.finishes = ["lms.grade"], True
    paused: list[bool] = []

    def look() -> None:
        if site.story[-1] == f"pause {HIGH}":
            paused.append(PAUSED in site.annotations("ScaledObject", f"{HIGH}-scaledobject"))

    site.watch = look
    done(roll(site, "after_drain"))
    assert site.cut == []
    assert order(site) == [LOW, HIGH, DEFAULT]
    assert paused == [True]
    for name in (LOW, HIGH, DEFAULT):
        at = site.story.index(f"pause {name}")
        assert site.story[at + 1] == f"present Deployment {name}"
        assert DRAINED_ANNOTATION not in site.annotations("Deployment", name)
        assert all(worker.takes for worker in site.of(name))
    notes = site.annotations("ScaledObject", f"{HIGH}-scaledobject")
    assert not {PAUSED, PAUSE_ANNOTATION} & notes.keys()
    assert roll(site, "after_drain")["changed"] is False


def test_who_does_not_finish_in_time_is_not_replaced_and_named_and_a_second_run_continues(site: ToldSite) -> None:
    busy, others = site.of(HIGH)[0], [worker for worker in site.workers.values() if worker.deployment != HIGH]
    busy.running = ["lms.grade"]
    before = dict(site.annotations("ScaledObject", f"{HIGH}-scaledobject"))
    said = refused(roll(site, "after_drain"))
    assert "so their pods are not replaced, and they take work as before" in said
    assert "lms/high: 1 task runs on 1 of 3 pods, lms.grade for 4 min" in said
    assert "Not sent (1): Deployment lms-worker-high." in said
    assert order(site) == [LOW, DEFAULT]
    assert others
    assert site.cut == []
    assert all(worker.takes for worker in site.workers.values())
    assert site.annotations("ScaledObject", f"{HIGH}-scaledobject") == before
    assert DRAINED_ANNOTATION not in site.annotations("Deployment", HIGH)
    busy.running = []
    done(roll(site, "after_drain"))
    assert order(site) == [HIGH]


def test_nothing_is_pruned_before_every_variant_is_replaced(site: ToldSite) -> None:
    site.of(HIGH)[0].running = ["lms.grade"]
    without_low = {name: keys for name, keys in CONFIG.items() if name != "low"}
    said = refused(roll(site, "after_drain", variants=without_low, prune=True, key_change="accept"))
    assert "Deployment lms-worker-low" in said
    assert ("Deployment", LOW) in site.cluster.objects


def test_check_mode_tells_what_runs_and_replaces_nothing(site: ToldSite) -> None:
    site.of(HIGH)[0].running = ["lms.grade"]
    site.watch = lambda: None
    found = done(run(site.cluster, checks=True, **fleet("registry.example/lms:2", rollout="after_drain")))
    assert "Replaces pods of lms/low, lms/high, lms/default, each once its workers run nothing." in found["notes"]
    assert not [line for line in site.story if line.startswith(("pause", "resume"))]


def test_a_drain_that_a_person_asked_for_stays_when_pods_are_replaced(site: ToldSite) -> None:
    only = {"only": ["lms/high"]}
    done(operate(site.cluster, "drain", clock=lambda: NOW, **{**fleet(), **only}))
    done(roll(site, "after_drain"))
    assert DRAINED_ANNOTATION in site.annotations("Deployment", HIGH)
    assert PAUSED in site.annotations("ScaledObject", f"{HIGH}-scaledobject")
    assert not any(worker.takes for worker in site.of(HIGH))


def killed_while_it_waited(site: ToldSite) -> None:
    """A deploy that is killed right after it has told the workers of a variant to take nothing."""

    class Killed(BaseException):
        """As the end of a process: nothing is cleared up."""

    def killed() -> None:
        if site.story and site.story[-1] == f"pause {HIGH}":
            raise Killed

    site.watch = killed
    with pytest.raises(Killed):
        roll(site, "after_drain")
    site.watch = lambda: None


@pytest.mark.parametrize("rollout", ["parallel", "serial", "after_drain"])
@pytest.mark.parametrize(
    ("image", "high"), [(IMAGE, {}), ("registry.example/lms:2", {}), (IMAGE, {"strategy": {"type": "Recreate"}})]
)
def test_a_run_that_was_cut_while_it_waited_leaves_nothing_drained_after_the_next(
    site: ToldSite, rollout: str, image: str, high: Object
) -> None:
    killed_while_it_waited(site)
    assert DRAINED_ANNOTATION in site.annotations("Deployment", HIGH)
    done(roll(site, rollout, image=image, variants={**CONFIG, "high": {**CONFIG["high"], **high}}))
    assert all(worker.takes for worker in site.workers.values())
    assert DRAINED_ANNOTATION not in site.annotations("Deployment", HIGH)
    assert not {PAUSED, PAUSE_ANNOTATION} & site.annotations("ScaledObject", f"{HIGH}-scaledobject").keys()


def test_a_scaler_works_again_once_and_for_all_while_it_is_not_known_whether_its_workers_do(
    site: ToldSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed_while_it_waited(site)
    monkeypatch.setattr(_draining, "_TOLD_WITHIN", 0)
    for worker in site.of(HIGH):
        worker.answers = False
    done(run(site.cluster, clock=lambda: NOW, **fleet()))
    scaler = site.annotations("ScaledObject", f"{HIGH}-scaledobject")
    assert not {PAUSED, PAUSE_ANNOTATION} & scaler.keys()
    # What a person does to it from now on is no business of the drain.
    scaler[PAUSED] = "true"
    for worker in site.of(HIGH):
        worker.answers = True
    done(run(site.cluster, clock=lambda: NOW, **fleet()))
    assert DRAINED_ANNOTATION not in site.annotations("Deployment", HIGH)
    assert PAUSED in site.annotations("ScaledObject", f"{HIGH}-scaledobject")


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        ({"settings": {"worker_enable_remote_control": False}}, "its workers have no remote control"),
        ({"enable_keda": False, "scaler": "hpa", "min_replicas": 1, "max_replicas": 3}, "HorizontalPodAutoscaler"),
    ],
)
def test_workers_that_cannot_be_told_are_not_waited_for_in_vain(site: ToldSite, keys: Object, why: str) -> None:
    variants = {**CONFIG, "high": {**CONFIG["high"], "probe": "none", **keys}}
    done(run(site.cluster, **fleet(variants=variants)))
    said = refused(roll(site, "after_drain", variants=variants))
    assert why in said
    assert "lms/high" in said
    assert "celery_workers_rollout: serial" in said
    assert site.story == []


def test_serial_and_not_waiting_contradict_each_other(site: ToldSite) -> None:
    said = refused(roll(site, wait=False))
    assert "celery_workers_rollout: serial sends each Deployment once the one before is up" in said
    assert site.story == []


@pytest.mark.parametrize("name", ["rollout", "drain_timeout"])
def test_what_only_a_deploy_reads_stops_a_playbook_that_does_not(site: ToldSite, name: str) -> None:
    variables = {**fleet(), "rollout": "serial", "drain_timeout": 5}
    said = refused(operate(site.cluster, "resume", given=[name], **variables))
    assert f"celery_workers_{name}: this run does not read it; only queueops.celery." in said
    assert site.story == []


def test_files_have_no_order_and_that_is_said(site: ToldSite, tmp_path: Path) -> None:
    found = done(roll(site, output="manifests", manifests_dir=str(tmp_path)))
    assert any("celery_workers_rollout: serial has no effect on files" in text for text in found["warnings"])
    assert not done(roll(site, "parallel", output="manifests", manifests_dir=str(tmp_path))).get("warnings")


# Properties

_KEYS: list[Object] = [
    {},
    {"replicas": 2},
    {"enable_keda": True, "min_replicas": 1},
    {"enable_keda": True, "min_replicas": 1, "longest_task_seconds": 900},
    {"scaler": "hpa", "min_replicas": 1, "max_replicas": 3},
    {"concurrency": 3},
    {"enabled": False},
]
_CONFIGS = st.dictionaries(st.sampled_from(["default", "high", "low"]), st.sampled_from(_KEYS), min_size=1)


@settings(max_examples=15, deadline=None)
@given(
    before=_CONFIGS,
    after=_CONFIGS,
    image=st.sampled_from([IMAGE, "registry.example/lms:2"]),
    rollout=st.sampled_from(["parallel", "serial", "after_drain"]),
    busy=st.sets(st.integers(0, 8)),
    finishes=st.booleans(),
    extra=st.sampled_from([None, ("default", "high"), ("high", "low")]),
)
def test_whatever_changes_queues_keep_their_consumers_and_a_drained_variant_is_replaced_or_takes_work_again(
    before: Object,
    after: Object,
    image: str,
    rollout: str,
    busy: set[int],
    finishes: bool,
    extra: tuple[str, str] | None,
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        site = told_site(patch)
        first, second = extra if extra and set(extra) <= before.keys() & after.keys() else ("", "")
        old = {name: _with_extra(name, keys, name == first) for name, keys in before.items()}
        new = {name: _with_extra(name, keys, name == second) for name, keys in after.items()}
        if run(site.cluster, **fleet(variants=old)).get("failed"):
            return
        site.follow()
        site.story.clear()
        for number, worker in enumerate(site.workers.values()):
            worker.running, worker.finishes = ["lms.grade"] if number in busy else [], finishes
        wanted = {queue for name, keys in new.items() if keys.get("enabled", True) for queue in keys["queues"]}
        kept, lost = site.consumed & wanted, set()
        # In one message to the server nobody waits between one Deployment and the next.
        site.watch = lambda: lost.update(kept - site.consumed)
        found = roll(site, rollout, image=image, variants=new, key_change="accept")
        assert rollout != "serial" or not lost, (lost, site.story)
        assert rollout != "parallel" or not lost & {f"lms.{name}" for name in after}
        # Whatever came of it, nothing is left drained, and nothing was cut that had time to finish.
        assert all(worker.takes for worker in site.workers.values())
        for (kind, name), item in site.cluster.objects.items():
            notes = item["metadata"].get("annotations") or {}
            assert not {DRAINED_ANNOTATION, PAUSED, PAUSE_ANNOTATION} & notes.keys(), (kind, name)
        if rollout == "after_drain":
            assert site.cut == []
            for at, line in enumerate(site.story):
                if line.startswith("pause "):
                    name = line.split()[1]
                    assert site.story[at + 1] in (f"present Deployment {name}", f"resume {name}", line)
        for worker in site.workers.values():
            worker.running = []
        if "has no pause for that" in str(found.get("msg")):
            # What Kubernetes' own autoscaler scales is not drained, and nothing was done.
            assert not site.story
            return
        if found.get("failed"):
            done(roll(site, rollout, image=image, variants=new, key_change="accept"))
        site.watch = lambda: None
        assert done(roll(site, rollout, image=image, variants=new, key_change="accept"))["changed"] is False


def _with_extra(name: str, keys: Object, is_extra: bool) -> Object:
    return {**keys, "queues": [f"lms.{name}", *(["lms.extra"] if is_extra else [])]}


@pytest.mark.parametrize("rollout", ["parallel", "after_drain"])
@pytest.mark.parametrize("wish", [{}, {"pause_direction": "scale_in"}, {"pause_replicas": 2}])
def test_a_pause_takes_over_what_a_killed_deploy_has_drained_and_outlives_the_next_one(
    site: ToldSite, wish: Object, rollout: str
) -> None:
    killed_while_it_waited(site)
    paused = done(operate(site.cluster, "pause", clock=lambda: NOW, **{**fleet(), "only": ["lms/high"], **wish}))
    (warning,) = [text for text in paused["warnings"] if "told its workers to take nothing new" in text]
    assert "ansible-playbook queueops.celery.resume -e celery_workers_only=lms/high" in warning
    asked = pauses(site)
    assert json.loads(asked[PAUSE_ANNOTATION])["by"] == "anna"
    done(roll(site, rollout, image="registry.example/lms:3"))
    assert pauses(site) == asked
    assert all(worker.takes for worker in site.workers.values())
    assert DRAINED_ANNOTATION not in site.annotations("Deployment", HIGH)
    done(operate(site.cluster, "resume", clock=lambda: NOW, **{**fleet(), "only": ["lms/high"]}))
    assert pauses(site) == {}


def pauses(site: ToldSite) -> dict[str, str]:
    """What is noted of pauses on the scaler of a variant."""
    found = site.annotations("ScaledObject", f"{HIGH}-scaledobject")
    return {name: value for name, value in found.items() if name.startswith(PAUSED) or name == PAUSE_ANNOTATION}


def test_the_command_that_a_pause_names_ends_what_a_killed_deploy_has_drained(site: ToldSite) -> None:
    killed_while_it_waited(site)
    only = {**fleet(), "only": ["lms/high"]}
    done(operate(site.cluster, "pause", clock=lambda: NOW, **only))
    done(operate(site.cluster, "resume", clock=lambda: NOW, **only))
    assert all(worker.takes for worker in site.workers.values())
    assert pauses(site) == {}


def test_a_pause_of_what_a_person_has_drained_names_the_command_that_ends_it(site: ToldSite) -> None:
    only = {**fleet(), "only": ["lms/high"]}
    done(operate(site.cluster, "drain", clock=lambda: NOW, **only))
    text = refused(operate(site.cluster, "pause", clock=lambda: NOW, **only))
    assert "its scaling is paused already" in text
    assert "ansible-playbook queueops.celery.resume -e celery_workers_only=lms/high" in text
