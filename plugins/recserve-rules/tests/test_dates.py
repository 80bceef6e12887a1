"""Moments in attributes: every way to write them."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from recserve_rules.expressions.dates import moments

from recserve import Catalogue, Item

BERLIN = timezone(timedelta(hours=1))


def read(*values: object, zone: timezone = UTC, end: bool = False) -> tuple[list[float], list[int]]:
    items = [Item(f"i{row}", {} if value is None else {"at": value}) for row, value in enumerate(values)]
    found, unreadable = moments(Catalogue.of(items).column("at"), zone, end=end)
    return found.tolist(), unreadable.tolist()


def milliseconds(*parts: int, zone: timezone = UTC) -> float:
    return datetime(*parts, tzinfo=zone).timestamp() * 1000


@pytest.mark.parametrize(
    ("value", "start", "end"),
    [
        (1999, (1999, 1, 1), (2000, 1, 1)),
        ("1999", (1999, 1, 1), (2000, 1, 1)),
        ("1999-02", (1999, 2, 1), (1999, 3, 1)),
        ("1999-12", (1999, 12, 1), (2000, 1, 1)),
        ("1999-12-31", (1999, 12, 31), (2000, 1, 1)),
        (" 1999-02-28 ", (1999, 2, 28), (1999, 3, 1)),
    ],
)
@pytest.mark.parametrize("zone", [UTC, BERLIN])
def test_a_period_is_its_start_or_the_moment_it_is_over(value, start, end, zone) -> None:
    assert read(value, zone=zone) == ([milliseconds(*start, zone=zone)], [])
    assert read(value, zone=zone, end=True) == ([milliseconds(*end, zone=zone)], [])


@given(st.datetimes(datetime(1980, 1, 1), datetime(2200, 1, 1), timezones=st.sampled_from([UTC, BERLIN])))
def test_a_moment_is_the_same_however_it_is_written(moment: datetime) -> None:
    moment = moment.replace(microsecond=0)
    expected = moment.timestamp() * 1000
    written = (moment.isoformat(), moment.timestamp(), expected, moment.isoformat(sep=" "))
    for end in (False, True):
        assert read(*written, end=end) == ([expected] * len(written), [])
    assert read(moment.replace(tzinfo=None).isoformat(), zone=moment.tzinfo)[0] == [expected]


@given(st.dates(date(1, 1, 2), date(9998, 12, 30)))
def test_a_day_has_24_hours(day: date) -> None:
    (start,), (end,) = read(day.isoformat())[0], read(day.isoformat(), end=True)[0]
    assert end - start == 86_400_000


def test_what_cannot_be_read_is_named_by_its_row() -> None:
    values = ("soon", None, True, ["1999"], "1999-13", "", math.nan, 2001, math.inf)
    found, unreadable = read(*values)
    assert unreadable == [0, 2, 3, 4]
    assert np.isnan(found[:7]).all()
    assert found[7] == milliseconds(2001, 1, 1)
