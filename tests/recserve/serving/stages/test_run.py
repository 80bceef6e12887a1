"""The stages of one batch, called as serving and evaluation call them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recserve import Candidates, Queries
from recserve.config import PipelineConfig, RetrieverConfig
from recserve.data.arrays import Int32Array
from recserve.data.batches import Histories
from recserve.serving.guard.calls import GuardedCalls
from recserve.serving.stages.run import Seen, StageBatch, StageResult, completed, run_stages
from recserve.serving.stages.trace import Trace
from recserve.store import open_store
from tests.support.pipelines import Counted, Lab

DAY = 86_400_000
NOW = 1_700_000_000_000


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with open_store(None, tmp_path) as store:
        yield Lab(store)


def histories(*lists: Sequence[tuple[int, int]]) -> Histories:
    """Views of (row, days ago)."""
    flat = [event for events in lists for event in events]
    offsets = np.concatenate([[0], np.cumsum([len(events) for events in lists])]).astype(np.int64)
    return Histories(
        offsets,
        np.array([row for row, _ in flat], dtype=np.int32),
        np.zeros(len(flat), dtype=np.int16),
        np.ones(len(flat), dtype=np.float32),
        np.array([NOW - days * DAY for _, days in flat], dtype=np.int64),
    )


def batch(
    lab: Lab, *lists: Sequence[tuple[int, int]], seen: Seen = "allow", n: int = 3, **fields: Any
) -> StageBatch:
    size = len(lists)
    config = PipelineConfig(
        retrievers=(RetrieverConfig(use="near"),), ranker={"use": "by_row"}, seen_half_life_days=10.0
    )
    given = StageBatch(
        name="home",
        bundle="b1",
        config=config,
        rerankers=(),
        fallback=Counted(12),
        allowed=[None] * size,
        view=lab.live.view,
        served=None,
        queries=Queries.of(histories(*lists), np.full(size, NOW, dtype=np.int64)),
        counts=np.full(size, n, dtype=np.int64),
        seen=[seen] * size,
    )
    return replace(given, **fields)


def run(lab: Lab, given: StageBatch) -> tuple[StageResult, Trace]:
    trace = Trace()
    return asyncio.run(run_stages(given, lab.client, GuardedCalls(), trace)), trace


def test_retrieved_candidates_are_ranked(lab: Lab) -> None:
    result, trace = run(lab, batch(lab, [(3, 1)]))
    assert lab.client.calls == ["retrieval", "ranking"]
    assert list(trace.degraded) == []
    assert set(result.candidates.items[0]) == set(range(12))
    assert result.page.items[0, :3].tolist() == [11, 10, 9], "this ranker prefers high rows"


def test_a_lost_ranker_leaves_the_order_of_retrieval(lab: Lab) -> None:
    lab.client.broken = {"ranking"}
    result, trace = run(lab, batch(lab, [(3, 1)]))
    assert list(trace.degraded) == ["ranking"]
    assert result.page.items.tolist() == result.candidates.items.tolist()
    assert result.page.items[0, 0] == 3, "nearest to the newest item of the history"


def test_lost_retrieval_is_topped_up_and_not_ranked(lab: Lab) -> None:
    lab.client.broken = {"retrieval"}
    result, trace = run(lab, batch(lab, [(3, 1)], [], n=4))
    assert list(trace.degraded) == ["retrieval"]
    assert lab.client.calls == ["retrieval"]
    assert result.candidates.items.shape == (2, 0)
    assert result.page.items[:, :4].tolist() == [[0, 1, 2, 3]] * 2
    assert result.page.sources == ("popular",)


def test_candidates_that_callers_bring_are_neither_retrieved_nor_topped_up(lab: Lab) -> None:
    items = np.array([[2, 7, 5]], dtype=np.int32)
    scores = np.zeros((1, 3), dtype=np.float32)
    brought = Candidates(items, scores, ("request",), scores[:, :, None], np.full((1, 3), -1, dtype=np.int32))
    result, _ = run(lab, batch(lab, [], given=brought, n=10))
    assert lab.client.calls == ["ranking"]
    assert result.page.items.tolist() == [[7, 5, 2]]


def test_items_that_may_not_be_returned_go_even_if_a_replica_is_behind(lab: Lab) -> None:
    served = np.ones(12, dtype=np.bool_)
    served[[10, 11]] = False
    result, _ = run(lab, batch(lab, [(3, 1)], served=served))
    assert not {10, 11} & set(result.page.items[0].tolist())
    assert result.page.items[0, 0] == 9


def test_seen_items_decay_the_further_the_more_recent_they_are(lab: Lab) -> None:
    result, _ = run(lab, batch(lab, [(11, 0), (10, 1000)], [], seen="decay"))
    mine, strangers = result.page.items.tolist()
    assert strangers == list(range(11, -1, -1))
    assert mine[0] == 10, "seen long ago: as good as new"
    assert mine[-1] == 11, "seen just now: a whole list further down"
    assert sorted(mine) == sorted(strangers)


class Reverse:
    def rerank(self, queries: Queries, ranked: Candidates, n: int) -> Int32Array:
        width = ranked.items.shape[1]
        return np.tile(np.arange(width - 1, -1, -1, dtype=np.int32), (len(queries), 1))


class Broken:
    def rerank(self, queries: Queries, ranked: Candidates, n: int) -> Int32Array:
        raise KeyError("no such thing")


def test_rerankers_follow_one_another_and_a_broken_one_is_skipped(lab: Lab) -> None:
    rules = [("reverse", Reverse()), ("broken", Broken())]
    result, trace = run(lab, batch(lab, [(3, 1)], rerankers=rules))
    assert list(trace.degraded) == ["reranker:broken"]
    assert result.page.items.tolist() == [[0, 1, 2]]
    assert result.ranked.items[0, 0] == 11, "what the ranker said stays known"


async def at_once() -> int:
    return 7


def test_stages_that_never_wait_need_no_event_loop() -> None:
    assert completed(at_once()) == 7
    with pytest.raises(RuntimeError, match="only an event loop can bring"):
        completed(asyncio.sleep(0))
