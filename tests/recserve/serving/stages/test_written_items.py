"""Retrievers by attributes find what was written a moment ago, and not what is no longer so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from recserve import (
    Catalogue,
    Histories,
    Item,
    Queries,
    Retrieved,
    RetrievesWrittenItems,
    mask_columns,
    top_k,
)
from recserve.config import PipelineConfig, RetrieverConfig
from recserve.data.arrays import Int32Array
from recserve.serving.scenario import Scenario
from recserve.serving.stages.retrieval import RetrievalStage
from recserve.serving.state.live_catalogue import CatalogueFollower
from recserve.store import ItemPatch, Store, open_store

BASE = [Item(f"b{n}", {"shelf": "top" if n < 2 else "low"}) for n in range(4)]


class TopShelf:
    """Finds what stands on the top shelf."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    def retrieve(self, queries: Queries, k: int) -> Retrieved:
        rows = np.arange(len(self._catalogue), dtype=np.int32)
        return self.retrieve_written(queries, rows, self._catalogue, k)

    def retrieve_written(self, queries: Queries, rows: Int32Array, catalogue: Catalogue, k: int) -> Retrieved:
        top = np.array([catalogue.item(row).attributes.get("shelf") == "top" for row in rows])
        scores = np.tile(np.where(top, 1.0, -np.inf).astype(np.float32), (len(queries), 1))
        columns, best = top_k(mask_columns(scores, rows, queries), k)
        return Retrieved.of(np.where(columns >= 0, rows[columns], -1).astype(np.int32), best)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(None, tmp_path) as opened:
        yield opened


def test_what_is_written_is_found_as_it_is_now(store: Store) -> None:
    store.upsert_items(BASE)
    catalogue = Catalogue.of(BASE)
    live = CatalogueFollower(catalogue, store, store.pulse().catalogue, None)
    retriever = TopShelf(catalogue)
    assert isinstance(retriever, RetrievesWrittenItems)
    config = PipelineConfig(retrievers=(RetrieverConfig(use="shelf"),))
    stage = RetrievalStage({"home": Scenario(config, {"shelf": retriever}, {})}, live=live)

    def found() -> set[str]:
        live._rebuild_at = 0.0  # now, whatever the pause between rebuilds says
        version = store.pulse().catalogue
        plain = Queries.of(Histories.empty(1), np.zeros(1, dtype=np.int64))
        result = stage.retrieve("home", replace(plain, live_version=version))
        assert not result.degraded
        ids = live.at_least(version).catalogue.ids
        rows = result.candidates.items[0]
        return {ids.ids[row] for row in rows[rows >= 0]}

    assert found() == {"b0", "b1"}
    store.upsert_items([Item("new", {"shelf": "top"}), Item("other", {"shelf": "low"})])
    assert found() == {"b0", "b1", "new"}
    store.upsert_items([Item("b1", {"shelf": "low"}), Item("b3", {"shelf": "top"})])
    assert found() == {"b0", "b3", "new"}
    store.patch_items([ItemPatch("new", hidden=True)])
    store.delete_items(["b0"])
    assert found() == {"b3"}
