"""Days are counted once, and again when what was counted is not right any more."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recserve import User
from recserve.config import Config
from recserve.outcomes.daily import Rollup
from recserve.outcomes.daily.counter import MEASURES, SERVED
from recserve.store import Store, open_store
from recserve.store.lake import LakeExport, LakeFolder
from tests.support.outcomes import DAY, HOUR, NOON, config, done, fill, shown

TODAY = NOON // DAY
LONG_AFTER = NOON + 10 * DAY


def totals(
    store: Store, now: int = LONG_AFTER, chosen: Config | None = None, lake: LakeFolder | None = None
) -> dict[int, tuple[float, ...]]:
    """Measures of each day, and whether they had been counted before."""
    rollup = Rollup(store, chosen or config(), lake, now)
    found = {}
    for counts in rollup.daily(TODAY - 5, TODAY + 5, [SERVED]):
        served = counts.tables.get(SERVED)
        if served is not None:
            sums = tuple(float(sum(served[measure].to_pylist())) for measure in MEASURES[:4])
            found[counts.day] = (*sums, counts.stored)
    return found


def week(store: Store) -> None:
    """Three days with a page each, and something that follows each."""
    pages = [shown(f"r{day}", at=NOON + day * DAY) for day in range(3)]
    events = [done("u", "a", NOON + day * DAY + HOUR, "purchase", value=2.0) for day in range(3)]
    fill(store, pages, events)


def test_a_day_is_counted_once(store: Store) -> None:
    week(store)
    expected = {TODAY + day: (3.0, 1.0, 1.0, 2.0) for day in range(3)}
    assert totals(store) == {day: (*sums, False) for day, sums in expected.items()}
    assert totals(store) == {day: (*sums, True) for day, sums in expected.items()}


def test_a_day_is_not_over_while_its_window_is_open(store: Store) -> None:
    week(store)
    now = NOON + 3 * DAY
    totals(store, now)
    assert {day: sums[-1] for day, sums in totals(store, now).items()} == {
        TODAY: True,
        TODAY + 1: True,
        TODAY + 2: False,
    }
    # What follows meanwhile counts.
    store.add_events([done("u", "b", NOON + 2 * DAY + 2 * HOUR)])
    assert totals(store, now)[TODAY + 2][:2] == (3.0, 2.0)


def test_events_that_come_late_count(store: Store) -> None:
    week(store)
    totals(store)
    store.add_events([done("u", "b", NOON + 2 * HOUR)])
    found = totals(store)
    assert found[TODAY] == (3.0, 2.0, 1.0, 2.0, False)
    assert found[TODAY + 2][-1] is True
    assert totals(store)[TODAY] == (3.0, 2.0, 1.0, 2.0, True)


def test_events_that_are_taken_back_no_longer_count(store: Store) -> None:
    week(store)
    late = done("u", "b", NOON + DAY + 5 * HOUR, event_id="late")
    store.add_events([late])
    totals(store)
    assert store.remove_event("late") == 1
    assert totals(store) == {
        TODAY: (3.0, 1.0, 1.0, 2.0, False),
        TODAY + 1: (3.0, 1.0, 1.0, 2.0, False),
        TODAY + 2: (3.0, 1.0, 1.0, 2.0, False),
    }
    assert all(sums[-1] for sums in totals(store).values())
    assert store.remove_events("u", "a") == 3
    assert [sums[1] for sums in totals(store).values()] == [0.0] * 3
    assert store.remove_event("late") == 0
    assert all(sums[-1] for sums in totals(store).values())


def test_a_page_of_the_next_day_takes_an_event_from_a_day_that_is_counted_alone(store: Store) -> None:
    fill(store, [shown("r"), shown("s", at=NOON + DAY - 2 * HOUR)], [done("u", "a", NOON + DAY - HOUR)])
    totals(store)
    store.add_events([done("u", "b", NOON + HOUR)])  # late: the first day is counted again
    assert {day: sums[1] for day, sums in totals(store).items()} == {TODAY: 1.0, TODAY + 1: 1.0}


def test_other_settings_count_anew(sqlite_store: Store) -> None:
    week(sqlite_store)
    totals(sqlite_store)
    found = totals(sqlite_store, chosen=config(clicks=["view"]))
    assert {sums[1:] for sums in found.values()} == {(0.0, 1.0, 2.0, False)}


def test_counts_stay_when_exposures_expire(store: Store) -> None:
    week(store)
    before = Rollup(store, config(), now=LONG_AFTER).finish(NOON + DAY + HOUR)
    assert before == NOON + DAY + HOUR
    store.expire_events(before)
    assert store.expire_exposures(before) == 2
    assert totals(store) == {
        TODAY: (3.0, 1.0, 1.0, 2.0, True),
        TODAY + 1: (3.0, 1.0, 1.0, 2.0, True),
        TODAY + 2: (3.0, 1.0, 1.0, 2.0, False),
    }
    # Nothing that comes later, and no other setting, can change them.
    store.add_events([done("u", "b", NOON + 2 * HOUR)])
    (first,) = [
        (counts.stored, counts.same)
        for counts in Rollup(store, config(window_hours=1), now=LONG_AFTER).daily(TODAY, TODAY, [SERVED])
    ]
    assert first == (True, False)


def test_what_is_still_open_does_not_expire(store: Store) -> None:
    week(store)
    now = NOON + 2 * DAY + HOUR
    before = Rollup(store, config(), now=now).finish(now)
    assert before == (TODAY + 1) * DAY - HOUR
    store.expire_exposures(before)
    assert [sums[0] for sums in totals(store, now).values()] == [3.0] * 3


def test_what_is_in_the_lake_is_counted_from_there(store: Store, tmp_path: Path) -> None:
    week(store)
    lake = LakeFolder(str(tmp_path / "lake"))
    export = LakeExport(store, lake, tmp_path)
    assert export.expire(NOON + DAY + HOUR) == (1, 2)
    expected = {TODAY + day: (3.0, 1.0, 1.0, 2.0, False) for day in range(3)}
    assert totals(store, lake=lake) == expected
    other = config(conversions=["view"])
    assert {sums[2] for sums in totals(store, chosen=other, lake=lake).values()} == {0.0}
    store.delete_user("u")
    # What cannot be counted again stays as it was.
    assert list(totals(store, chosen=config(window_hours=2), lake=lake)) == [TODAY + 2]


def test_counts_outlive_the_person(store: Store) -> None:
    week(store)
    before = totals(store)
    store.delete_user("u")
    assert {day: sums[:-1] for day, sums in totals(store).items()} == {
        day: sums[:-1] for day, sums in before.items()
    }


def test_nothing_in_the_counts_names_a_person(store: Store) -> None:
    page = shown("r", "somebody@example.com")
    fill(store, [page], [done("somebody@example.com", "a", NOON + 5)])
    totals(store)
    tables = store.daily_tables(
        TODAY, TODAY, [SERVED, "item", f"{SERVED}/places", f"{SERVED}/items", "comparisons"]
    )
    assert len(tables) == 5
    assert not any(b"somebody" in table.content for table in tables)
    names = {name for table in tables for name in pq.read_table(pa.BufferReader(table.content)).schema.names}
    assert not {"user_id", "user_hash", "recommendation_id", "timestamp"} & names


def test_old_counts_go(store: Store) -> None:
    week(store)
    totals(store)
    assert store.expire_daily(TODAY + 1) >= 1
    assert min(store.daily_days()) == TODAY + 1


def test_counts_that_somebody_else_overtook_are_not_stored(store: Store) -> None:
    assert store.begin_counting(7, []) == 7
    assert not store.put_daily(TODAY, "s", {"x": b"1"}, 6)
    assert store.put_daily(TODAY, "s", {"x": b"1"}, 7)
    assert store.daily_days() == {TODAY: ("s", False)}
    assert store.begin_counting(5, [TODAY]) == 7, "the newest events were removed"
    assert store.daily_days() == {}


def test_a_lease_is_for_one_at_a_time(store: Store) -> None:
    assert store.lease("days", "a", until=10, now=0)
    assert store.lease("days", "a", until=12, now=5)
    assert not store.lease("days", "b", until=20, now=11)
    assert store.lease("other", "b", until=20, now=11)
    assert store.lease("days", "b", until=20, now=12)
    assert not store.lease("days", "a", until=30, now=13)


def test_days_are_counted_once_also_when_the_newest_events_are_removed(store: Store) -> None:
    week(store)
    totals(store)
    store.add_events([done("v", "a", NOON + 3 * DAY, event_id="newest")])
    totals(store)
    store.remove_event("newest")
    other = config(clicks=["view"])
    totals(store, chosen=other)
    assert all(sums[-1] for sums in totals(store, chosen=other).values())


def test_users_are_told_apart_by_an_attribute(store: Store) -> None:
    store.upsert_users([User("u", {"country": "SE", "age": 40}), User("v", {"country": "DE"}), User("w", {})])
    pages = [shown(f"of {user}", user, NOON + n, "ab") for n, user in enumerate(["u", "v", "w", None])]
    fill(store, pages, [done("u", "a", NOON + 50)])
    chosen = config(segments=["country", "age"])
    segments = ["segment:country", "segment:age"]
    counts = next(Rollup(store, chosen, now=LONG_AFTER).daily(TODAY, TODAY, segments))
    shown_to = Counter[Any]()
    for row in counts.tables["segment:country"].to_pylist():
        shown_to[row["segment"]] += row["impressions"]
    assert shown_to == {"SE": 2, "DE": 2, None: 4}
    ages = {row["segment"]: row["clicks"] for row in counts.tables["segment:age"].to_pylist()}
    assert ages["40"] == 1


@pytest.mark.parametrize("rows", [1, 3])
def test_counts_do_not_depend_on_the_chunks(
    sqlite_store: Store, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    pages = [shown(f"r{n}", "uv"[n % 2], NOON + n * HOUR, "abcd"[n % 3 :]) for n in range(8)]
    fill(sqlite_store, pages, [done("u", "c", NOON + n * HOUR + 9) for n in range(8)])

    def every() -> list[Any]:
        names = [SERVED, "item", f"{SERVED}/places", f"{SERVED}/items", "comparisons"]
        rows = [
            (table, sorted(map(str, rows.to_pylist())))
            for counts in Rollup(sqlite_store, config(), now=LONG_AFTER).daily(TODAY, TODAY, names)
            for table, rows in sorted(counts.tables.items())
        ]
        sqlite_store.begin_counting(0, [TODAY])
        return rows

    expected = every()
    monkeypatch.setattr("recserve.outcomes.source.CHUNK_ROWS", rows)
    assert every() == expected
    assert len(expected) == 5


_pages = st.tuples(st.sampled_from("uv"), st.integers(0, 100), st.sampled_from(["ab", "bc", "abc"]))
_events = st.tuples(st.sampled_from("uv"), st.sampled_from("abc"), st.integers(0, 130))


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    st.lists(_pages, max_size=6, unique_by=lambda page: page[:2]),
    st.lists(_events, max_size=6),
    st.lists(st.tuples(st.integers(-1, 5), st.integers(0, 2)), max_size=4),
)
def test_totals_do_not_depend_on_how_and_when_days_were_counted(
    tmp_path_factory: pytest.TempPathFactory,
    pages: list[tuple[str, int, str]],
    events: list[tuple[str, str, int]],
    asked: list[tuple[int, int]],
) -> None:
    """Reports of any days, in any order, while events still come, and then of all."""
    told = [
        done(user, item, NOON + hour * HOUR, event_id=f"{n}") for n, (user, item, hour) in enumerate(events)
    ]
    shown_pages = [
        shown(f"r{n}", user, NOON + hour * HOUR, items) for n, (user, hour, items) in enumerate(pages)
    ]
    with open_store(None, tmp_path_factory.mktemp("whole")) as store:
        fill(store, shown_pages, told)
        expected = {day: sums[:-1] for day, sums in totals(store).items()}
    with open_store(None, tmp_path_factory.mktemp("parts")) as store:
        fill(store, shown_pages)
        for day, length in asked:
            if told:
                store.add_events([told.pop()])
            list(Rollup(store, config(), now=LONG_AFTER).daily(TODAY + day, TODAY + day + length, [SERVED]))
        store.add_events(told)
        assert {day: sums[:-1] for day, sums in totals(store).items()} == expected
