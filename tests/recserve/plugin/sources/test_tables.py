"""Canonical tables out of columns, and times as people read them."""

from __future__ import annotations

import pyarrow as pa
import pytest

from recserve import DataError, clock, event_table, iso_time, item_table


def test_what_says_nothing_is_left_out_of_items() -> None:
    known = {"title": "Tee ☕", "year": 0, "tags": [], "note": "", "gone": None, "new": False}
    assert item_table([("a", known)]).to_pylist() == [
        {"item_id": "a", "attributes": '{"title": "Tee ☕", "year": 0, "new": false}'}
    ]
    assert item_table([]).schema.types == [pa.string(), pa.string()]


def test_events_of_one_type_and_without_values() -> None:
    users, items = pa.array(["u", "v"]), pa.array(["a", "b"])
    table = event_table(users, items, "view", pa.array([1, 2], pa.int64()))
    assert table["event"].to_pylist() == ["view", "view"]
    assert table["value"].null_count == 2
    assert set(table["event_id"].to_pylist()) == {""}


def test_times_as_people_read_them() -> None:
    assert iso_time(1_772_323_200, "x") == "2026-03-01T00:00:00Z"
    with pytest.raises(DataError, match=r"posts\.csv: 1772323200000 is no time .* are they milliseconds"):
        iso_time(1_772_323_200_000, "posts.csv")
    assert [clock(seconds) for seconds in (0, 59.6, 245, 3600)] == ["0:00", "1:00", "4:05", "60:00"]
