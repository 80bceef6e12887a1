"""Threads for plugin code: what hangs is abandoned and replaced, within bounds."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from recserve.errors import InvalidRequestError, OverloadedError, StageError
from recserve.serving.guard import workers
from recserve.serving.guard.workers import MOST_STUCK, WorkerCall, WorkerPool


class PanicException(BaseException):
    """What a Rust extension raises when it panics: not an Exception."""


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """Lets hanging calls go, at the end at the latest."""
    event = threading.Event()
    yield event
    event.set()


def run(
    pool: WorkerPool, call: Callable[..., Any], *arguments: Any, lane: str = "x", seconds: float = 5.0
) -> Any:
    return asyncio.run(pool.run(lane, seconds, call, *arguments))


@pytest.mark.parametrize(
    "error", [ValueError("no"), SystemExit(3), KeyboardInterrupt(), PanicException("rust"), RecursionError()]
)
def test_whatever_a_call_raises_is_a_stage_error_that_names_it(error: BaseException) -> None:
    def raises() -> None:
        raise error

    pool = WorkerPool()
    with pytest.raises(StageError, match=type(error).__name__) as raised:
        run(pool, raises)
    assert raised.value.__cause__ is error
    (outcome,) = pool.run_all([WorkerCall("x", raises)], 5.0)
    assert isinstance(outcome, StageError)
    assert run(pool, lambda: 7) == 7, "its threads go on"


def test_errors_of_ours_stay_what_they_are() -> None:
    def refuses() -> None:
        raise InvalidRequestError("not a year", field="filter.year")

    with pytest.raises(InvalidRequestError, match="not a year"):
        run(WorkerPool(), refuses)


def test_an_error_that_cannot_be_printed_is_no_other_error() -> None:
    class Unprintable(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    def raises() -> None:
        raise Unprintable

    with pytest.raises(StageError, match="Unprintable"):
        run(WorkerPool(), raises)


def test_a_hanging_call_is_replaced_and_its_neighbours_do_not_wait(gate: threading.Event) -> None:
    pool = WorkerPool(threads=1)
    with pytest.raises(StageError, match="took longer than"):
        run(pool, gate.wait, seconds=0.05)
    assert pool.stuck == {"x": 1}
    assert run(pool, lambda: 1) == 1, "another thread has taken its place"
    assert run(pool, lambda: 2, lane="y") == 2
    gate.set()
    until(lambda: not pool.stuck)


def test_after_late_calls_in_a_row_a_lane_refuses_at_once_and_comes_back(gate: threading.Event) -> None:
    pool = WorkerPool()
    calls: list[int] = []

    def hang() -> None:
        calls.append(1)
        gate.wait()

    for _ in range(3):
        with pytest.raises(StageError, match="took longer"):
            run(pool, hang, seconds=0.02)
    with pytest.raises(StageError, match="late 3 times in a row"):
        run(pool, hang, seconds=0.02)
    assert len(calls) == 3
    gate.set()

    def well() -> bool:
        try:
            return bool(run(pool, lambda: True))
        except StageError:
            return False

    until(well)
    assert run(pool, lambda: 1) == 1, "one call that came back in time is enough"


def test_only_so_many_calls_may_hang_and_only_without_progress_is_the_pool_lost(
    gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "_PAUSES", (0.0, 0.0))
    monkeypatch.setattr(workers, "_STALLED_SECONDS", 1.0)
    pool = WorkerPool()

    def hang_once() -> None:
        with pytest.raises(StageError):
            run(pool, gate.wait, seconds=0.01)

    while pool.stuck.get("x", 0) < MOST_STUCK:
        hang_once()
    run(pool, lambda: 1, lane="y")
    hang_once()
    assert not pool.lost, "others get something done"
    assert pool.stuck == {"x": MOST_STUCK}
    time.sleep(1.1)
    hang_once()
    assert pool.lost
    gate.set()
    until(lambda: not pool.stuck)
    run(pool, lambda: 1)
    assert not pool.lost


def test_waiting_calls_are_bounded_and_start_in_order(gate: threading.Event) -> None:
    pool, order = WorkerPool(threads=1), []

    async def scene() -> None:
        first = asyncio.create_task(pool.run("x", 20, gate.wait))
        await asyncio.sleep(0.01)
        waiting = [asyncio.create_task(pool.run("x", 20, order.append, place)) for place in range(64)]
        await asyncio.sleep(0.01)
        with pytest.raises(OverloadedError):
            await pool.run("x", 20, order.append, 99)
        waiting[10].cancel()
        await asyncio.sleep(0.01)
        gate.set()
        await asyncio.gather(first, *waiting, return_exceptions=True)

    asyncio.run(scene())
    assert order == [place for place in range(64) if place != 10]


def test_a_caller_that_is_cancelled_is_cancelled_and_no_fault_of_the_plugin(gate: threading.Event) -> None:
    pool = WorkerPool()

    async def scene() -> None:
        for _ in range(4):
            task = asyncio.create_task(pool.run("x", 20, gate.wait))
            await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert await pool.run("x", 20, lambda: 1) == 1

    asyncio.run(scene())


def test_of_calls_side_by_side_each_has_its_own_outcome(gate: threading.Event) -> None:
    def raises() -> int:
        raise ValueError("no")

    calls = [WorkerCall("a", lambda: 1), WorkerCall("b", raises), WorkerCall("c", gate.wait)]
    first, second, third = WorkerPool(threads=1).run_all(calls, 0.2)
    assert first == 1
    assert isinstance(second, StageError)
    assert isinstance(third, StageError)
    assert "took longer" in third.message


def until(condition: Callable[[], bool]) -> None:
    give_up = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.01)
