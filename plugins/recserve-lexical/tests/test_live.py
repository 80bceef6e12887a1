"""Items that are written after training: found by their words at once, whatever the encoder says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from recserve_lexical.parameters import LexicalParams
from recserve_lexical.retriever import LexicalRetriever

from recserve import Catalogue, FitContext, Histories, Item, Queries
from recserve.config import PipelineConfig, RetrieverConfig
from recserve.serving.scenario import Scenario
from recserve.serving.stages.retrieval import RetrievalStage
from recserve.serving.state.live_catalogue import CatalogueFollower
from recserve.store import ItemPatch, Store, open_store
from recserve.testing import dataset_of

ITEMS = [Item("a", {"title": "苹果手机"}), Item("b", {"title": "华为手机"}), Item("c", {"title": "电饭煲"})]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(None, tmp_path) as opened:
        yield opened


class Search:
    """A scenario with the retriever alone, over a store whose catalogue changes."""

    def __init__(self, store: Store, vectors: bool) -> None:
        store.upsert_items(ITEMS)
        self._store, self._since = store, store.pulse().catalogue
        self._catalogue = Catalogue.of(ITEMS, np.eye(3, dtype=np.float32) if vectors else None)
        self._retriever = LexicalRetriever(LexicalParams(), self._catalogue)
        data = dataset_of([(0, 0, 1.0)], 3).with_catalogue(self._catalogue)
        self._retriever.fit(data, FitContext())

    def find(self, text: str) -> list[str]:
        """Ids of what is found now, best first."""
        live = CatalogueFollower(self._catalogue, self._store, self._since, "some encoder")
        scenario = Scenario(
            PipelineConfig(retrievers=(RetrieverConfig(use="lexical"),)), {"lexical": self._retriever}, {}
        )
        plain = Queries.of(Histories.empty(1), np.zeros(1, dtype=np.int64))
        queries = replace(plain, texts=(text,), live_version=self._store.pulse().catalogue)
        result = RetrievalStage({"search": scenario}, live=live).retrieve("search", queries)
        assert not result.degraded
        ids = live.view.catalogue.ids.ids
        return [ids[row] for row in result.candidates.items[0] if row >= 0]


@pytest.mark.parametrize("vectors", [True, False])
def test_what_is_written_is_found_and_what_is_gone_is_not(store: Store, vectors: bool) -> None:
    search = Search(store, vectors)
    assert search.find("手机") == ["a", "b"]
    store.upsert_items([Item("new", {"title": "折叠手机"})])
    assert sorted(search.find("手机")) == ["a", "b", "new"]
    store.patch_items([ItemPatch("b", {"title": "华为平板"})])
    assert sorted(search.find("手机")) == ["a", "new"]
    assert search.find("平板") == ["b"]
    store.delete_items(["new"])
    assert search.find("手机") == ["a"]
