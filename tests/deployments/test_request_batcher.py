"""What is known is answered at once, and what has to be made is made once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from recserve_deployments.batching import RequestBatcher

from recserve.config import ServerConfig
from recserve.data.batches import Queries
from recserve.errors import NotFoundError, NotReadyError, OverloadedError, RecserveError
from recserve.experiments.definition import Parameters
from recserve.serving.pipeline import Pipeline
from recserve.serving.requests.request import Recommendation, Request
from recserve.serving.stages.retrieval import RetrievalResult
from recserve.serving.state.result_cache import ResultCache
from recserve.store import Store, key_of, open_store
from tests.support.pipelines import ITEMS, Lab, view


class Desk:
    """Answers over real stages, of which retrieval does not end before it is told to."""

    def __init__(self, store: Store, **limits: Any) -> None:
        self.lab = Lab(store, cache=ResultCache(100, 60.0))
        self.gate = asyncio.Event()
        self.gate.set()
        self.retrieved: list[int] = []
        self.noted: list[tuple[Request, Recommendation]] = []
        self._retrieve = self.lab.client.retrieve
        self.lab.client.retrieve = self._held  # type: ignore[method-assign]
        self.pipeline = self.lab.pipeline
        self.answers = RequestBatcher(ServerConfig(**limits), lambda request: self.pipeline, self._note)

    async def _held(
        self, bundle: str, scenario: str, queries: Queries, n: int, parameters: Parameters | None = None
    ) -> RetrievalResult:
        self.retrieved.append(len(queries))
        await self.gate.wait()
        return await self._retrieve(bundle, scenario, queries, n, parameters)

    def _note(self, pipeline: Pipeline, served: Sequence[tuple[Request, Recommendation]], asked: int) -> None:
        assert pipeline is self.pipeline
        self.noted.extend(served)

    def ask(self, user_id: str | None = "u", **fields: Any) -> asyncio.Task[Recommendation]:
        return asyncio.create_task(self.answers.answer(Request(user_id=user_id, **fields)))

    async def until_held(self, calls: int) -> None:
        while len(self.retrieved) < calls:
            await asyncio.sleep(0.001)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(None, tmp_path) as opened:
        opened.add_events([view("u", "i3"), view("v", "i4")])
        yield opened


def within(store: Store, scene: Callable[[Desk], Awaitable[None]], **limits: Any) -> Desk:
    """Play a scene; a hang fails."""

    async def play() -> Desk:
        desk = Desk(store, **limits)
        await asyncio.wait_for(scene(desk), 20)
        desk.gate.set()
        await desk.answers.close()
        return desk

    return asyncio.run(play())


def test_a_known_answer_does_not_wait_for_those_that_are_being_made(store: Store) -> None:
    async def scene(desk: Desk) -> None:
        first = await desk.ask("u")
        desk.gate.clear()
        slow = [desk.ask("v", n=n) for n in range(1, 6)]
        await desk.until_held(3)  # both batches of stages are taken, and others wait
        again = await desk.ask("u")
        assert again.items == first.items
        assert again.recommendation_id != first.recommendation_id
        assert not any(one.done() for one in slow)
        assert len(desk.answers) >= 1
        desk.gate.set()
        assert [len((await one).items) for one in slow] == [1, 2, 3, 4, 5]

    within(store, scene, max_batch=1, batches_in_flight=2)


def test_what_many_ask_for_is_made_once_and_noted_for_each(store: Store) -> None:
    async def scene(desk: Desk) -> None:
        desk.gate.clear()
        tasks = [desk.ask("u")]
        await desk.until_held(1)
        tasks += [desk.ask("u") for _ in range(4)]
        await asyncio.sleep(0.05)
        desk.gate.set()
        answers = [await one for one in tasks]
        assert desk.retrieved == [1]
        assert all(one.items == answers[0].items for one in answers)
        assert len({one.recommendation_id for one in answers}) == 5

    desk = within(store, scene, max_batch=1)
    assert len({answer.recommendation_id for _, answer in desk.noted}) == len(desk.noted) == 5


def test_another_history_or_catalogue_is_not_answered_with_what_is_under_way(store: Store) -> None:
    async def scene(desk: Desk) -> None:
        desk.gate.clear()
        first = desk.ask("u", n=12)
        await desk.until_held(1)
        store.add_events([view("u", "i7")])
        second = desk.ask("u", n=12)
        await desk.until_held(2)
        store.upsert_items([replace(ITEMS[9], hidden=True)])
        third = desk.ask("u", n=12)
        await desk.until_held(3)
        desk.gate.set()
        lists = [[item.item_id for item in (await one).items] for one in (first, second, third)]
        assert "i7" in lists[0]
        assert "i7" not in lists[1]
        assert "i9" not in lists[2]

    within(store, scene, max_batch=1, batches_in_flight=4)


def test_who_stops_waiting_does_not_stop_the_others(store: Store) -> None:
    async def scene(desk: Desk) -> None:
        desk.gate.clear()
        first = desk.ask("u")
        await desk.until_held(1)
        others = [desk.ask("u") for _ in range(3)]
        await asyncio.sleep(0.05)
        others[0].cancel()
        first.cancel()
        await desk.until_held(2)  # one of the others has it made in its place
        desk.gate.set()
        assert (await others[1]).items == (await others[2]).items
        assert desk.retrieved == [1, 1]

    within(store, scene, max_batch=1)


@pytest.mark.parametrize("fields", [{"user_id": None, "item_id": "nobody knows it"}])
def test_an_error_is_everybodys(store: Store, fields: dict[str, Any]) -> None:
    async def scene(desk: Desk) -> None:
        desk.gate.clear()
        first = desk.ask(**fields)
        await desk.until_held(1)
        other = desk.ask(**fields)
        await asyncio.sleep(0.05)
        desk.gate.set()
        found = await asyncio.gather(first, other, return_exceptions=True)
        assert [type(one) for one in found] == [NotFoundError, NotFoundError]
        assert desk.retrieved == [1]

    assert within(store, scene, max_batch=1).noted == []


def test_a_full_queue_of_stages_refuses_only_what_they_would_have_to_make(store: Store) -> None:
    async def scene(desk: Desk) -> None:
        await desk.ask("u")
        desk.gate.clear()
        slow = [desk.ask("v", n=1)]
        await desk.until_held(2)
        slow += [desk.ask("v", n=n) for n in (2, 3)]
        await asyncio.sleep(0.05)
        with pytest.raises(OverloadedError):
            await desk.ask("v", n=4)
        assert (await desk.ask("u")).items
        desk.gate.set()
        assert [len((await one).items) for one in slow] == [1, 2, 3]

    within(store, scene, max_batch=1, batches_in_flight=1, max_queue=2)


def test_a_request_stays_with_the_pipeline_that_it_began_with(store: Store) -> None:
    async def scene(desk: Desk) -> None:
        old, told = desk.pipeline, []
        desk.answers._note = lambda pipeline, served, asked: told.append(pipeline)
        desk.gate.clear()
        blocking = desk.ask("v")
        await desk.until_held(1)
        waiting = desk.ask("u")
        await asyncio.sleep(0.05)
        desk.pipeline = Lab(store).pipeline
        later = desk.ask("u", n=3)
        desk.gate.set()
        await asyncio.gather(blocking, waiting, later)
        assert [pipeline is old for pipeline in told].count(True) == 2
        assert [pipeline is desk.pipeline for pipeline in told].count(True) == 1

    within(store, scene, max_batch=8, batches_in_flight=1)


def test_after_closing_everything_is_refused(store: Store) -> None:
    async def scene(desk: Desk) -> None:
        await desk.answers.close()
        with pytest.raises(RecserveError, match="shutting down"):
            await desk.ask("u")

    within(store, scene)


def test_an_answer_that_was_being_made_for_somebody_forgotten_is_not_kept(store: Store) -> None:
    async def scene(desk: Desk) -> None:
        cache = desk.lab.pipeline.cache
        desk.gate.clear()
        tasks = [desk.ask("u"), desk.ask("v")]
        await desk.until_held(1)
        desk.pipeline.forget(key_of("u"))
        desk.gate.set()
        await asyncio.gather(*tasks)
        assert cache.users() == set()
        await desk.ask("v")
        assert cache.users() == {"v"}

    within(store, scene)


def test_requests_of_one_batch_may_be_answered_by_several_pipelines(store: Store) -> None:
    """Such as those of arms with bundles of their own; one whose bundle is gone fails alone."""

    async def scene(desk: Desk) -> None:
        other = Lab(store).pipeline

        def pipeline_of(request: Request) -> Pipeline:
            if request.n == 3:
                raise NotReadyError("bundle b2 is not loaded")
            return other if request.n == 2 else desk.pipeline

        noted: list[tuple[Pipeline, int]] = []
        answers = RequestBatcher(
            ServerConfig(),
            pipeline_of,
            lambda pipeline, served, asked: noted.extend((pipeline, request.n) for request, _ in served),
        )
        tasks = [asyncio.create_task(answers.answer(Request(user_id="u", n=n))) for n in (1, 2, 3, 4, 2)]
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(found[2], NotReadyError)
        assert [len(one.items) for one in found if isinstance(one, Recommendation)] == [1, 2, 4, 2]
        assert {n: pipeline is other for pipeline, n in noted} == {1: False, 2: True, 4: False}
        assert not answers.busy
        await answers.close()

    within(store, scene)
