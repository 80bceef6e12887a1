"""Ranking stage: comparing users for an item."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from recserve.config import PipelineConfig, RetrieverConfig
from recserve.data.batches import Histories, Queries
from recserve.errors import InvalidRequestError, StageError
from recserve.serving.scenario import Scenario
from recserve.serving.stages.ranking import RankingStage

QUERIES = Queries.of(Histories.empty(3), np.zeros(3, dtype=np.int64))


class ComparesUsers:
    """Says what it is told to."""

    def __init__(self, said: Any) -> None:
        self._said = said

    def affinity(self, queries: Queries, item: int) -> Any:
        return self._said


def stage(ranker: Any) -> RankingStage:
    config = PipelineConfig(retrievers=(RetrieverConfig(use="popular"),))
    return RankingStage({"home": Scenario(config, {}, {}, ranker)})


def test_affinities_are_those_of_the_ranker() -> None:
    said = np.array([1.0, -np.inf, 2.0], dtype=np.float32)
    np.testing.assert_array_equal(stage(ComparesUsers(said)).affinity("home", QUERIES, 5), said)


@pytest.mark.parametrize("ranker", [None, object()])
def test_a_ranker_that_cannot_compare_users_is_named(ranker: Any) -> None:
    with pytest.raises(InvalidRequestError, match="ranker of scenario 'home' cannot compare users") as caught:
        stage(ranker).affinity("home", QUERIES, 5)
    assert caught.value.field == "scenario"


@pytest.mark.parametrize(
    "said",
    [
        None,
        np.zeros((3, 1), dtype=np.float32),
        np.zeros(2, dtype=np.float32),
        np.zeros(3, dtype=np.int64),
        np.array([0.0, np.nan, 1.0]),
        np.array([0.0, np.inf, 1.0]),
    ],
)
def test_what_breaks_the_contract_is_refused(said: Any) -> None:
    with pytest.raises(StageError, match="affinit"):
        stage(ComparesUsers(said)).affinity("home", QUERIES, 5)
