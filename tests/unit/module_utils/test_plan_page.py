# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page of a simulation: what it says, that nothing of an inventory becomes markup, and what is thinned out."""

from __future__ import annotations

import html
import json
import random
import re
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

import pytest
import yaml
from ansible_collections.queueops.celery.plugins.module_utils._model.loads import Daily, Load, TaskTimes
from ansible_collections.queueops.celery.plugins.module_utils._model.schedules import ScheduleWindow
from ansible_collections.queueops.celery.plugins.module_utils._report.courses import (
    MOST_COLUMNS,
    SHOWN,
    course_of,
)
from ansible_collections.queueops.celery.plugins.module_utils._report.page import Report, page_text
from ansible_collections.queueops.celery.plugins.module_utils._report.weeks import open_times
from ansible_collections.queueops.celery.plugins.module_utils._report.words import clock, load_words, pods_words
from ansible_collections.queueops.celery.plugins.module_utils._simulation.control import Written
from ansible_collections.queueops.celery.plugins.module_utils._simulation.results import MONDAY, Result, Series, Waits
from ansible_collections.queueops.celery.plugins.module_utils._simulation.suggest import Point, Step, Suggestion

from tests.unit.inventories import IMAGE, REDIS, fleet_of

SATURDAY = datetime(2026, 1, 3, 8, 30, tzinfo=UTC)
HOSTILE = '<script>alert("1")</script>&<img/src=x/onerror=alert(2)>'
VOID = {"meta", "input", "br"}


class Elements(HTMLParser):
    """The elements of a page, and whether each is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.found)


def series_of(moments: int, seed: int = 1) -> Series:
    """A course that is different at every moment."""
    chance = random.Random(seed)
    numbers: dict[str, Any] = {
        name: [chance.randrange(500) for _ in range(moments)] for name in SHOWN if name != "wait"
    }
    return Series(
        60.0,
        times=[60.0 * number for number in range(moments)],
        running=[0] * moments,
        wait=[chance.random() * 900 for _ in range(moments)],
        keda=["active"] * moments,
        hpa=[chance.choice(("enough pods", "as the metrics ask")) for _ in range(moments)],
        asked=[chance.randrange(9) for _ in range(moments)],
        **numbers,
    )


def result_of(moments: int = 100, changes: int = 5, service: str = "billing", variant: str = "default") -> Result:
    series = series_of(moments)
    chance = random.Random(2)
    made = tuple(
        Written(moments * 60.0 * number / changes, "HPA", 1, chance.randrange(1000), "as the metrics ask")
        for number in range(changes)
    )
    return Result(
        service, variant, 600.0, moments * 60.0, 1000, 1000, 0, 0, Waits(1, 700, 900, 2), 10, 9, 5.0, 7200.0, 3600.0,
        5, 8, 48, made, 2, 0, 0, 0, 0, 0, series, "backlog / 2",
    )  # fmt: skip


def report_of(*results: Result, **keys: Any) -> Report:
    variants = {result.variant: {"enable_keda": True, "longest_task_seconds": 60, **keys} for result in results}
    fleet = fleet_of(broker=REDIS, services={"billing": {"image": IMAGE}}, config={"billing": variants})
    loads = {("billing", result.variant): (Load(per_hour=60.0),) for result in results}
    return Report(fleet, results, loads, 24.0, 1)


def courses_in(text: str) -> Any:
    return json.loads(text.partition('<script type="application/json" id="courses">')[2].partition("</script>")[0])


def test_nothing_of_an_inventory_becomes_markup() -> None:
    report = replace(report_of(result_of(), queues=[HOSTILE]), warnings=[HOSTILE], unloaded=[HOSTILE])
    hostile = replace(report.results[0], formula=HOSTILE)
    changed = replace(hostile, changes=(Written(1.0, HOSTILE, 1, 2, HOSTILE),))
    page = Elements(
        page_text(replace(report, results=(changed,), loads={("billing", "default"): (Load(csv=HOSTILE),)}))
    )
    assert (page.count("script"), page.count("img")) == (2, 0)
    # The formula, the queue, the warning, and what was left out.
    assert sum(HOSTILE in text for text in page.texts) == 4
    assert not any(name.startswith("on") for _, attributes in page.found for name in attributes)
    assert courses_in(page_text(replace(report, results=(changed,))))[0]["changes"][0][1] == HOSTILE


def test_a_mark_of_the_template_in_an_inventory_stays_text() -> None:
    text = page_text(replace(report_of(result_of()), warnings=["@@data@@"]))
    assert "<li>@@data@@</li>" in text


def test_the_page_asks_no_other_machine_and_runs_its_own_script_only() -> None:
    text = page_text(report_of(result_of()))
    page = Elements(text)
    assert not [attributes for _, attributes in page.found if {"src", "srcset"} & set(attributes)]
    assert all(str(attributes["href"]).startswith("#") for tag, attributes in page.found if "href" in attributes)
    assert "url(" not in text
    policy = next(str(one["content"]) for tag, one in page.found if one.get("http-equiv") == "Content-Security-Policy")
    assert re.fullmatch(r"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-[\w+/]{43}='", policy)


def test_the_page_has_the_numbers_of_the_result() -> None:
    page = Elements(page_text(report_of(result_of())))
    told = " ".join(page.texts)
    assert "0 of 1 variants meet their goal" in told
    assert "95 % within 11 min, and the slowest after 15 min" in told
    assert "8 pods at most, with 48 connections to the broker" in told
    assert "\u2717 misses 10 min" in told


def test_a_section_without_content_is_left_out() -> None:
    assert "Its week" not in page_text(report_of(result_of()))
    window = {"start": "0 8 * * 1-5", "end": "0 18 * * 1-5", "timezone": "Europe/Berlin", "min_replicas": 2}
    text = page_text(report_of(result_of(), schedule=[window]))
    assert "Its week" in text
    assert "Mon-Fri 08:00 to 18:00 Europe/Berlin: at least 2 pods." in text
    assert text.count('<rect class="floor" x="480" y="55" width="600" height="45">') == 5


def suggestion_of(result: Result, *others: Point) -> Suggestion:
    after = replace(result, pod_seconds=3600.0, waits=Waits(1, 60, 90, 2))
    step = Step("list_length", 5, HOSTILE, result, after)
    points = (Point({"list_length": 5}, 60.0, 3600.0, True), *others)
    return Suggestion(result, after, (step,), points)


def test_what_is_suggested_is_there_to_paste_beside_today_s_numbers_and_pictures() -> None:
    result = result_of()
    suggestion = suggestion_of(result, Point({"list_length": 2}, 20.0, 9000.0, True))
    again = {result.title: suggestion.after}
    text = page_text(replace(report_of(result), suggestions=[suggestion], suggested=again))
    page = Elements(text)
    (lines,) = re.findall("<pre[^>]*>(.*?)</pre>", text, re.S)
    assert yaml.safe_load(html.unescape(lines)) == {
        "celery_workers_config": {"billing": {"default": {"list_length": 5}}}
    }
    assert '<th scope="row">p95</th><td>11 min</td><td>60 s</td>' in text
    assert [str(one["data-course"]) for tag, one in page.found if tag == "figure"] == ["0", "1"]
    assert [course["peer"] for course in courses_in(text)] == [1, 0]
    assert [one["class"] for tag, one in page.found if tag == "b"] == ["dot kept", "dot missed left", "dot kept left"]
    named = re.findall(r'<th scope="row">(today|suggested|tried)</th><td>([\d.]+)</td>', text)
    assert named == [("suggested", "1.0"), ("today", "2.0"), ("tried", "2.5")]


def test_suggestions_that_find_nothing_say_so_and_draw_nothing() -> None:
    result = result_of()
    nothing = Suggestion(result, result, (), (Point({}, 700.0, 7200.0, False),))
    text = page_text(replace(report_of(result), suggestions=[nothing]))
    assert "Nothing that was tried is better than today's numbers." in html.unescape(text)
    assert not re.findall("<pre|As suggested|Wait against cost", text)


def test_differences_from_an_earlier_run_are_told_also_where_there_are_none() -> None:
    report = report_of(result_of())
    assert "Since the earlier run" not in page_text(report)
    assert "<li>Nothing differs.</li>" in page_text(replace(report, differences=[]))
    assert "Beside the pods" not in page_text(report)
    assert "<li>close</li>" in page_text(replace(report, replays=["close"]))
    assert "<li>billing/default: new</li>" in page_text(replace(report, differences=["billing/default: new"]))


@pytest.mark.parametrize("moments", [1, 7, MOST_COLUMNS, MOST_COLUMNS + 1, 10_081])
def test_thinning_out_keeps_every_extreme(moments: int) -> None:
    result = result_of(moments)
    course = course_of(result)
    size = round(course["step"] / 60)
    assert course["columns"] <= MOST_COLUMNS
    assert course["columns"] * size >= moments
    for name in SHOWN:
        values = [value if value < 10 else round(value) for value in getattr(result.series, name)]
        for column, high in enumerate(course["high"][name]):
            part = values[column * size : (column + 1) * size]
            low = course["low"].get(name, course["high"][name])[column]
            assert (high, low) == pytest.approx((max(part), min(part)), abs=0.051)


def test_what_was_said_is_that_of_the_end_of_each_column() -> None:
    result = result_of(1000)
    course = course_of(result)
    size = round(course["step"] / 60)
    spoken = {place: rest for place, *rest in course["says"]}
    now: list[int] = []
    for column in range(course["columns"]):
        now = spoken.get(column, now)
        last = min((column + 1) * size, 1000) - 1
        assert course["texts"][now[1]] == result.series.hpa[last]
        assert now[2] == result.series.asked[last]


def test_too_many_changes_keep_the_most_and_the_fewest_pods_and_tell_how_many_are_left_out() -> None:
    few, many = course_of(result_of(1440, MOST_COLUMNS)), course_of(result_of(1440, 5 * MOST_COLUMNS))
    assert (len(few["changes"]), few["untold"]) == (MOST_COLUMNS, 0)
    assert len(many["changes"]) + many["untold"] == 5 * MOST_COLUMNS
    assert many["untold"] > 0
    made = [one.replicas for one in result_of(1440, 5 * MOST_COLUMNS).changes]
    shown = [replicas for _, _, _, replicas, _ in many["changes"]]
    assert (max(shown), min(shown)) == (max(made), min(made))


def test_a_day_of_twenty_noisy_queues_is_below_a_megabyte() -> None:
    one = result_of(1440, 2000)
    results = [replace(one, variant=f"queue-{number}") for number in range(20)]
    assert 200_000 < len(page_text(report_of(*results)).encode()) < 1_000_000


def test_the_same_report_gives_the_same_page() -> None:
    assert page_text(report_of(result_of())) == page_text(report_of(result_of()))


@pytest.mark.parametrize(
    ("load", "words"),
    [
        (Load(per_hour=60.0), "60 tasks an hour; each runs 7 s"),
        (
            Load(burst=5, at_hour=9.0, every_hours=24.0),
            "5 tasks at once at hour 9, and again every 24 h; each runs 7 s",
        ),
        (
            Load(steps=((0.0, 60.0), (8.0, 90.0)), spread="even", task_seconds=TaskTimes(listed=(1.0, 2.0))),
            "tasks an hour at even distances: 60 from hour 0, 90 from hour 8; each runs one of 1, 2 s",
        ),
        (
            Load(daily=Daily(20.0, 600.0, 14.0, 0.3), task_seconds=TaskTimes(25.0, 60.0)),
            "20 to 600 tasks an hour, most of them at hour 14, 30 % of noise; half of them run less than 25 s, and 95 "
            "% less than 60 s",
        ),
        (Load(prometheus="/x/came.json"), "the tasks that Prometheus counted, of came.json; each runs 7 s"),
        (Load(csv="/home/me/tasks.csv"), "the tasks of tasks.csv; each runs 7 s where the file does not say it"),
        (
            Load(per_hour=1.0, priorities=((0.0, 0.8), (9.0, 0.2)), eta_share=0.5, eta_seconds=600.0),
            "1 task an hour; each runs 7 s; priority 0 for 0.8, priority 9 for 0.2 of 1; 50 % sent 10 min ahead",
        ),
        (
            Load(per_hour=60.0, failure_share=0.1, retries=1),
            "60 tasks an hour; each runs 7 s; 10 % of the runs fail, retried 1 time at most after 3 min",
        ),
    ],
)
def test_a_load_is_told_in_words(load: Load, words: str) -> None:
    assert load_words(load, 7.0) == words


def test_the_start_of_pods_is_told_in_words() -> None:
    assert pods_words([Load(burst=1)], None) == "A pod begins its first task 20 s after its creation"
    assert pods_words([Load(burst=1, start_seconds=300.0, most_pods=4)], 40.0).endswith(
        "5 min after its creation, and the nodes have room for 4 pods"
    )


def test_times_are_those_of_a_week_that_begins_on_monday() -> None:
    times = (0, 86400 + 8 * 3600 + 59, 7 * 86400)
    assert [clock(at, MONDAY) for at in times] == ["Mon 00:00", "Tue 08:00", "Mon 00:00"]
    assert [clock(at, SATURDAY) for at in times] == ["Sat 08:30", "Sun 16:30", "Sat 08:30"]


def test_a_history_is_shown_at_its_own_time() -> None:
    result = replace(result_of(), start=SATURDAY)
    text = page_text(report_of(result))
    assert courses_in(text)[0]["begins"] == 5 * 86400 + 8.5 * 3600
    assert "billing/default begins when its history does: 2026-01-03 08:30 UTC." in text
    assert '<th scope="row">Sat 08:30</th>' in text


def test_a_window_over_midnight_and_over_the_end_of_a_week_is_open_in_its_own_time_zone() -> None:
    window = ScheduleWindow(start="0 22 * * *", end="0 6 * * *", timezone="America/New_York", max_replicas=3)
    times = open_times(window)
    assert times[:2] == [(0, 360), (1320, 1800)]
    assert times[-1] == (6 * 1440 + 1320, 7 * 1440)
