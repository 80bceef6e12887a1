"""The asynchronous client has the same calls and does the same."""

from __future__ import annotations

import asyncio
import inspect
from dataclasses import asdict

import pytest
from recserve_client import AsyncClient, Client, EventsNotRecordedError, NoAnswerError, NotFoundError, Retries

from tests.clients.conftest import Live


def methods(kind: type[object]) -> dict[str, inspect.Signature]:
    return {
        name: inspect.signature(function)
        for name, function in inspect.getmembers(kind, inspect.isfunction)
        if not name.startswith("_")
    }


def test_both_clients_have_the_same_calls() -> None:
    waiting, asynchronous = methods(Client), methods(AsyncClient)
    assert set(waiting) == set(asynchronous)
    for name, signature in waiting.items():
        assert signature.parameters == asynchronous[name].parameters, name
        returns = str(asynchronous[name].return_annotation)
        assert returns.removeprefix("Async") == signature.return_annotation, name
        function = getattr(AsyncClient, name)
        is_generator = name.startswith("iter_")
        assert inspect.isasyncgenfunction(function) if is_generator else inspect.iscoroutinefunction(function)


def test_calls_beside_one_another(live: Live) -> None:
    async def run() -> None:
        async with AsyncClient(live.url) as client:
            await client.record_event({"user_id": "ada", "item_id": "260", "event": "like"})
            pages = await asyncio.gather(*(client.recommend(user_id="ada", n=3) for _ in range(8)))
            assert {len(page.items) for page in pages} == {3}
            listed = [item.item_id async for item in client.iter_items(limit=10)]
            assert len(set(listed)) == 25
            assert "recserve_requests_total" in await client.metrics()
            with Client(live.url) as waiting:
                assert asdict(await client.item("260")) == asdict(waiting.item("260"))
            with pytest.raises(NotFoundError):
                await client.item("nothing")

    asyncio.run(run())


def test_it_waits_and_sends_again(live: Live) -> None:
    async def run() -> None:
        async with AsyncClient(live.url) as client:
            live.faults.planned = [(503, "overloaded", {"Retry-After": "0"}), (429, "rate_limited", {})]
            assert (await client.live()).status == "live"
            assert len(live.faults.paths) == 3
            live.faults.planned, live.faults.after = [(503, "outcome_unknown", {})], True
            recorded = await client.record_events(
                ({"user_id": "bob", "item_id": "1", "event": "view"} for _ in range(3)), batch=2
            )
            assert (recorded.accepted, recorded.stored, recorded.duplicates) == (3, 1, 2)

    asyncio.run(run())


def test_it_gives_up(live: Live) -> None:
    async def run() -> None:
        async with AsyncClient(live.url, timeout=0.2, retries=Retries(attempts=2, first=0.0)) as client:
            live.faults.planned = ["hang", "hang"]
            with pytest.raises(NoAnswerError) as failed:
                await client.live()
            assert (failed.value.attempts, failed.value.maybe_done) == (2, True)
            live.faults.planned = [(503, "overloaded", {})] * 2
            with pytest.raises(EventsNotRecordedError) as lost:
                await client.record_events([{"user_id": "b", "item_id": "1", "event": "view"}])
            assert len(lost.value.remaining) == 1

    asyncio.run(run())
