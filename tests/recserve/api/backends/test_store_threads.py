"""Threads that call a store: what has no room or no time is refused and never runs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from recserve.api.backends.store_threads import StoreBusyError, StoreThreads
from recserve.errors import OutcomeUnknownError


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """Holds threads back until it is set."""
    made = threading.Event()
    yield made
    made.set()


def one_thread(queue: int, begin: float = 30.0, end: float = 30.0) -> StoreThreads:
    return StoreThreads(
        "t", threads=1, queue=queue, begin_seconds=begin, end_seconds=end, late=OutcomeUnknownError
    )


def test_what_has_no_room_is_refused_at_once(gate: threading.Event) -> None:
    async def go() -> None:
        threads = one_thread(queue=2)
        ran: list[int] = []
        held = [asyncio.create_task(threads.run(gate.wait))]
        held += [asyncio.create_task(threads.run(lambda: not ran.append(1))) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(StoreBusyError) as refused:
            await threads.run(lambda: ran.append(2))
        assert (refused.value.status, refused.value.code) == (503, "overloaded")
        gate.set()
        assert await asyncio.gather(*held) == [True] * 3
        assert ran == [1, 1]
        assert await threads.run(lambda: 7) == 7

    asyncio.run(go())


def test_what_has_no_thread_in_time_never_runs(gate: threading.Event) -> None:
    async def go() -> None:
        threads = one_thread(queue=9, begin=0.1)
        ran: list[int] = []
        held = asyncio.create_task(threads.run(gate.wait))
        await asyncio.sleep(0)
        with pytest.raises(StoreBusyError):
            await threads.run(lambda: ran.append(1))
        gate.set()
        await held
        await threads.run(lambda: None)
        assert ran == []

    asyncio.run(go())


def test_what_runs_for_too_long_is_not_called_undone(gate: threading.Event) -> None:
    async def go() -> None:
        with pytest.raises(OutcomeUnknownError):
            await one_thread(queue=1, begin=0.1, end=0.1).run(gate.wait)
        gate.set()

    asyncio.run(go())


def test_who_leaves_takes_what_has_not_begun_along(gate: threading.Event) -> None:
    async def go() -> None:
        threads = one_thread(queue=9)
        ran: list[int] = []
        held = asyncio.create_task(threads.run(gate.wait))
        left = asyncio.create_task(threads.run(lambda: ran.append(1)))
        await asyncio.sleep(0.05)
        left.cancel()
        await asyncio.gather(left, return_exceptions=True)
        gate.set()
        await held
        await threads.run(lambda: None)
        assert ran == []

    asyncio.run(go())
