"""The order that training chose holds for requests that go by a history alone."""

from __future__ import annotations

import numpy as np
import pytest

from recserve import Catalogue, Histories, Queries
from recserve.bundles.manifest import OrderEntry
from recserve.config import PipelineConfig, RetrieverConfig
from recserve.serving.scenario import Scenario
from recserve.serving.stages.ranking import RankingStage
from recserve.serving.stages.retrieval import RetrievalStage
from tests.support.pipelines import ITEMS, VECTORS, ByRow, Counted, Nearest

PLAIN, TEXT, ANCHOR = 0, 1, 2


@pytest.fixture
def queries() -> Queries:
    """Three users who had item 5; one says no more, one has a text, one asks for similar items."""
    histories = Histories(
        np.arange(4),
        np.full(3, 5, np.int32),
        np.zeros(3, np.int16),
        np.ones(3, np.float32),
        np.zeros(3, np.int64),
    )
    texts = np.zeros((3, 16), np.float32)
    texts[TEXT, 7] = 1
    anchors = np.array([-1, -1, 8], np.int32)
    return Queries.of(histories, np.full(3, 1), anchors=anchors, text_vectors=texts)


def scenario(order: OrderEntry | None) -> Scenario:
    config = PipelineConfig(
        retrievers=(RetrieverConfig(use="near", weight=50.0), RetrieverConfig(use="popular")),
        ranker={"use": "by_row"},
    )
    retrievers = {"near": Nearest(Catalogue.of(ITEMS, VECTORS)), "popular": Counted(len(ITEMS))}
    return Scenario(config, retrievers, {}, ByRow(), order=order)


def test_chosen_weights_are_for_plain_requests(queries: Queries) -> None:
    configured = RetrievalStage({"home": scenario(None)}).retrieve("home", queries).candidates
    order = OrderEntry(weights={"near": 1e-4, "popular": 1.0}, ranked=False)
    chosen = RetrievalStage({"home": scenario(order)}).retrieve("home", queries).candidates
    assert chosen.items[PLAIN].tolist() == sorted(chosen.items[PLAIN].tolist())
    assert configured.items[PLAIN][0] == 5
    for row in (TEXT, ANCHOR):
        assert np.array_equal(chosen.items[row], configured.items[row])


def test_a_ranker_that_was_not_chosen_still_ranks_what_has_a_text_or_an_anchor(queries: Queries) -> None:
    order = OrderEntry(ranked=False)
    candidates = RetrievalStage({"home": scenario(order)}).retrieve("home", queries).candidates
    by_ranker = RankingStage({"home": scenario(None)}).score("home", queries, candidates)
    scores = RankingStage({"home": scenario(order)}).score("home", queries, candidates)
    assert np.array_equal(scores[PLAIN], candidates.scores[PLAIN])
    assert not np.array_equal(scores[PLAIN], by_ranker[PLAIN])
    assert np.array_equal(scores[TEXT:], by_ranker[TEXT:])
    ranked = RankingStage({"home": scenario(OrderEntry(ranked=True))}).score("home", queries, candidates)
    assert np.array_equal(ranked, by_ranker)
