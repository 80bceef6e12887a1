"""Axes have round ticks that hold every value, and figures that do not exist are not drawn."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recserve.evaluation.bootstrap import Interval
from recserve.evaluation.html.charts import COLOURS, Axis, LogAxis, Mark, Row, row_axis

NOTHING = Interval(math.nan, math.nan, math.nan)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20))
def test_every_value_has_a_place_between_the_outer_ticks(values: list[float]) -> None:
    axis = Axis(values)
    places = [place for place, _ in axis.ticks]
    assert places == sorted(places)
    assert (places[0], places[-1]) == (0.0, 100.0)
    assert 3 <= len(places) <= 8
    assert all(0 <= axis(value) <= 100 for value in values)


def test_ticks_are_round() -> None:
    assert [text for _, text in Axis([0.0, 0.234]).ticks] == ["0.00", "0.05", "0.10", "0.15", "0.20", "0.25"]
    assert [text for _, text in Axis([0, 3], whole=True).ticks] == ["0", "1", "2", "3"]


@pytest.mark.parametrize("values", [[], [math.nan], [7.0], [0.0, 0.0]])
def test_an_axis_of_nothing_or_of_one_value_is_drawn_all_the_same(values: list[float]) -> None:
    axis = Axis(values)
    assert len(axis.ticks) >= 2
    assert all(math.isfinite(place) for place, _ in axis.ticks)


@given(st.lists(st.floats(1e-4, 1e6), min_size=1, max_size=20))
def test_a_logarithmic_axis_holds_every_value_between_powers_of_ten(values: list[float]) -> None:
    axis = LogAxis(values)
    places = [place for place, _ in axis.ticks]
    assert places == sorted(set(places))
    assert (places[0], places[-1]) == (0.0, 100.0)
    assert 2 <= len(places) <= 8
    assert all(0 <= axis(value) <= 100 for value in values)
    assert [axis(value) for value in sorted(values)] == sorted(axis(value) for value in values)


def test_equal_ratios_are_equal_distances() -> None:
    axis = LogAxis([0.02, 30.0])
    assert [text for _, text in axis.ticks] == ["0.01", "0.1", "1", "10", "100"]
    assert axis(1.0) - axis(0.1) == axis(10.0) - axis(1.0) == 25.0
    assert [text for _, text in LogAxis([2.0]).ticks] == ["1", "2", "5", "10"]


@pytest.mark.parametrize("values", [[], [math.nan], [0.0], [1.0, 0.0]])
def test_what_is_not_positive_is_at_the_lower_end(values: list[float]) -> None:
    axis = LogAxis(values)
    assert len(axis.ticks) >= 2
    assert axis(0.0) == 0.0


def test_rows_leave_out_figures_that_do_not_exist_and_share_an_axis_from_zero() -> None:
    there = Mark(COLOURS + 1, Interval(0.2, 0.1, 0.4))
    row = Row("mf", [there, Mark(0, NOTHING)])
    assert row.shown == [there]
    assert there.colour == "s1", "colours start again"
    axis = row_axis([row, Row("none", [Mark(0, NOTHING)])])
    assert axis(0.0) == 0.0
    assert axis(0.4) == 100.0
