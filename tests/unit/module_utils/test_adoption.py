# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Deployments of somebody else: narrowed and scaled, everything else left as it is, and given back as it was."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._celery.adoption import (
    adoptions,
    can_be_taken_over,
    command_line,
    cut_by_adoption,
    narrowed,
    recorded,
    releases,
    unseen_adoptions,
)
from ansible_collections.queueops.celery.plugins.module_utils._celery.command import written_options
from ansible_collections.queueops.celery.plugins.module_utils._model.fleet import Fleet
from ansible_collections.queueops.celery.plugins.module_utils._model.names import ADOPTED_LABEL, ADOPTION_ANNOTATION
from ansible_collections.queueops.celery.plugins.module_utils._model.observed import NOTHING, Observed, ObservedObject
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.thorough import examples
from tests.unit.inventories import SCALED, Manifest, fleet_of, one_variant
from tests.unit.others import TUTOR_ARGS, adopted, deployment, live, merged, seen, words_of

QUEUES = ("default",)
KEPT = ["--loglevel=info", "--concurrency=2"]


@pytest.mark.parametrize(
    "queues",
    [
        ["--queues=a"],
        ["--queues", "a,b"],
        ["-Q", "a"],
        ["-Qa,b"],
        ["--queues=a", "-Q", "b"],
        ["-Q", "a", "-Qb", "--queues", "c"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("settings_", [[], ["--", "worker_pool=solo", "--queues=x"]], ids=["", "settings"])
@pytest.mark.parametrize("start", [["celery", "-A", "app", "worker"], ["celery", "--app=app", "worker"]], ids=" ".join)
def test_the_queues_of_every_spelling_give_way_where_the_first_stood(
    queues: list[str], settings_: list[str], start: list[str]
) -> None:
    words = [*start, KEPT[0], *queues, KEPT[1], *settings_]
    assert narrowed(words, ["x", "y"]) == (*start, KEPT[0], "--queues=x,y", KEPT[1], *settings_)


def test_mentions_further_on_go_without_a_trace() -> None:
    words = ["celery", "worker", "-Q", "a", "-c", "2", "-Qb", "-E"]
    assert narrowed(words, QUEUES) == ("celery", "worker", "--queues=default", "-c", "2", "-E")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["celery", "worker", "-c4"], ["celery", "worker", "-c4", "--queues=default"]),
        (["celery", "worker"], ["celery", "worker", "--queues=default"]),
        (
            ["celery", "worker", "-E", "--", "a.b=1"],
            ["celery", "worker", "-E", "--queues=default", "--", "a.b=1"],
        ),
    ],
)
def test_where_no_queue_is_named_ours_stand_behind_the_last_option(words: list[str], expected: list[str]) -> None:
    assert narrowed(words, QUEUES) == tuple(expected)


@pytest.mark.parametrize("option", ["--loglevel=-Q", "-n -Q", "--hostname --queues=a", "-X a", "--exclude-queues=a"])
def test_a_value_that_looks_like_queues_is_kept(option: str) -> None:
    words = ["celery", "worker", *option.split()]
    assert narrowed(words, QUEUES) == (*words, "--queues=default")


def test_flags_written_as_one_word_are_kept_as_one() -> None:
    assert narrowed(["celery", "worker", "-EB", "-Qa"], QUEUES) == ("celery", "worker", "-EB", "--queues=default")


@pytest.mark.parametrize("words", [["--strange", "--queues=a"], ["--strange", "odd", "-Qa"], ["-T", "-Qa"]])
def test_an_argument_that_nobody_knows_is_kept_also_before_the_queues(words: list[str]) -> None:
    unknown = [word for word in words[:2] if word in ("--strange", "odd", "-T")]
    assert narrowed(["celery", "worker", *words], QUEUES) == ("celery", "worker", *unknown, "--queues=default")


@pytest.mark.parametrize("words", [["-Qa", "-EQb"], ["-Qa", "-E", "-BQ", "b"]])
def test_queues_behind_a_flag_in_one_word_give_way_too(words: list[str]) -> None:
    assert written_options(narrowed(["celery", "worker", *words], QUEUES))["queues"] == "default"


_NAMES = st.text("abc.-_", min_size=1, max_size=5).filter(lambda text: not text.startswith("-"))
_VALUES = st.one_of(_NAMES, st.sampled_from(["4", "prefork", "%h", "10,3"]))
_QUEUE_WORDS = _NAMES.flatmap(
    lambda name: st.sampled_from([[f"--queues={name}"], ["--queues", name], ["-Q", name], [f"-Q{name}"]])
)
_OTHER_WORDS = st.one_of(
    st.sampled_from(["-E", "--without-gossip", "-B", "--without-mingle", "-EB", "--purge"]).map(lambda word: [word]),
    st.tuples(st.sampled_from(["--concurrency", "--pool", "--hostname", "--loglevel", "-X", "-c", "-n"]), _VALUES).map(
        list
    ),
    st.tuples(st.sampled_from(["--concurrency=", "--exclude-queues=", "-c", "-P", "-X"]), _VALUES)
    .map("".join)
    .map(lambda word: [word]),
)
_PARTS = st.lists(st.one_of(_QUEUE_WORDS, _OTHER_WORDS), max_size=8)


@settings(max_examples=examples(300))
@given(
    parts=_PARTS,
    start=st.sampled_from([("celery", "worker"), ("celery", "-A", "worker_app", "worker"), ("exec", "worker")]),
    tail=st.sampled_from([(), ("--",), ("--", "task.acks_late=true", "-Q", "x")]),
    queues=st.lists(_NAMES, min_size=1, max_size=3, unique=True),
)
def test_celery_reads_our_queues_and_every_other_option_as_before(
    parts: list[list[str]], start: tuple[str, ...], tail: tuple[str, ...], queues: list[str]
) -> None:
    words = (*start, *(word for part in parts for word in part), *tail)
    found = narrowed(words, queues)
    before, after = written_options(words), written_options(found)
    assert after.pop("queues") == ",".join(queues)
    before.pop("queues", None)
    assert after == before
    others = [word for part in parts if part not in _queue_parts(parts) for word in part]
    kept = [word for word in found[len(start) : len(found) - len(tail)] if word != f"--queues={','.join(queues)}"]
    assert kept == others
    assert (found[: len(start)], found[len(found) - len(tail) :]) == (start, tail)
    assert narrowed(found, queues) == found


def _queue_parts(parts: Sequence[list[str]]) -> list[list[str]]:
    return [part for part in parts if part[0].startswith(("--queues", "-Q"))]


# Deployments.

VARIABLES = one_variant({**SCALED, "name": "lms-worker", "adopt": True, "termination_grace_period": 900})


def fleet_seeing(raw: Manifest, **keys: Any) -> Fleet:
    """A fleet whose one variant adopts a Deployment that runs."""
    variables = copy.deepcopy(VARIABLES)
    variables["config"]["billing"]["default"].update({"queues": ["edx.lms.core.default"], **keys})
    return fleet_of(**variables, observed=seen(raw))


def run_with(raw: Manifest, **keys: Any) -> Manifest:
    """A Deployment after a run."""
    (found,) = adopted(fleet_seeing(raw, **keys), raw)
    return found


RELEASED = fleet_of(**one_variant({}))


def given_back(raw: Manifest) -> Manifest:
    """A Deployment after a run of a fleet that does not adopt it any more."""
    (found,) = adopted(RELEASED, raw)
    return found


def queues_of(raw: Manifest) -> str | None:
    return written_options(words_of(raw))["queues"]


def test_of_a_deployment_the_queues_the_grace_period_and_two_marks_change_and_nothing_else() -> None:
    raw = deployment(grace=300, replicas=3, env=[{"name": "A", "value": "b"}])
    found = run_with(raw, termination_grace_period=600)
    expected = copy.deepcopy(raw)
    pod = expected["spec"]["template"]["spec"]
    pod["terminationGracePeriodSeconds"] = 600
    pod["containers"][0]["args"][5] = "--queues=edx.lms.core.default"
    expected["metadata"]["labels"][ADOPTED_LABEL] = "shop"
    expected["metadata"]["annotations"] = found["metadata"]["annotations"]
    assert found == expected
    assert list(found["metadata"]["annotations"]) == [ADOPTION_ANNOTATION]


@pytest.mark.parametrize("words_in", ["args", "command"])
def test_the_record_says_what_was_there_and_what_was_written(words_in: str) -> None:
    found = run_with(deployment(grace=300, words_in=words_in), termination_grace_period=600)
    note = recorded(live(found))
    assert note is not None
    assert (note.service, note.variant, note.container, note.words_in) == ("billing", "default", "lms-worker", words_in)
    assert note.words == TUTOR_ARGS
    assert note.written == tuple(words_of(found))
    assert (note.grace, note.written_grace) == (300, 600)
    assert note.title == "variant default of service billing"


def test_a_deployment_never_carries_the_label_by_which_objects_are_found_to_be_deleted() -> None:
    found = live(run_with(deployment()))
    assert not found.is_ours("shop")
    assert found.is_adopted("shop")


def test_a_second_run_changes_nothing() -> None:
    first = run_with(deployment(grace=30))
    assert adoptions(fleet_seeing(first), seen(first)) == []
    assert run_with(first) == first


@pytest.mark.parametrize(
    "note", [None, "", "no json", "[]", "5", '{"grace": null}', '{"grace": "x"}', '{"words": 5}', '{"written": null}']
)
def test_what_is_no_record_is_none(note: str | None) -> None:
    annotations = {} if note is None else {ADOPTION_ANNOTATION: note}
    assert recorded(ObservedObject("Deployment", "x", annotations=annotations)) is None


def test_an_owner_who_put_his_words_back_is_narrowed_again() -> None:
    first = run_with(deployment())
    back = merged(first, deployment())
    assert queues_of(back) != queues_of(first)
    assert run_with(back) == first


def test_words_that_the_owner_changed_since_are_his_and_are_what_he_gets_back() -> None:
    changed = [*TUTOR_ARGS[:-1], "--max-tasks-per-child=7", "-E"]
    found = run_with(merged(run_with(deployment()), deployment(words=changed)))
    assert words_of(found)[-2:] == ["--max-tasks-per-child=7", "-E"]
    assert queues_of(found) == "edx.lms.core.default"
    assert words_of(given_back(found)) == changed


def test_other_queues_in_the_inventory_are_written_over_ours_and_the_owners_words_stay_on_record() -> None:
    found = run_with(run_with(deployment()), queues=["edx.lms.core.high"])
    assert queues_of(found) == "edx.lms.core.high"
    assert command_line(live(found)).words == TUTOR_ARGS
    assert words_of(given_back(found)) == list(TUTOR_ARGS)


def test_a_grace_period_that_the_owner_changed_since_is_what_he_gets_back() -> None:
    first = run_with(deployment(grace=30), termination_grace_period=600)
    changed = merged(first, {"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 120}}}})
    found = run_with(changed, termination_grace_period=600)
    assert found["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == 600
    assert given_back(found)["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == 120


def test_a_longer_grace_period_of_the_owner_is_not_shortened_unless_somebody_writes_so() -> None:
    variables = copy.deepcopy(VARIABLES)
    del variables["config"]["billing"]["default"]["termination_grace_period"]
    raw = deployment(grace=7200)
    (found,) = adopted(fleet_of(**variables, observed=seen(raw)), raw)
    assert found["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == 7200
    written = run_with(raw, termination_grace_period=900)
    assert written["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == 900


UNSCALED = {"enable_keda": False}


@pytest.mark.parametrize(
    ("now", "keys", "then"),
    [
        (0, UNSCALED, 1),
        (4, UNSCALED, 4),
        (1, {**UNSCALED, "replicas": 3}, 3),
        (0, {**UNSCALED, "scaler": "hpa", "min_replicas": 2}, 2),
        (5, {**UNSCALED, "scaler": "hpa", "min_replicas": 2}, 5),
        (0, {}, 0),
    ],
    ids=["asleep without a scaler", "awake", "a fixed number", "hpa asleep", "hpa awake", "KEDA decides"],
)
def test_nobody_is_left_asleep_and_a_fixed_number_holds(now: int, keys: dict[str, Any], then: int) -> None:
    found = run_with(deployment(replicas=now), **keys)
    assert found["spec"]["replicas"] == then
    assert run_with(found, **keys) == found


def test_a_deployment_without_a_worker_is_not_narrowed() -> None:
    raw = deployment(words=["uwsgi", "--http=:8000"])
    assert adoptions(fleet_seeing(raw), seen(raw)) == []
    assert command_line(live(raw)).queues == ()


def test_queues_on_a_command_line_are_read_once_each_and_in_their_order() -> None:
    raw = deployment(words=["celery", "worker", "-Q", "b, a,b,"])
    assert command_line(live(raw)).queues == ("b", "a")


def test_a_command_line_with_a_password_is_not_kept() -> None:
    raw = deployment(words=["celery", "--broker=redis://user:hunter2@redis", "worker"])
    assert live(raw).words == {}
    assert "hunter2" not in str(live(raw))


def test_giving_back_leaves_the_deployment_as_it_was() -> None:
    for words_in in ("args", "command"):
        raw = deployment(grace=30, words_in=words_in)
        assert given_back(run_with(raw)) == raw


def test_giving_back_leaves_what_the_owner_has_changed_since() -> None:
    found = run_with(deployment(grace=30))
    own = deployment(grace=77, words=["celery", "worker", "-Qmine"])
    changed = merged(found, own)
    assert given_back(changed) == own


@pytest.mark.parametrize(("now", "then"), [(0, 1), (1, 1), (5, 5), (None, None)])
def test_a_deployment_that_sleeps_is_woken_when_it_is_given_back(now: int | None, then: int | None) -> None:
    found = run_with(deployment())
    found["spec"]["replicas"] = now
    assert given_back(found)["spec"]["replicas"] == then


def test_a_deployment_whose_record_is_lost_loses_only_its_marks() -> None:
    raw = deployment(labels={ADOPTED_LABEL: "shop"}, annotations={ADOPTION_ANNOTATION: "lost"})
    (patch,) = releases(RELEASED, seen(raw))
    assert patch["spec"] == {}
    found = given_back(raw)
    assert ADOPTED_LABEL not in found["metadata"]["labels"]
    assert words_of(found) == list(TUTOR_ARGS)


def test_what_another_fleet_has_adopted_is_not_given_back() -> None:
    raw = deployment(labels={ADOPTED_LABEL: "other"})
    assert releases(RELEASED, seen(raw)) == []


def test_what_is_still_adopted_is_not_given_back() -> None:
    raw = run_with(deployment())
    assert releases(fleet_seeing(raw), seen(raw)) == []


def test_an_adoption_that_nobody_has_looked_at_is_told() -> None:
    fleet = fleet_of(**VARIABLES)
    (warning,) = unseen_adoptions(fleet, NOTHING)
    assert warning.startswith("variant default of service billing adopts Deployment lms-worker, which could")
    assert "celery_workers_tutor_root" in warning
    assert unseen_adoptions(fleet, seen(deployment())) == []
    assert unseen_adoptions(RELEASED, NOTHING) == []


# Pods that are replaced too early.


def test_pods_with_too_short_a_grace_period_are_cut() -> None:
    raw = deployment(grace=30)
    (cut,) = cut_by_adoption(fleet_seeing(raw), seen(raw))
    assert (cut.title, cut.deployment, cut.grace) == ("variant default of service billing", "lms-worker", 30)


@pytest.mark.parametrize(
    "raw",
    [
        deployment(grace=900),
        deployment(grace=30, replicas=0),
        deployment(grace=30, words=["uwsgi"]),
        run_with(deployment(grace=30)),
    ],
    ids=["long enough", "asleep", "no worker", "adopted already"],
)
def test_nothing_is_cut_where_no_pod_is_replaced_too_early(raw: Manifest) -> None:
    assert cut_by_adoption(fleet_seeing(raw), seen(raw)) == []


@pytest.mark.parametrize(
    ("running", "reason", "said"),
    [
        (("a", "b"), "", "run 2 tasks (a, b)"),
        (("a", "a", "b", "c", "d"), "", "run 5 tasks (a, b, c and others)"),
        (None, "no pod is ready", "may run tasks (unknown: no pod is ready)"),
    ],
)
def test_a_cut_says_what_runs_and_which_ways_on_there_are(
    running: tuple[str, ...] | None, reason: str, said: str
) -> None:
    raw = deployment(grace=30)
    (cut,) = cut_by_adoption(fleet_seeing(raw), seen(raw))
    text = cut.refusal(running, reason)
    assert text.startswith(
        "variant default of service billing: adopting Deployment lms-worker replaces its pods, which "
        f"{said} and are killed 30 s after"
    )
    for way in (
        "Run again when they are idle",
        "celery_workers_key_change: drain",
        "celery_workers_key_change: accept",
    ):
        assert way in text


# What may become ours.


@pytest.mark.parametrize(
    "kind",
    [
        "Deployment",
        "ScaledObject",
        "PodDisruptionBudget",
        "HorizontalPodAutoscaler",
        "Service",
        "ServiceMonitor",
    ],
)
def test_only_what_nobody_else_answers_for_is_taken_over(kind: str) -> None:
    takes = fleet_of(**one_variant({}), take_over=True)
    free = ObservedObject(kind, "x", owner="tutor")
    assert can_be_taken_over(takes, free)
    assert not can_be_taken_over(RELEASED, free)
    for fleet in ("other", "shop"):
        assert not can_be_taken_over(takes, ObservedObject(kind, "x", labels={"celery.queueops.io/fleet": fleet}))
    assert not can_be_taken_over(takes, ObservedObject(kind, "x", owner="ScaledObject y"))


@pytest.mark.parametrize("kind", ["Secret", "ConfigMap", "TriggerAuthentication", "PersistentVolumeClaim", "Ingress"])
def test_configuration_and_secrets_are_never_taken_over(kind: str) -> None:
    assert not can_be_taken_over(fleet_of(**one_variant({}), take_over=True), ObservedObject(kind, "x"))


def test_a_record_is_one_line_of_json() -> None:
    note = run_with(deployment())["metadata"]["annotations"][ADOPTION_ANNOTATION]
    assert "\n" not in note
    assert json.loads(note)["words"] == list(TUTOR_ARGS)


def test_a_released_deployment_is_found_by_its_label_even_where_no_variant_has_its_name() -> None:
    found = run_with(deployment(name="lms-worker"))
    assert [item["metadata"]["name"] for item in releases(RELEASED, Observed((live(found),)))] == ["lms-worker"]
