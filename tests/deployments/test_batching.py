"""The micro-batcher: every caller answered once, limits kept, failures contained, no wait when idle."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from itertools import cycle
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recserve_deployments.batching import MicroBatcher

from recserve.errors import NotReadyError, OverloadedError


class Recorder:
    """Doubles numbers, holds batches until released, and remembers what it saw."""

    def __init__(self, hold: bool = False) -> None:
        self.batches: list[list[int]] = []
        self.running = 0
        self.most_running = 0
        self.gate = asyncio.Event()
        if not hold:
            self.gate.set()

    async def __call__(self, batch: list[int]) -> Sequence[int | Exception]:
        self.batches.append(batch)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        await self.gate.wait()
        self.running -= 1
        return [2 * number for number in batch]


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(main, 20))


async def rounds(count: int = 10) -> None:
    """Let everything that is ready run."""
    for _ in range(count):
        await asyncio.sleep(0)


def test_a_request_in_the_moment_that_a_worker_ends_is_not_forgotten() -> None:
    async def main() -> None:
        async def work(batch: list[int]) -> Sequence[int | Exception]:
            return batch

        batcher = MicroBatcher(work, max_batch=1, in_flight=1, max_queue=10)
        for gap in range(12):
            first = asyncio.create_task(batcher.submit(1))
            await rounds(gap)
            assert await asyncio.wait_for(batcher.submit(2), 5) == 2
            assert await first == 1

    run(main())


@settings(max_examples=60, deadline=None)
@given(
    max_batch=st.integers(1, 7),
    in_flight=st.integers(1, 4),
    arrivals=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), max_size=60),
    sharing=st.lists(st.integers(1, 5), min_size=1, max_size=20),
)
def test_every_request_is_answered_once_within_the_limits(
    max_batch: int, in_flight: int, arrivals: list[tuple[int, int]], sharing: list[int]
) -> None:
    """Arrivals are (loop rounds to wait before it, loop rounds its batch takes)."""

    async def main() -> None:
        seen: list[list[int]] = []
        running = 0

        async def work(batch: list[int]) -> Sequence[int | Exception]:
            nonlocal running
            running += 1
            assert running <= in_flight
            assert 1 <= len(batch) <= max_batch
            seen.append(batch)
            await rounds(max(arrivals[number][1] for number in batch))
            running -= 1
            return [number * number for number in batch]

        others = cycle(sharing)
        batcher = MicroBatcher(work, max_batch, in_flight, max_queue=1000, sharing=lambda: next(others))
        tasks = []
        for number, (gap, _) in enumerate(arrivals):
            await rounds(gap)
            tasks.append(asyncio.create_task(batcher.submit(number)))
        assert await asyncio.gather(*tasks) == [number * number for number in range(len(arrivals))]
        # Exactly once each, and taken in the order of arrival.
        assert [number for batch in seen for number in batch] == list(range(len(arrivals)))

    run(main())


@settings(max_examples=40, deadline=None)
@given(outcomes=st.lists(st.sampled_from(["fine", "bad", "gone"]), min_size=1, max_size=40))
def test_bad_elements_fail_alone_and_withdrawn_ones_are_skipped(outcomes: list[str]) -> None:
    async def main() -> None:
        recorder = Recorder(hold=True)

        async def work(batch: list[int]) -> Sequence[int | Exception]:
            doubled = await recorder(batch)
            return [
                ValueError(f"no {number}") if number >= 0 and outcomes[number] == "bad" else result
                for number, result in zip(batch, doubled, strict=True)
            ]

        batcher = MicroBatcher(work, max_batch=8, in_flight=1, max_queue=100)
        first = asyncio.create_task(batcher.submit(-1))
        await rounds()
        tasks = [asyncio.create_task(batcher.submit(number)) for number in range(len(outcomes))]
        await rounds()
        for task, outcome in zip(tasks, outcomes, strict=True):
            if outcome == "gone":
                task.cancel()
        await rounds()
        recorder.gate.set()
        assert await first == -2
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        for number, (answer, outcome) in enumerate(zip(answers, outcomes, strict=True)):
            if outcome == "fine":
                assert answer == 2 * number
            elif outcome == "bad":
                assert isinstance(answer, ValueError)
                assert str(answer) == f"no {number}"
            else:
                assert isinstance(answer, asyncio.CancelledError)
        processed = {number for batch in recorder.batches for number in batch}
        assert processed == {-1} | {n for n, outcome in enumerate(outcomes) if outcome != "gone"}

    run(main())


def test_idle_batcher_starts_at_once_and_busy_one_drains_what_queued() -> None:
    async def main() -> None:
        recorder = Recorder(hold=True)
        batcher = MicroBatcher(recorder, max_batch=64, in_flight=1, max_queue=100)
        tasks = [asyncio.create_task(batcher.submit(0))]
        await rounds(3)
        assert recorder.batches == [[0]]
        tasks += [asyncio.create_task(batcher.submit(number)) for number in range(1, 31)]
        await rounds()
        assert recorder.batches == [[0]]
        recorder.gate.set()
        await asyncio.gather(*tasks)
        assert recorder.batches == [[0], list(range(1, 31))]

    run(main())


def test_places_that_are_shared_are_fewer_and_come_back() -> None:
    async def main() -> None:
        recorder, sharing = Recorder(hold=True), 2
        batcher = MicroBatcher(recorder, 1, in_flight=2, max_queue=9, sharing=lambda: sharing)
        tasks = [asyncio.create_task(batcher.submit(number)) for number in range(2)]
        await rounds()
        assert recorder.batches == [[0]]
        sharing = 1
        tasks.append(asyncio.create_task(batcher.submit(2)))
        await rounds()
        assert recorder.batches == [[0], [1]]
        recorder.gate.set()
        await asyncio.gather(*tasks)

    run(main())


def test_full_queue_is_refused_at_once_and_room_comes_back() -> None:
    async def main() -> None:
        recorder = Recorder(hold=True)
        batcher = MicroBatcher(recorder, max_batch=1, in_flight=2, max_queue=3)
        tasks = [asyncio.create_task(batcher.submit(number)) for number in range(2)]
        await rounds()
        tasks += [asyncio.create_task(batcher.submit(number)) for number in range(2, 5)]
        await rounds()
        with pytest.raises(OverloadedError):
            await batcher.submit(9)
        # A client that went away makes room for another one.
        tasks[3].cancel()
        await rounds()
        tasks.append(asyncio.create_task(batcher.submit(5)))
        await rounds()
        recorder.gate.set()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        assert [a for a in answers if not isinstance(a, BaseException)] == [0, 2, 4, 8, 10]
        assert recorder.most_running == 2
        assert await batcher.submit(6) == 12

    run(main())


def test_failing_run_fails_only_its_batch() -> None:
    async def main() -> None:
        async def work(batch: list[int]) -> Sequence[int | Exception]:
            await asyncio.sleep(0)
            if 1 in batch:
                raise KeyError("broken")
            return batch

        batcher = MicroBatcher(work, max_batch=2, in_flight=1, max_queue=100)
        answers = await asyncio.gather(
            *(batcher.submit(number) for number in range(6)), return_exceptions=True
        )
        assert [type(answer) for answer in answers] == [KeyError, KeyError, int, int, int, int]

    run(main())


@pytest.mark.parametrize("length", [0, 1, 3])
def test_wrong_number_of_results_is_an_error_not_a_hang(length: int) -> None:
    async def main() -> None:
        async def work(batch: list[int]) -> Sequence[int | Exception]:
            return [0] * length

        batcher = MicroBatcher(work, max_batch=2, in_flight=1, max_queue=100)
        answers = await asyncio.gather(batcher.submit(1), batcher.submit(2), return_exceptions=True)
        assert all(isinstance(answer, RuntimeError) for answer in answers)

    run(main())


def test_close_finishes_what_runs_and_refuses_the_rest() -> None:
    async def main() -> None:
        recorder = Recorder(hold=True)
        batcher = MicroBatcher(recorder, max_batch=1, in_flight=1, max_queue=100)
        running = asyncio.create_task(batcher.submit(1))
        await rounds()
        waiting = asyncio.create_task(batcher.submit(2))
        await rounds()
        closing = asyncio.create_task(batcher.close())
        await rounds()
        with pytest.raises(NotReadyError):
            await waiting
        with pytest.raises(NotReadyError):
            await batcher.submit(3)
        recorder.gate.set()
        await closing
        assert await running == 2
        assert len(batcher) == 0

    run(main())


def test_who_would_wait_too_long_is_refused_at_once() -> None:
    async def main() -> None:
        async def work(batch: list[int]) -> Sequence[int | Exception]:
            await asyncio.sleep(0.05)
            return batch

        batcher = MicroBatcher(work, max_batch=2, in_flight=1, max_queue=1000, max_wait=0.1)
        # Before anything is known of how long a batch takes, everything is let in.
        assert await asyncio.gather(*(batcher.submit(number) for number in range(12))) == list(range(12))
        answers = await asyncio.gather(
            *(batcher.submit(number) for number in range(100)), return_exceptions=True
        )
        refused = [answer for answer in answers if isinstance(answer, OverloadedError)]
        let_in = [answer for answer in answers if isinstance(answer, int)]
        assert len(refused) + len(let_in) == 100
        # A batch takes 0.05 s or, on a busy machine, more; the first batch and the next are always let in.
        assert 2 <= len(let_in) <= 8
        assert let_in == list(range(len(let_in)))
        # What was refused is not remembered: the server is idle again.
        assert await batcher.submit(7) == 7

    run(main())


def test_batches_that_overlap_let_more_in() -> None:
    async def main() -> None:
        async def work(batch: list[int]) -> Sequence[int | Exception]:
            await asyncio.sleep(0.04)
            return batch

        counts = []
        for in_flight in (1, 4):
            batcher = MicroBatcher(work, max_batch=1, in_flight=in_flight, max_queue=1000, max_wait=0.2)
            await asyncio.gather(*(batcher.submit(number) for number in range(40)))
            answers = await asyncio.gather(
                *(batcher.submit(number) for number in range(200)), return_exceptions=True
            )
            counts.append(sum(isinstance(answer, int) for answer in answers))
        assert counts[1] > counts[0]

    run(main())


def test_a_slow_batch_does_not_bar_the_next_one() -> None:
    async def main() -> None:
        recorder = Recorder(hold=True)
        batcher = MicroBatcher(recorder, max_batch=4, in_flight=1, max_queue=100, max_wait=0.001)
        first = asyncio.create_task(batcher.submit(0))
        await asyncio.sleep(0.05)
        recorder.gate.set()
        assert await first == 0
        recorder.gate.clear()
        running = asyncio.create_task(batcher.submit(1))
        await rounds()
        waiting = [asyncio.create_task(batcher.submit(number)) for number in range(2, 6)]
        await rounds()
        with pytest.raises(OverloadedError):
            await batcher.submit(6)
        recorder.gate.set()
        assert await asyncio.gather(running, *waiting) == [2, 4, 6, 8, 10]

    run(main())


def test_limits_must_be_positive() -> None:
    with pytest.raises(ValueError):
        MicroBatcher(Recorder(), max_batch=0, in_flight=1, max_queue=1)


class PanicException(BaseException):
    """What a Rust extension raises when it panics."""


@pytest.mark.parametrize("error", [PanicException("rust"), GeneratorExit(), RecursionError()])
def test_whatever_a_batch_raises_the_next_one_is_answered(error: BaseException) -> None:
    async def main() -> None:
        async def work(batch: list[int]) -> Sequence[int | Exception]:
            if batch == [0]:
                raise error
            return batch

        batcher = MicroBatcher(work, 1, 1, max_queue=10)
        first, second = await asyncio.gather(batcher.submit(0), batcher.submit(1), return_exceptions=True)
        assert isinstance(first, Exception)
        assert type(error).__name__ in f"{type(first).__name__} {first}"
        assert second == 1

    run(main())


def test_it_is_stalled_while_batches_run_and_none_ends() -> None:
    async def main() -> None:
        gate = asyncio.Event()

        async def work(batch: list[int]) -> Sequence[int | Exception]:
            await gate.wait()
            return batch

        batcher = MicroBatcher(work, 1, 1, max_queue=10)
        assert not batcher.stalled(0.0), "nobody asks"
        task = asyncio.create_task(batcher.submit(1))
        await asyncio.sleep(0.05)
        assert await asyncio.to_thread(batcher.stalled, 0.02), "health is looked at from another thread"
        assert not batcher.stalled(60.0)
        gate.set()
        await task
        await asyncio.sleep(0)
        assert not batcher.stalled(0.0)

    run(main())
