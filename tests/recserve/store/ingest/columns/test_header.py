"""Columns get distinct names; only those that are read must have one of their own."""

from __future__ import annotations

import pytest

from recserve.errors import DataError
from recserve.store.ingest.columns.header import UNNAMED, distinct_names


def test_columns_without_a_name_are_called_after_their_place() -> None:
    names = distinct_names(["", "a", ""], "f.csv")
    assert names == ["Unnamed: 0", "a", "Unnamed: 2"]
    assert [bool(UNNAMED.fullmatch(name)) for name in names] == [True, False, True]


def test_equal_names_are_refused_where_they_are_read() -> None:
    with pytest.raises(DataError, match=r"f\.csv has two columns called 'a'") as caught:
        distinct_names(["a", "b", "a"], "f.csv")
    assert caught.value.field == "a"
    assert distinct_names(["a", "b", "a", "a"], "f.csv", wanted={"b"}) == ["a", "b", "a (2)", "a (3)"]
    with pytest.raises(DataError):
        distinct_names(["a", "b", "a"], "f.csv", wanted={"a"})
