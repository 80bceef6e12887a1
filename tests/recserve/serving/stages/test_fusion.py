"""Merging, filtering, ranking order and reranking of candidates."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recserve import Candidates, Histories, InvalidRequestError, NotFoundError, Queries, Retrieved
from recserve.config import PipelineConfig, RetrieverConfig
from recserve.data.arrays import BoolArray, FloatArray, Int32Array
from recserve.errors import StageError
from recserve.plugin.toolkit.topk import mask_scores, top_k
from recserve.serving.guard.workers import WorkerPool
from recserve.serving.scenario import Scenario
from recserve.serving.stages.fusion import merge, top_up
from recserve.serving.stages.masks import FilterMasks, kept_masks
from recserve.serving.stages.ranking import rank_order, rerank
from recserve.serving.stages.retrieval import Guard, RetrievalStage

N_ITEMS = 30


class Fixed:
    """Ranks the catalogue by fixed scores."""

    def __init__(self, scores: FloatArray, seed: int = -1) -> None:
        self._scores = scores
        self._seed = seed

    def retrieve(self, queries: Queries, k: int) -> Retrieved:
        scores = mask_scores(np.tile(self._scores, (len(queries), 1)), queries)
        items, best = top_k(scores, k)
        return Retrieved(items, best, np.full(items.shape, self._seed, dtype=np.int32))


class Failing:
    def retrieve(self, queries: Queries, k: int) -> Retrieved:
        raise RuntimeError("model exploded")


class Hanging:
    def __init__(self) -> None:
        self.release = threading.Event()

    def retrieve(self, queries: Queries, k: int) -> Retrieved:
        self.release.wait(20)
        raise AssertionError("nobody waits for this answer")


class Even:
    """Allows even items, or those up to the argument."""

    def __init__(self) -> None:
        self.calls = 0

    def allowed(self, argument: Any) -> BoolArray | None:
        self.calls += 1
        if argument is None:
            return None
        if argument == "odd":
            raise InvalidRequestError("odd is not offered", field="filter.even")
        rows = np.arange(N_ITEMS)
        return np.asarray((rows % 2 == 0) & (rows <= argument))


def queries(batch: int, filters: tuple[Mapping[str, Any], ...] | None = None) -> Queries:
    made = Queries.of(Histories.empty(batch), np.zeros(batch, dtype=np.int64))
    return Queries(
        user_ids=made.user_ids,
        histories=made.histories,
        times=made.times,
        anchors=made.anchors,
        excluded=made.excluded,
        filters=filters or ({},) * batch,
        allowed=(None,) * batch,
    )


def stage(retrievers: Mapping[str, Any], budget: int = 10, deadline: float | None = None) -> RetrievalStage:
    config = PipelineConfig(
        retrievers=tuple(RetrieverConfig(use=name, candidates=10) for name in retrievers), budget=budget
    )
    guard = None if deadline is None else Guard(WorkerPool(1), deadline, deadline)
    return RetrievalStage({"home": Scenario(config, retrievers, {"even": Even()})}, guard)


ASCENDING = np.arange(N_ITEMS, dtype=np.float32)

found_rows = st.lists(st.lists(st.integers(0, 9), unique=True, max_size=6), min_size=2, max_size=2)


def retrieved(rows: list[list[int]]) -> Retrieved:
    width = max(1, max(len(row) for row in rows))
    items = np.array([row + [-1] * (width - len(row)) for row in rows], dtype=np.int32)
    scores = np.where(items >= 0, -np.arange(width, dtype=np.float32), -np.inf)
    return Retrieved.of(items, scores.astype(np.float32), np.where(items >= 0, items + 100, -1))


@given(found_rows, found_rows, st.integers(1, 12))
def test_merge_is_reciprocal_rank_fusion(a: list[list[int]], b: list[list[int]], budget: int) -> None:
    merged = merge({"a": retrieved(a), "b": retrieved(b)}, {"a": 1.0, "b": 2.0}, budget)
    for index in range(2):
        expected: dict[int, float] = {}
        for weight, rows in ((1.0, a[index]), (2.0, b[index])):
            for rank, item in enumerate(rows, start=1):
                expected[item] = expected.get(item, 0.0) + weight / (60 + rank)
        order = sorted(expected, key=lambda item: (-expected[item], item))[:budget]
        real = merged.items[index] >= 0
        got = merged.items[index][real].tolist()
        assert len(got) == len(order)
        assert not real[len(got) :].any()
        np.testing.assert_allclose(merged.scores[index][real], [expected[i] for i in order], rtol=1e-6)
        for position, item in enumerate(got):
            assert np.isnan(merged.source_scores[index, position, 0]) == (item not in a[index])
            assert np.isnan(merged.source_scores[index, position, 1]) == (item not in b[index])
            assert merged.evidence[index, position] == item + 100


def test_merge_of_nothing_is_empty() -> None:
    merged = merge({"a": retrieved([[], []])}, {}, 5)
    assert merged.items.shape == (2, 0)


def test_narrow_filter_still_fills_the_page() -> None:
    # Without the filter the best 10 are 29..20; the mask must come before the cut.
    result = stage({"a": Fixed(ASCENDING)}).retrieve("home", queries(2, ({"even": 8}, {})))
    assert result.candidates.items[0].tolist()[:5] == [8, 6, 4, 2, 0]
    assert result.candidates.items[1].tolist() == list(range(29, 19, -1))


def test_masks_are_cached_by_argument_and_refusals_reach_the_caller() -> None:
    even = Even()
    config = PipelineConfig(retrievers=(RetrieverConfig(use="a"),))
    masks = FilterMasks({"home": Scenario(config, {}, {"even": even})})
    assert masks.allowed("home", {"even": 4}) is masks.allowed("home", {"even": 4})
    assert masks.allowed("home", {}) is None
    assert even.calls == 2
    with pytest.raises(InvalidRequestError, match="not offered"):
        masks.allowed("home", {"even": "odd"})


def test_of_many_items_fewer_masks_are_kept() -> None:
    config = PipelineConfig(retrievers=(RetrieverConfig(use="a"),))
    for size, kept in ((30, 256), (1_000_000, 32), (100_000_000, 16)):
        assert kept_masks(size) == kept
    even = Even()
    masks = FilterMasks({"home": Scenario(config, {}, {"even": even})}, 1_000_000, known=N_ITEMS)
    for _ in range(2):
        for limit in range(32):
            masks.allowed("home", {"even": limit})
    assert even.calls == 32
    masks.allowed("home", {"even": 100})
    masks.allowed("home", {"even": 0})
    assert even.calls == 34


def test_failing_retriever_is_left_out_and_named() -> None:
    result = stage({"a": Fixed(ASCENDING), "b": Failing()}).retrieve("home", queries(1))
    assert result.degraded == {"retriever:b": "failed"}
    assert result.candidates.sources == ("a",)
    nothing = stage({"b": Failing()}).retrieve("home", queries(1))
    assert nothing.degraded == {"retriever:b": "failed", "retrieval": "failed"}
    assert nothing.candidates.items.shape == (1, 0)


def test_late_retriever_is_left_out_again_and_again() -> None:
    hanging = Hanging()
    limited = stage({"slow": hanging, "a": Fixed(ASCENDING)}, deadline=0.2)
    try:
        for cause in ("late", "late", "late", "down"):
            result = limited.retrieve("home", queries(1))
            assert result.degraded == {"retriever:slow": cause}
            assert result.candidates.items.shape == (1, 10)
    finally:
        hanging.release.set()


def test_budget_grows_with_the_page() -> None:
    result = stage({"a": Fixed(ASCENDING)}, budget=3).retrieve("home", queries(1), n=25)
    assert result.candidates.items.shape == (1, 25)


def test_unknown_scenario() -> None:
    with pytest.raises(NotFoundError, match=r"unknown scenario 'x' \(known: home\)"):
        stage({"a": Fixed(ASCENDING)}).retrieve("x", queries(1))


def test_short_rows_are_topped_up_below_what_they_have() -> None:
    merged = merge({"a": retrieved([[5, 6, 7], []])}, {}, 10)
    extra = retrieved([[5, 9, 1, 2], [3, 4]])
    filled = top_up(merged, extra, "popular", 4)
    assert filled.items.tolist() == [[5, 6, 7, 9], [3, 4, -1, -1]]
    assert filled.sources == ("a", "popular")
    assert (np.diff(filled.scores[0]) < 0).all()
    assert np.isnan(filled.source_scores[0, :3, 1]).all()
    assert filled.source_scores[0, 3, 1] == extra.scores[0, 1]
    assert top_up(merged, retrieved([[5, 6, 7], []]), "popular", 3) is merged
    assert top_up(Candidates.empty(2), extra, "popular", 2).items.tolist() == [[5, 9], [3, 4]]


def candidates() -> Candidates:
    return merge({"a": retrieved([[5, 6, 7], [8]])}, {}, 10)


def test_rank_order_sorts_real_candidates_and_keeps_pads_last() -> None:
    ranked = rank_order(np.array([[0.1, 0.3, 0.2], [-5.0, 9.0, 9.0]], dtype=np.float32), candidates())
    assert ranked.items.tolist() == [[6, 7, 5], [8, -1, -1]]


@pytest.mark.parametrize("scores", [np.zeros((2, 2)), np.full((2, 3), np.nan)])
def test_impossible_scores_are_refused(scores: FloatArray) -> None:
    with pytest.raises(StageError):
        rank_order(scores.astype(np.float32), candidates())


class Positions:
    def __init__(self, positions: list[list[int]]) -> None:
        self._positions = np.array(positions, dtype=np.int32)

    def rerank(self, queries: Queries, ranked: Candidates, n: int) -> Int32Array:
        return self._positions


def test_rerankers_choose_positions_in_turn() -> None:
    ranked = candidates()
    for reranker in (Positions([[2, 0, 1], [0, -1, -1]]), Positions([[1, 0], [0, -1]])):
        ranked, lost = rerank(reranker, queries(2), ranked, 2)
        assert lost is None
    assert ranked.items.tolist() == [[5, 7], [8, -1]]
    assert ranked.first(1).items.tolist() == [[5], [8]]


@pytest.mark.parametrize(
    ("positions", "problem"), [([[0, 0], [0, -1]], "position twice"), ([[0, 3], [0, -1]], "outside of -1..2")]
)
def test_reranker_may_not_repeat_or_invent(positions: list[list[int]], problem: str) -> None:
    with pytest.raises(StageError, match=problem):
        rerank(Positions(positions), queries(2), candidates(), 2)
