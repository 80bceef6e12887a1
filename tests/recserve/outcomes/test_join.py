"""Events count for the answer that they followed, once, and for no other."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recserve import Event
from recserve.outcomes.join import OutcomeRules, impressions, joined
from recserve.outcomes.source import OutcomeSource
from recserve.store import ExposedItem, Exposure, Store, open_store
from tests.support.outcomes import DAY, HOUR, NOON, config, done, fill, shown

EVERYTHING = (NOON - DAY, NOON + DAY)


def outcomes(store: Store, **how: Any) -> set[tuple[str, str]]:
    """Answers and items that were clicked."""
    table = impressions(store, how.pop("settings", config()), *EVERYTHING, **how)
    rows = table.to_pylist()
    return {(row["recommendation_id"], row["item_id"]) for row in rows if row["clicked"]}


def test_an_event_counts_for_the_answer_that_it_names(store: Store) -> None:
    later = NOON + HOUR
    fill(
        store,
        [shown("first"), shown("second", at=later)],
        [done("u", "b", later + 5, recommendation_id="first")],
    )
    assert outcomes(store) == {("first", "b")}


def test_an_event_that_names_none_counts_for_the_last_that_showed_the_item(store: Store) -> None:
    pages = [
        shown("1"),
        shown("2", at=NOON + 10),
        shown("3", at=NOON + 20, items="xyz"),
        shown("4", at=NOON + 99),
    ]
    fill(store, pages, [done("u", "b", NOON + 50)])
    assert outcomes(store) == {("2", "b")}


def test_every_row_says_what_was_shown_to_whom(store: Store) -> None:
    page = shown("r", items="ab", experiment="e", arm="new")
    fill(store, [page, shown("s", None, NOON + 1, "c")], [done("u", "b", NOON + 5, "purchase", value=9.5)])
    rows = impressions(store, config(), *EVERYTHING).sort_by(
        [("timestamp", "ascending"), ("position", "ascending")]
    )
    first, second, third = rows.to_pylist()
    assert first["user_hash"] == second["user_hash"] != third["user_hash"] is None
    known = {
        name: second[name] for name in ("scenario", "bundle", "experiment", "arm", "shadow", "timestamp")
    }
    assert list(known.values()) == ["home", "bundle", "e", "new", False, NOON]
    assert [row["position"] for row in (first, second, third)] == [0, 1, 0]
    assert [row["source"] for row in (first, second, third)] == ["mf"] * 3
    assert [row["propensity"] for row in (first, second, third)] == [None] * 3
    assert [row["clicked"] for row in (first, second, third)] == [False, True, False]
    assert [row["converted"] for row in (first, second, third)] == [False, True, False]
    assert [row["value"] for row in (first, second, third)] == [0, 9.5, 0]


def test_nothing_was_shown(sqlite_store: Store) -> None:
    table = impressions(sqlite_store, config(), *EVERYTHING)
    assert len(table) == 0
    assert {"item_id", "clicked", "value"} <= set(table.schema.names)


@pytest.mark.parametrize(("after", "counts"), [(0, True), (DAY, True), (DAY + 1, False), (-1, False)])
def test_what_happens_within_the_window_counts(store: Store, after: int, counts: bool) -> None:
    fill(store, [shown("r")], [done("u", "a", NOON + after)])
    assert (outcomes(store) == {("r", "a")}) is counts


@pytest.mark.parametrize(
    ("after", "counts"), [(-HOUR, True), (-HOUR - 1, False), (DAY, True), (DAY + 1, False)]
)
def test_clocks_of_clients_may_be_behind(store: Store, after: int, counts: bool) -> None:
    fill(store, [shown("r")], [done("u", "a", NOON + after, recommendation_id="r")])
    assert (outcomes(store) == {("r", "a")}) is counts


def test_the_window_is_configured(sqlite_store: Store) -> None:
    fill(sqlite_store, [shown("r")], [done("u", "a", NOON + 2 * HOUR)])
    assert outcomes(sqlite_store, settings=config(window_hours=1)) == set()
    assert outcomes(sqlite_store, settings=config(window_hours=2)) == {("r", "a")}


def test_others_do_not_count(store: Store) -> None:
    fill(
        store,
        [shown("r"), shown("s", "v", items="xyz")],
        [
            done("v", "a", NOON + 5),
            done("v", "b", NOON + 5, recommendation_id="r"),
            done("u", "d", NOON + 5, recommendation_id="r"),
            done("u", "c", NOON + 5, recommendation_id="unknown"),
        ],
    )
    assert outcomes(store) == set()


def test_an_anonymous_answer_counts_for_whoever_names_it(store: Store) -> None:
    events = [done("u", "a", NOON + 5, recommendation_id="r"), done("u", "b", NOON + 5)]
    fill(store, [shown("r", None)], events)
    assert outcomes(store) == {("r", "a")}


def test_shadow_answers_were_shown_to_nobody(store: Store) -> None:
    fill(
        store,
        [shown("r"), shown("hidden", at=NOON + 1, shadow=True)],
        [done("u", "a", NOON + 5), done("u", "b", NOON + 5, recommendation_id="hidden")],
    )
    assert outcomes(store) == {("r", "a")}
    assert len(impressions(store, config(), *EVERYTHING)) == 3
    every = impressions(store, config(), *EVERYTHING, shadow=True)
    assert len(every) == 6
    assert outcomes(store, shadow=True) == {("r", "a")}


def test_one_experiment_alone(sqlite_store: Store) -> None:
    pages = [
        shown("r", experiment="e", arm="x"),
        shown("s", at=NOON + 1, experiment="f", arm="x"),
        shown("t"),
    ]
    fill(sqlite_store, pages, [done("u", "a", NOON + 5)])
    table = impressions(sqlite_store, config(), *EVERYTHING, experiment="e")
    assert set(table["recommendation_id"].to_pylist()) == {"r"}
    assert not any(table["clicked"].to_pylist()), "the last answer that showed it was of the other experiment"


def test_a_session_that_was_merged_keeps_its_outcomes(store: Store) -> None:
    fill(store, [shown("r", "session")], [done("session", "a", NOON + 5)])
    store.merge_user("session", "u")
    assert outcomes(store) == {("r", "a")}
    # What still comes under the session's id.
    store.add_events([done("session", "b", NOON + 6, recommendation_id="r"), done("u", "c", NOON + 7)])
    assert outcomes(store) == {("r", "a"), ("r", "b"), ("r", "c")}


def test_nothing_of_a_person_who_was_deleted_is_left(store: Store) -> None:
    fill(store, [shown("r"), shown("s", "v")], [done("u", "a", NOON + 5), done("v", "a", NOON + 5)])
    store.delete_user("u")
    assert outcomes(store) == {("s", "a")}
    assert len(impressions(store, config(), *EVERYTHING)) == 3


def test_what_is_sent_twice_counts_once(store: Store) -> None:
    event = done("u", "a", NOON + 5, "purchase", value=3.0, event_id="e")
    fill(store, [shown("r"), shown("r")], [event])
    store.add_events([event])
    (row,) = [row for row in impressions(store, config(), *EVERYTHING).to_pylist() if row["converted"]]
    assert row["value"] == 3.0


def test_types_are_configured(sqlite_store: Store) -> None:
    events = [
        done("u", "a", NOON + 5, "view"),
        done("u", "b", NOON + 5, "dislike"),
        done("u", "c", NOON + 5, "purchase", value=2.0),
    ]
    fill(sqlite_store, [shown("r")], events)
    assert outcomes(sqlite_store) == {("r", "a"), ("r", "c")}
    chosen = config(clicks=["view", "dislike"], conversions=["dislike"])
    assert outcomes(sqlite_store, settings=chosen) == {("r", "a"), ("r", "b")}
    rows = impressions(sqlite_store, chosen, *EVERYTHING).to_pylist()
    assert [row["item_id"] for row in rows if row["converted"]] == ["b"]


def test_ids_of_any_kind_are_joined(store: Store) -> None:
    ids = ['"', "\\", 'a,"b', "é 🎬", "line\nbreak", " "]
    pages = [
        replace(shown(f'r"{n}', f"u'{n}"), items=(ExposedItem("other", 1.0), ExposedItem(item, 0.5)))
        for n, item in enumerate(ids)
    ]
    fill(store, pages, [done(f"u'{n}", item, NOON + 1) for n, item in enumerate(ids)])
    assert outcomes(store) == {(f'r"{n}', item) for n, item in enumerate(ids)}


# -- however it is cut ------------------------------------------------------------------------------

_moments = st.integers(0, 6 * 24).map(lambda half: NOON - 2 * DAY + half * HOUR // 2)
_pages = st.builds(
    lambda user, at, items, shadow: (user, at, items, shadow),
    st.sampled_from(["u", "v", None]),
    _moments,
    st.text("abcd", min_size=1, max_size=3).map(lambda text: "".join(dict.fromkeys(text))),
    st.booleans(),
)
_events = st.tuples(
    st.sampled_from(["u", "v"]),
    st.sampled_from("abcd"),
    _moments,
    st.none() | st.integers(0, 6),
    st.booleans(),
)


def expected(pages: list[Exposure], events: list[Event]) -> dict[tuple[str, str], float]:
    """The same by its definition, one event at a time."""
    found: dict[tuple[str, str], float] = {}
    for event in events:
        candidates = []
        for page in pages:
            waited = event.timestamp - page.timestamp
            if page.shadow or event.item_id not in {item.item_id for item in page.items}:
                continue
            if event.recommendation_id is not None:
                same = page.user_id in (None, event.user_id)
                if page.recommendation_id == event.recommendation_id and same and -HOUR <= waited <= DAY:
                    candidates.append(page)
            elif page.user_id == event.user_id and 0 <= waited <= DAY:
                candidates.append(page)
        if candidates:
            last = max(candidates, key=lambda page: page.timestamp)
            key = last.recommendation_id, event.item_id
            found[key] = found.get(key, 0.0) + (event.value or 0.0)
    return found


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    st.lists(_pages, max_size=7, unique_by=lambda page: (page[0], page[1])),
    st.lists(_events, max_size=8),
    st.integers(1, 3),
    st.integers(1, 5),
)
def test_outcomes_are_the_same_however_the_time_is_cut(
    tmp_path_factory: pytest.TempPathFactory,
    pages: list[tuple[str | None, int, str, bool]],
    events: list[tuple[str, str, int, int | None, bool]],
    rows: int,
    block: int,
) -> None:
    exposures = [
        shown(f"r{n}", user, at, items, shadow=shadow) for n, (user, at, items, shadow) in enumerate(pages)
    ]
    told = [
        done(user, item, at, "purchase", value=1.0, recommendation_id=None if named is None else f"r{named}")
        for user, item, at, named, _ in events
    ]
    with open_store(None, tmp_path_factory.mktemp("cut")) as store:
        fill(store, exposures, told)
        rules = OutcomeRules.of(config())
        source = OutcomeSource(store, rules.types, chunk_rows=rows, block_rows=block)
        first, last = NOON - 3 * DAY, NOON + 3 * DAY
        found: dict[tuple[str, str], float] = {}
        for _, part in joined(source, rules, np.empty(0, np.int64), first, last):
            for row in part.table().to_pylist():
                if row["converted"]:
                    found[row["recommendation_id"], row["item_id"]] = row["value"]
        assert found == expected(exposures, told)
