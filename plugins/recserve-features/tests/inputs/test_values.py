"""Labels and numbers of items, and sums by key."""

from __future__ import annotations

import numpy as np
import pytest
from recserve_features.inputs import values
from recserve_features.inputs.values import ItemLabels, Sums, labels_of, numbers

from recserve import AttributeColumn

GENRES = AttributeColumn.of([["a", "b"], None, "b", ["c", "a", "c"], []])


def test_labels_of_lists_texts_and_nothing() -> None:
    labels = ItemLabels.of(GENRES)
    assert labels.size == 3
    assert np.diff(labels.offsets).tolist() == [2, 0, 1, 2, 0]
    assert labels.single().tolist() == [0, -1, 1, 2, -1]
    assert labels_of(["x", 1, None, {"no": "label"}, "x"]) == ["x", "1"]


def test_a_mean_over_the_labels_of_each_item() -> None:
    labelled = ItemLabels.of(GENRES).spread(np.array([3, 1, 0, 0], dtype=np.int64))
    worth = np.array([10.0, 20.0, 40.0])
    np.testing.assert_array_equal(labelled.mean(worth[labelled.codes]), [25.0, np.nan, 15.0, 15.0])


def test_each_item_can_be_its_own_label() -> None:
    labelled = ItemLabels.identity(4).spread(np.array([2, 0], dtype=np.int64))
    assert labelled.codes.tolist() == [2, 0]


def test_numbers_are_missing_where_there_is_none() -> None:
    column = AttributeColumn.of([1999, None, "1999", True, 2.5])
    np.testing.assert_array_equal(numbers(column), np.array([1999, np.nan, np.nan, 1, 2.5], np.float32))


@pytest.mark.parametrize("dense", [100, 0])
def test_sums_are_the_same_dense_or_sorted(monkeypatch: pytest.MonkeyPatch, dense: int) -> None:
    monkeypatch.setattr(values, "DENSE", dense)
    sums = Sums.of(np.array([7, 2, 7]), np.array([1.0, 2.0, 0.5]), 9)
    assert sums.at(np.array([7, 2, 0, 8])).tolist() == [1.5, 2.0, 0.0, 0.0]
    nothing = Sums.of(np.empty(0, np.int64), np.empty(0), 9)
    assert nothing.at(np.array([3])).tolist() == [0.0]
