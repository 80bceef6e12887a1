"""A broken plugin, or a request that breaks one, costs itself alone."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recserve import Candidates, Queries, Retrieved
from recserve.config import ServerConfig
from recserve.errors import RecserveError
from recserve.serving.guard.calls import GuardedCalls
from recserve.serving.requests.request import Recommendation, Request
from recserve.store import Store, open_store
from tests.support.pipelines import Counted, Lab, Nearest, Odd, ids


class PanicException(BaseException):
    """What a Rust extension raises when it panics."""


ERRORS = [ValueError("no"), SystemExit(1), KeyboardInterrupt(), RecursionError(), PanicException("rust")]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(None, tmp_path) as opened:
        yield opened


def raising(error: BaseException) -> Callable[..., Any]:
    def call(*arguments: Any) -> Any:
        raise error

    return call


class Evil:
    """A reranker and an explainer that do what they are told."""

    def __init__(self, act: Callable[..., Any]) -> None:
        self.rerank = self.explain = act


@pytest.mark.parametrize("error", ERRORS)
def test_a_filter_that_raises_costs_the_request_that_asks_for_it(
    store: Store, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    monkeypatch.setattr(Odd, "allowed", lambda self, argument: raising(error)() if argument else None)
    evil, good = Lab(store).ask(Request(n=3, filter={"odd": True}), Request(n=3))
    assert isinstance(evil, Recommendation)
    assert isinstance(good, Recommendation)
    assert (evil.items, evil.degraded) == ((), ("filter:odd",)), "what it would have hidden stays hidden"
    assert len(good.items) == 3
    assert good.degraded == ()


@pytest.mark.parametrize("error", ERRORS)
def test_rerankers_and_explainers_may_raise_anything(store: Store, error: BaseException) -> None:
    lab = Lab(store, rerankers=[Evil(raising(error))], explainer=Evil(raising(error)))
    answer = lab.one(n=2)
    assert set(answer.degraded) == {"reranker:rule0", "explaining"}
    assert ids(answer) == ["i11", "i10"]


def positions(*rows: list[int]) -> Callable[..., Any]:
    return lambda queries, ranked, n: np.array([*rows], dtype=np.int32)


@pytest.mark.parametrize(
    "act",
    [
        positions([0, 0]),
        positions([0, 99]),
        positions([0], [1]),
        lambda queries, ranked, n: np.arange(n),
        lambda queries, ranked, n: None,
        lambda queries, ranked, n: np.zeros((1, n)),
    ],
)
def test_a_reranker_that_returns_nonsense_is_left_out_and_the_next_one_is_not(
    store: Store, act: Callable[..., Any]
) -> None:
    lab = Lab(store, rerankers=[Evil(act), Evil(positions([3, 2, 1]))])
    answer = lab.one(n=3)
    assert answer.degraded == ("reranker:rule0",)
    assert ids(answer) == ["i8", "i9", "i10"]


@pytest.mark.parametrize("sentences", [None, [], ["one", 2], "word"])
def test_an_explainer_that_returns_nonsense_is_left_out(store: Store, sentences: Any) -> None:
    answer = Lab(store, explainer=Evil(lambda reasons: sentences)).one(n=2)
    assert answer.degraded == ("explaining",)
    assert {item.explanation for item in answer.items} == {None}


def wrong(queries: Queries, k: int) -> list[Any]:
    batch = len(queries)
    items = np.zeros((batch, 3), dtype=np.int32)
    scores = np.ones((batch, 3), dtype=np.float32)
    distinct = items + np.arange(3, dtype=np.int32)
    return [
        None,
        Retrieved.of(items, scores),
        Retrieved.of(distinct[0], scores[0]),
        Retrieved.of(distinct + 1000, scores),
        Retrieved.of(distinct, scores * np.float32(np.nan)),
        Retrieved.of(distinct.astype(np.float32), scores),  # type: ignore[arg-type]
        Retrieved.of(np.concatenate([distinct, distinct]), np.concatenate([scores, scores])),
    ]


@pytest.mark.parametrize("kind", range(7))
def test_a_retriever_that_returns_nonsense_is_left_out_alone(
    store: Store, monkeypatch: pytest.MonkeyPatch, kind: int
) -> None:
    monkeypatch.setattr(Nearest, "retrieve", lambda self, queries, k: wrong(queries, k)[kind])
    answer = Lab(store).one(n=12)
    assert answer.degraded == ("retriever:near",)
    assert {item.sources for item in answer.items} == {("popular",)}


def test_where_every_retriever_fails_all_are_named_and_the_fallback_answers(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = Lab(store)
    monkeypatch.setattr(Nearest, "retrieve", raising(ValueError("no")))
    counted = Counted.retrieve
    calls: list[int] = []

    def once(self: Counted, queries: Queries, k: int) -> Retrieved:
        calls.append(1)
        if len(calls) == 1:
            raise ValueError("no")
        return counted(self, queries, k)

    monkeypatch.setattr(Counted, "retrieve", once)
    answer = lab.one(n=3)
    assert answer.degraded == ("retriever:near", "retriever:popular", "retrieval")
    assert ids(answer) == ["i0", "i1", "i2"]


def test_a_fallback_that_fails_leaves_the_page_short(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = Lab(store)
    lab.client.broken = {"retrieval"}
    monkeypatch.setattr(Counted, "retrieve", raising(SystemExit()))
    answer = lab.one(n=3)
    assert answer.items == ()
    assert answer.degraded == ("retrieval", "fallback")


@pytest.mark.parametrize("score", [np.nan, np.inf])
def test_scores_that_are_no_numbers_lose_ranking_alone(
    store: Store, monkeypatch: pytest.MonkeyPatch, score: float
) -> None:
    def scored(queries: Queries, candidates: Candidates) -> Any:
        return np.full(candidates.items.shape, score, dtype=np.float32)

    lab = Lab(store)

    async def rank(bundle: str, scenario: str, queries: Queries, candidates: Candidates) -> Any:
        return scored(queries, candidates)

    monkeypatch.setattr(lab.client, "rank", rank)
    answer = lab.one(n=3)
    assert answer.degraded == ("ranking",)
    assert ids(answer) == ["i0", "i1", "i2"]


def test_what_hangs_costs_its_deadline_and_then_nothing_until_it_is_well_again(store: Store) -> None:
    gate = threading.Event()
    server = ServerConfig(reranking_deadline_ms=100, explaining_deadline_ms=100)

    def hang(*arguments: Any) -> Any:
        gate.wait(20)
        return np.tile(np.arange(3, dtype=np.int32), (1, 1))

    lab = Lab(store, rerankers=[Evil(hang)], calls=GuardedCalls(server))
    try:
        for _ in range(3):
            assert lab.one(n=3).degraded == ("reranker:rule0",)
        started = time.perf_counter()
        assert lab.one(n=3).degraded == ("reranker:rule0",)
        assert time.perf_counter() - started < 20, "it does not hang"
    finally:
        gate.set()
    give_up = time.monotonic() + 20
    while lab.one(n=3).degraded:
        assert time.monotonic() < give_up
        time.sleep(0.05)


def test_a_request_that_breaks_the_pipeline_itself_gets_its_error_and_its_neighbours_their_answers(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = Lab(store)
    cause = Request(n=3, user_id="cause")
    retrieve = lab.client.retrieve

    async def broken(bundle: str, scenario: str, queries: Queries, *others: Any) -> Any:
        if "cause" in queries.user_ids:
            raise ZeroDivisionError("a bug")
        return await retrieve(bundle, scenario, queries, *others)

    monkeypatch.setattr(lab.client, "retrieve", broken)
    bad, good = lab.ask(cause, Request(n=3))
    assert isinstance(bad, RecserveError)
    assert bad.status == 500
    assert "ZeroDivisionError" in bad.message
    assert isinstance(good, Recommendation)
    assert len(good.items) == 3


def test_no_plugin_code_runs_on_the_event_loop(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[str] = []

    def noted(call: Callable[..., Any]) -> Callable[..., Any]:
        def note(*arguments: Any) -> Any:
            threads.append(threading.current_thread().name)
            return call(*arguments)

        return note

    lab = Lab(
        store,
        rerankers=[Evil(noted(positions([0, 1, 2])))],
        explainer=Evil(noted(lambda reasons: ["because"] * len(reasons))),
    )
    monkeypatch.setattr(Odd, "allowed", noted(Odd.allowed))
    counted = Counted.retrieve
    lab.client.broken = {"retrieval"}
    monkeypatch.setattr(Counted, "retrieve", noted(counted))
    build = lab.build
    lab.build = noted(build)
    lab.store.upsert_items([])
    answer = lab.one(n=3, filter={"odd": True})
    assert answer.degraded == ("retrieval",)
    assert len(threads) == 4
    assert set(threads) == {"plugin"}


def test_cancelling_a_caller_still_cancels(store: Store) -> None:
    gate = threading.Event()
    lab = Lab(store, rerankers=[Evil(lambda *arguments: gate.wait(20))])

    async def scene() -> None:
        task = asyncio.create_task(lab.pipeline.recommend([Request(n=3)]))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(scene())
    gate.set()
