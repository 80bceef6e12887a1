"""Figures of a report are those of what was shown, with intervals that go by people."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recserve import Item, User
from recserve.config import Config
from recserve.errors import InvalidRequestError
from recserve.outcomes.reports import Report, plain_report, question_of, report
from recserve.store import ExposedItem, Exposure, Store, open_store
from tests.support.outcomes import DAY, HOUR, NOON, config, done, fill, shown

LONG_AFTER = NOON + 10 * DAY


def asked(store: Store, by: str | None = None, chosen: Config | None = None, **how: Any) -> Report:
    settings = chosen or config(segments=["country"])
    question = question_of(settings, by, None, None, now=LONG_AFTER, **how)
    return report(store, settings, question, now=LONG_AFTER)


def rates(found: Report) -> dict[str | None, tuple[int, int]]:
    return {row.group: (row.impressions, row.clicks) for row in found.rows}


def two_arms(store: Store) -> None:
    """Pages of two arms of an experiment, two scenarios, two days; the second arm is clicked."""
    store.upsert_items([Item(item) for item in "abcdefgh"])
    store.upsert_users([User("u", {"country": "SE"})])
    page = tuple(ExposedItem(item, 1.0, (source,)) for item, source in (("a", "mf"), ("b", "popular")))
    store.record_bundle("old", NOON - 3 * DAY, {})
    store.set_current("old")
    fill(
        store,
        [
            Exposure("1", "u", "old", "home", NOON, page, experiment="e", arm="control"),
            Exposure("2", "v", "old", "home", NOON + 1, page, experiment="e", arm="new"),
            Exposure("3", "w", "new", "similar", NOON + DAY, page[:1], degraded=("ranking",)),
            Exposure("4", "x", "new", "home", NOON, page, experiment="e", arm="new", shadow=True),
        ],
        [done("v", "b", NOON + HOUR, "purchase", value=5.0), done("x", "a", NOON + HOUR)],
    )


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("scenario", {"home": (4, 1), "similar": (1, 0)}),
        ("bundle", {"old": (4, 1), "new": (1, 0)}),
        ("arm", {"e/control": (2, 0), "e/new": (2, 1), None: (1, 0)}),
        ("retriever", {"mf": (3, 0), "popular": (2, 1)}),
        ("item", {"a": (3, 0), "b": (2, 1)}),
        ("segment:country", {"SE": (2, 0), None: (3, 1)}),
        ("day", {"2024-10-04": (4, 1), "2024-10-05": (1, 0)}),
        (None, {}),
    ],
)
def test_outcomes_are_broken_down(
    store: Store, by: str | None, expected: dict[str | None, tuple[int, int]]
) -> None:
    two_arms(store)
    first = asked(store, by)
    assert rates(first) == expected
    assert rates(asked(store, by)) == expected, "from stored counts"
    assert (first.total.impressions, first.total.clicks, first.total.conversions) == (5, 1, 1)
    assert first.total.value == 5.0
    assert first.total.items == 2
    assert first.total.degraded == 0.2
    assert first.days == 2
    assert first.total.ctr.value == 0.2
    assert first.total.value_each.value == 1.0


def test_coverage_is_of_the_catalogue(store: Store) -> None:
    two_arms(store)
    found = asked(store, "scenario")
    assert {row.group: (row.items, row.coverage) for row in found.rows} == {
        "home": (2, 0.25),
        "similar": (1, 0.125),
    }
    assert found.total.coverage == 0.25
    assert asked(store, "item").rows[0].coverage is None


def test_how_old_things_are_is_beside_them(store: Store) -> None:
    two_arms(store)
    fresh = asked(store).freshness
    assert (fresh.bundle, fresh.bundle_created) == ("old", NOON - 3 * DAY)
    assert (fresh.newest_event, fresh.newest_answer) == (NOON + HOUR, NOON + DAY)


def test_a_scenario_or_an_experiment_alone(store: Store) -> None:
    two_arms(store)
    assert rates(asked(store, "source", scenario="similar")) == {"mf": (1, 0)}
    found = asked(store, "arm", experiment="e")
    assert rates(found) == {"e/control": (2, 0), "e/new": (2, 1)}
    assert found.total.impressions == 4
    assert asked(store, experiment="no such").total.impressions == 0


def test_one_item_alone(store: Store) -> None:
    two_arms(store)
    found = asked(store, "day", item="a")
    assert rates(found) == {"2024-10-04": (2, 0), "2024-10-05": (1, 0)}
    assert (found.total.impressions, found.total.items, found.total.coverage) == (3, 1, None)
    assert [row.coverage for row in found.rows] == [None, None]
    total = asked(store, item="b").total
    assert (total.impressions, total.clicks, total.value) == (2, 1, 5.0)
    assert rates(asked(store, "item", item="b")) == {"b": (2, 1)}
    nothing = asked(store, "day", item="none").total
    assert (nothing.impressions, nothing.items) == (0, 0)


def test_of_many_groups_those_shown_most_come_first(sqlite_store: Store) -> None:
    pages = [shown(f"r{n}", "u", NOON + n, "abcdefgh"[: n + 1]) for n in range(8)]
    fill(sqlite_store, pages)
    found = asked(sqlite_store, "item", rows=3)
    assert [row.group for row in found.rows] == ["a", "b", "c"]
    assert found.groups == 8
    assert found.total.items == 8


def test_each_item_of_an_interleaved_page_is_of_its_arm(sqlite_store: Store) -> None:
    page = (ExposedItem("a", 1.0, ("mf",), "x"), ExposedItem("b", 1.0, ("mf",), "y"), ExposedItem("c", 1.0))
    fill(
        sqlite_store,
        [Exposure("r", "u", "b", "home", NOON, page, experiment="e")],
        [done("u", "b", NOON + 1)],
    )
    assert rates(asked(sqlite_store, "arm")) == {"e/x": (1, 0), "e/y": (1, 1), "e": (1, 0)}


def test_nothing_was_shown(store: Store) -> None:
    found = asked(store, "item")
    assert (found.rows, found.groups, found.days) == ([], 0, 0)
    assert math.isnan(found.total.ctr.value)
    assert plain_report(found)["total"]["ctr"] == {"value": None, "low": None, "high": None}


def people(store: Store, seed: int, users: int = 300) -> float:
    """Pages of people who click much or little; returns the rate that they have on average."""
    draw = np.random.default_rng(seed)
    taste = draw.beta(0.5, 4.5, users)  # .1 on average, very different between people
    pages, events = [], []
    for user, rate in enumerate(taste.tolist()):
        for visit in range(6):
            at = NOON + visit * HOUR + user
            pages.append(shown(f"{user}-{visit}", f"u{user}", at))
            events += [
                done(f"u{user}", item, at + 5, recommendation_id=f"{user}-{visit}")
                for item in "abc"
                if draw.random() < rate
            ]
    fill(store, pages, events)
    return 0.1


def test_intervals_hold_the_truth_although_people_differ(tmp_path: Path) -> None:
    """Impressions of one person are not independent: intervals that ignored it would be too narrow."""
    held, widths = 0, []
    for seed in range(20):
        with open_store(None, tmp_path / str(seed)) as store:
            truth = people(store, seed)
            ctr = asked(store).total.ctr
        held += ctr.low <= truth <= ctr.high
        widths.append(ctr.high - ctr.low)
    naive = 2 * 1.96 * math.sqrt(0.1 * 0.9 / (300 * 18))
    assert held >= 16, "of 20 at 95%, fewer than 16 come once in four thousand"
    assert np.mean(widths) > 1.7 * naive


def test_clicks_in_the_first_place_are_what_debiased_rates_are_of(sqlite_store: Store) -> None:
    """Two scenarios with equally good items: one shows them lower, where half as many look."""
    draw = np.random.default_rng(5)
    pages, events = [], []
    for number in range(3000):
        first = number % 2 == 0
        order = "ab" if draw.random() < 0.5 else "ba"
        items = order if first else f"xyz{order}"  # nobody clicks x, y or z
        looked = [1.0, 0.5] if first else [0.0, 0.0, 0.0, 0.25, 0.25]
        pages.append(
            Exposure(
                f"r{number}",
                f"u{number}",
                "b",
                "top" if first else "below",
                NOON + number,
                tuple(ExposedItem(item, 1.0) for item in items),
            )
        )
        events += [
            done(f"u{number}", item, NOON + number + 1)
            for item, seen in zip(items, looked, strict=True)
            if draw.random() < 0.4 * seen
        ]
    fill(sqlite_store, pages, events)
    found = asked(sqlite_store, "scenario", scenario="top")
    assert found.examination[:2] == pytest.approx([1.0, 0.5], abs=0.06)
    (top,) = found.rows
    assert top.ctr.value == pytest.approx(0.3, abs=0.03)
    assert top.debiased_ctr.low < 0.4 < top.debiased_ctr.high


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"by": "scenari"}, "did you mean 'scenario'"),
        ({"by": "segment:age"}, "cannot be broken down by 'segment:age'"),
        ({"since": "yesterday"}, "since: 'yesterday' is no day such as 2026-01-31"),
        ({"until": "2026-02-30"}, "until: '2026-02-30' is no day"),
        ({"since": "2026-02-02", "until": "2026-02-01"}, "2026-02-02 is after the last day, 2026-02-01"),
        ({"by": "item", "scenario": "home"}, "leave scenario and experiment out"),
        ({"item": "a", "scenario": "home"}, "item: an item is counted over all scenarios"),
        ({"item": "a", "by": "bundle"}, "one item is counted by day only, not by bundle"),
    ],
)
def test_bad_questions_are_refused(wrong: dict[str, str], reason: str) -> None:
    given: dict[str, Any] = {"by": None, "since": None, "until": None, **wrong}
    with pytest.raises(InvalidRequestError, match=reason) as caught:
        question_of(config(segments=["country"]), **given)
    assert "\n" not in caught.value.message
