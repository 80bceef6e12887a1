"""Columns of attributes: a sequence like any other, with equal values kept once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recserve import AttributeColumn
from recserve.data.columns import attributes as module

SCALARS = (
    st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from([0.0, -0.0, 1.0, 0.5, "", "1", "a"])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=4,
)


def exact(values: Any) -> list[str]:
    """Values so that true, 1 and 1.0 are told apart, and 0.0 from -0.0."""
    return [repr(value) for value in values]


@pytest.fixture(params=[None, 3], ids=["plain", "packed"])
def packed_from(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Columns of few values, and such whose values are too many to be kept as objects."""
    if request.param is not None:
        monkeypatch.setattr(module, "COMPACT_FROM", request.param)


@pytest.mark.usefixtures("packed_from")
def test_a_column_is_the_sequence_it_was_made_of() -> None:
    @given(st.lists(VALUES, max_size=12))
    def check(values: list[Any]) -> None:
        column = AttributeColumn.of(values)
        assert len(column) == len(values)
        assert exact(column) == exact(values)
        assert exact(column[place] for place in range(-len(values), len(values))) == exact(2 * values)
        assert exact(column[1:-1]) == exact(values[1:-1])
        assert exact(column.values[code] for code in column.codes) == exact(values)
        assert column.codes.dtype == np.int32
        assert column.values[0] is None
        # Every value is there once.
        assert len(set(exact(column.values))) == len(column.values) == len({*exact(values), "None"})

    check()


@pytest.mark.usefixtures("packed_from")
def test_a_column_with_other_values_in_some_rows_and_further_ones() -> None:
    @given(st.lists(VALUES, max_size=8), st.dictionaries(st.integers(0, 11), VALUES), st.integers(0, 4))
    def check(values: list[Any], replaced: dict[int, Any], more: int) -> None:
        size = len(values) + more
        replaced = {row: value for row, value in replaced.items() if row < size}
        before = AttributeColumn.of(values)
        after = before.amended(replaced, size)
        expected = [replaced.get(row, value) for row, value in enumerate([*values, *[None] * more])]
        assert exact(after) == exact(expected)
        assert after.values[0] is None
        assert exact(before) == exact(values), "the column itself stays as it is"
        assert exact(after.amended({}, size)) == exact(expected)

    check()


def test_a_column_of_nothing_takes_no_memory() -> None:
    column = AttributeColumn.missing(1_000_000_000)
    assert column[999_999_999] is None
    assert column.codes.strides == (0,)
    small = AttributeColumn.missing(3).amended({1: "x"}, 4)
    assert list(small) == [None, "x", None, None]


def test_what_is_outside_of_a_column_is_an_error() -> None:
    with pytest.raises(IndexError):
        AttributeColumn.of(["a"])[1]
