"""Calls to stages: deadlines, a second try after a death, and degrading at once while a stage is down."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest
from ray.exceptions import ActorDiedError
from recserve_deployments.client import StageHandle

from recserve.errors import BundleError, StageDownError, StageError

# Stands in for a Serve handle, because deaths and delays must happen at exact moments here. What real handles
# do when a replica is killed is tested in test_server.py.
Behaviour = Callable[[], Awaitable[Any]]


class Method:
    def __init__(self, behaviours: list[Behaviour]) -> None:
        self._behaviours = behaviours
        self.calls = 0

    def remote(self, *arguments: Any) -> Awaitable[Any]:
        self.calls += 1
        return self._behaviours[min(self.calls, len(self._behaviours)) - 1]()


class Handle:
    def __init__(self, work: list[Behaviour], ping: list[Behaviour]) -> None:
        self.work = Method(work)
        self.ping = Method(ping)


async def fine() -> str:
    return "answer"


async def died() -> str:
    raise ActorDiedError


async def late() -> str:
    await asyncio.sleep(60)
    return "too late"


async def refuses() -> str:
    raise BundleError("the bundle is damaged")


async def broken() -> str:
    raise KeyError("a bug")


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(main, 30))


def stage(work: list[Behaviour], ping: list[Behaviour], deadline: float = 0.05) -> tuple[StageHandle, Handle]:
    handle = Handle(work, ping)
    return StageHandle("ranking", handle, deadline), handle  # type: ignore[arg-type]  # see above


def test_a_call_is_tried_again_once_on_another_replica() -> None:
    async def main() -> None:
        called, handle = stage([died, fine], [fine])
        assert await called.call("work", 1) == "answer"
        assert handle.work.calls == 2

    run(main())


def test_nobody_waits_for_the_next_process_of_a_stage_with_one_replica() -> None:
    async def main() -> None:
        came_back = asyncio.Event()

        async def ping() -> bool:
            await came_back.wait()
            return True

        async def dies_soon() -> str:
            await asyncio.sleep(0.01)
            raise ActorDiedError

        handle = Handle([late, dies_soon, late, fine], [ping])
        called = StageHandle("ranking", handle, 20, alone=True)  # type: ignore[arg-type]  # see above
        under_way = await asyncio.gather(*(called.call("work") for _ in range(3)), return_exceptions=True)
        assert [type(error) for error in under_way] == [StageDownError] * 3
        with pytest.raises(StageDownError):
            await called.call("work")
        assert handle.work.calls == 3
        came_back.set()
        while True:
            with contextlib.suppress(StageDownError):
                assert await called.call("work") == "answer"
                break
            await asyncio.sleep(0.01)

    run(main())


def test_a_call_that_gets_no_answer_is_made_again_and_the_first_answer_counts() -> None:
    async def main() -> None:
        called, handle = stage([late, late, fine], [late, fine], deadline=20)
        assert await called.call("work") == "answer"
        assert handle.work.calls == 3
        assert await called.alive(20)
        assert handle.ping.calls == 2

    run(main())


def test_a_repeated_call_outlives_the_death_of_a_replica() -> None:
    async def main() -> None:
        answer = asyncio.Event()

        async def dies_later() -> str:
            await asyncio.sleep(0.6)
            answer.set()
            raise ActorDiedError

        async def answers_then() -> str:
            await answer.wait()
            return "answer"

        called, handle = stage([dies_later, answers_then], [fine], deadline=20)
        assert await called.call("work") == "answer"
        assert handle.work.calls == 2

    run(main())


def test_a_slow_stage_gets_few_calls_more_than_it_was_asked_for() -> None:
    async def slow() -> str:
        await asyncio.sleep(0.6)
        return "answer"

    async def main() -> None:
        called, handle = stage([slow], [fine], deadline=20)
        assert await asyncio.gather(*(called.call("work") for _ in range(100))) == ["answer"] * 100
        assert 100 < handle.work.calls <= 120

    run(main())


@pytest.mark.parametrize("second", [died, late])
def test_while_no_replica_takes_over_calls_fail_at_once_until_a_ping_is_answered(second: Behaviour) -> None:
    async def main() -> None:
        came_back = asyncio.Event()

        async def ping() -> bool:
            await came_back.wait()
            return True

        called, handle = stage([died, second, fine], [ping])
        with pytest.raises(StageError, match="no other one answers"):
            await called.call("work")
        started = time.monotonic()
        for _ in range(50):
            with pytest.raises(StageError, match="does not answer"):
                await called.call("work")
        assert time.monotonic() - started < 5
        assert handle.work.calls == 2
        came_back.set()
        while True:
            try:
                assert await called.call("work") == "answer"
                break
            except StageError:
                await asyncio.sleep(0.01)

    run(main())


def test_late_answers_are_cut_off_and_three_in_a_row_are_an_outage() -> None:
    async def main() -> None:
        called, handle = stage([late, late, fine, late, late, late, fine], [late])
        for _ in range(2):
            with pytest.raises(StageError, match=r"longer than 0\.05 s"):
                await called.call("work")
        assert await called.call("work") == "answer"
        for _ in range(3):
            with pytest.raises(StageError, match="longer"):
                await called.call("work")
        with pytest.raises(StageError, match="does not answer"):
            await called.call("work")
        assert handle.work.calls == 6

    run(main())


def test_errors_of_the_stage_keep_their_kind_and_are_no_outage() -> None:
    async def main() -> None:
        called, _ = stage([refuses, refuses, refuses, broken, fine], [fine])
        for _ in range(3):
            with pytest.raises(BundleError, match="damaged"):
                await called.call("work")
        with pytest.raises(StageError, match="KeyError"):
            await called.call("work")
        assert await called.call("work") == "answer"

    run(main())


def test_alive_is_an_answer_in_time() -> None:
    async def main() -> None:
        for ping, alive in ((fine, True), (died, False), (late, False), (broken, False)):
            called, _ = stage([fine], [ping])
            assert await called.alive(0.05) is alive

    run(main())
