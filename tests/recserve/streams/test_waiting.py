"""Waits are bounded, and end when somebody asks to stop."""

from __future__ import annotations

import asyncio

import pytest

from recserve.errors import RuntimeEnvironmentError
from recserve.streams.waiting import LONGEST_SECONDS, Backoff, Stop, StoppedError


class Slept(Stop):
    """Notes waits in place of waiting."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.seconds.append(seconds)


def test_waits_double_up_to_a_bound_and_begin_anew_after_a_success() -> None:
    async def main() -> list[float]:
        stop = Slept()
        backoff = Backoff(stop)
        for _ in range(12):
            await backoff.wait("down")
        backoff.succeeded()
        await backoff.wait("down")
        await backoff.wait("down", at_least=7.0)
        await backoff.wait("down", at_least=1e9)
        return stop.seconds

    seconds = asyncio.run(main())
    for number, waited in enumerate(seconds[:12]):
        longest = min(0.2 * 2**number, LONGEST_SECONDS)
        assert longest / 2 <= waited <= longest
    assert seconds[12] <= 0.2
    assert seconds[13:] == [7.0, LONGEST_SECONDS]


def test_patience_ends_with_the_reason() -> None:
    async def main() -> None:
        await Backoff(Slept(), patience=-1.0).wait("the broker is down")

    with pytest.raises(RuntimeEnvironmentError, match="gave up after 0 s: the broker is down"):
        asyncio.run(main())


def test_asking_to_stop_ends_a_wait() -> None:
    async def main() -> bool:
        stop = Stop()
        waiting = asyncio.ensure_future(stop.sleep(3600))
        await asyncio.sleep(0)
        stop.ask()
        await asyncio.wait_for(waiting, 60)
        return bool(stop)

    assert asyncio.run(main())


def test_work_ends_when_somebody_asks_to_stop_or_it_takes_too_long() -> None:
    ended: list[str] = []

    async def hanging() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            ended.append("cancelled")

    async def failing() -> None:
        raise OSError("of its own")

    async def main() -> None:
        stop = Stop()
        assert await stop.unless(asyncio.sleep(0, "done"), 60) == "done"
        with pytest.raises(OSError, match="of its own"):
            await stop.unless(failing(), 60)
        with pytest.raises(TimeoutError, match=r"nothing was heard for 0\.01 s"):
            await stop.unless(hanging(), 0.01)
        working = asyncio.ensure_future(stop.unless(hanging(), 3600))
        await asyncio.sleep(0)
        stop.ask()
        with pytest.raises(StoppedError):
            await working

    asyncio.run(main())
    assert ended == ["cancelled"] * 2
