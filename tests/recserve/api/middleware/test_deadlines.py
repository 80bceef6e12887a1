"""One timer ends every request that is over, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from recserve.api.middleware.deadlines import Deadlines


async def for_ever() -> None:
    await asyncio.Event().wait()


def deadlines(seconds: float) -> Deadlines:
    return Deadlines(asyncio.get_running_loop(), seconds)


def test_each_is_over_in_its_turn() -> None:
    async def later(kept: Deadlines, pause: float) -> None:
        await asyncio.sleep(pause)
        await kept.keep(for_ever())

    async def main() -> list[Any]:
        kept = deadlines(0.05)
        # The last one comes when the timer of the first has gone off already.
        waits: list[Coroutine[Any, Any, None]] = [later(kept, pause) for pause in (0.0, 0.02, 0.2)]
        return await asyncio.wait_for(asyncio.gather(*waits, return_exceptions=True), 10)

    assert [type(ended) for ended in asyncio.run(main())] == [TimeoutError] * 3


def test_what_is_done_in_time_is_left_alone() -> None:
    async def main() -> int:
        kept = deadlines(0.5)

        async def work() -> int:
            await kept.keep(asyncio.sleep(0))
            await asyncio.sleep(0.7)  # its time would be over by now
            task = asyncio.current_task()
            assert task is not None
            return task.cancelling()

        return await asyncio.create_task(work())

    assert asyncio.run(main()) == 0


def test_an_error_of_the_work_stays_that_error() -> None:
    async def fails() -> None:
        raise KeyError("mine")

    async def main() -> None:
        await deadlines(10).keep(fails())

    with pytest.raises(KeyError, match="mine"):
        asyncio.run(main())


@pytest.mark.parametrize("over", [False, True])
def test_who_is_cancelled_from_outside_stays_cancelled(over: bool) -> None:
    async def main() -> bool:
        kept = deadlines(0.01 if over else 10)

        async def slow_to_leave() -> None:
            try:
                await for_ever()
            finally:
                await asyncio.sleep(0.1)

        task = asyncio.create_task(kept.keep(slow_to_leave()))
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.wait({task})
        return task.cancelled()

    assert asyncio.run(main())
