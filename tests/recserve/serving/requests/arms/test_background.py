"""The background queue: bounded, in order, and nothing that fails stops it."""

from __future__ import annotations

import asyncio

from recserve.serving.requests.arms.background import BackgroundQueue


def test_work_is_done_in_order_and_what_is_too_much_is_dropped() -> None:
    async def scene() -> None:
        done: list[int] = []
        gate = asyncio.Event()

        async def work(piece: int) -> None:
            await gate.wait()
            if piece == 1:
                raise ValueError("no")
            done.append(piece)

        queue = BackgroundQueue(work, 3)
        assert [queue.add(piece) for piece in range(5)] == [True, True, True, False, False]
        assert len(queue) == 3
        gate.set()
        await queue.drained()
        assert done == [0, 2]
        assert queue.add(7)
        await queue.drained()
        assert done == [0, 2, 7]

    asyncio.run(scene())


def test_closing_drops_what_waits() -> None:
    async def scene() -> None:
        done: list[int] = []

        async def work(piece: int) -> None:
            await asyncio.sleep(60)
            done.append(piece)

        queue = BackgroundQueue(work, 9)
        for piece in range(3):
            queue.add(piece)
        await asyncio.sleep(0)
        queue.close()
        assert len(queue) == 0
        await asyncio.sleep(0)
        assert done == []

    asyncio.run(scene())
