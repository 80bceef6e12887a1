"""The settings that ``item_knn`` chooses for itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from recserve_neighbours import selection
from recserve_neighbours.items import ItemKnnRetriever, nearest_items
from recserve_neighbours.parameters import ItemKnnParams

from recserve import Dataset, FitContext, FloatArray, Int32Array, Int64Array
from recserve.testing import example_dataset


def fit(data: Dataset, params: ItemKnnParams, context: FitContext | None = None) -> dict[str, object]:
    return dict(ItemKnnRetriever(params, data.catalogue).fit(data, context or FitContext(threads=1)))


def test_the_best_settings_tried_are_taken_and_taken_over() -> None:
    data = example_dataset(n_users=200)
    facts = fit(data, ItemKnnParams())
    validation = facts["validation"]
    assert isinstance(validation, dict)
    assert 2 <= len(validation["fits"]) <= selection.TRIES
    best = max(validation["fits"], key=lambda tried: tried["ndcg@20"])
    names = ("shrink", "neighbours", "weighting")
    assert {name: facts[name] for name in names} == {name: best[name] for name in names}
    assert facts == fit(data, ItemKnnParams()), "the choice is the same for a seed"

    again = fit(data, ItemKnnParams(), replace(FitContext(threads=1), previous=facts))
    assert "validation" not in again
    assert {name: again[name] for name in names} == {name: facts[name] for name in names}


def test_what_is_configured_is_not_searched() -> None:
    data = example_dataset(n_users=200)
    facts = fit(data, ItemKnnParams(shrink=7.0, neighbours=33))
    validation = facts["validation"]
    assert isinstance(validation, dict)
    assert len({tried["weighting"] for tried in validation["fits"]}) > 1
    assert "shrink" not in facts
    whole = fit(data, ItemKnnParams(shrink=7.0, neighbours=33, weighting="none"))
    assert set(whole) == {"items_with_neighbours"}
    assert "validation" not in fit(data, ItemKnnParams(search_share=0))


def test_all_tries_together_compare_no_more_items_than_their_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "FEWEST_ITEMS", 1)
    data = example_dataset(n_users=200)
    compared: list[Int64Array] = []

    def nearest(
        training: Dataset, params: ItemKnnParams, context: FitContext, rows: Int64Array
    ) -> tuple[Int32Array, FloatArray]:
        assert len(training) < len(data)
        compared.append(rows)
        return nearest_items(training, params, context, rows)

    selection.choose(data, ItemKnnParams(search_share=0.5), FitContext(threads=1), nearest)
    assert sum(len(rows) for rows in compared) <= 0.5 * data.n_items
    np.testing.assert_array_equal(compared[0], compared[-1])
