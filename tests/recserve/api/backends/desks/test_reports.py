"""Reports are made once for all who ask the same."""

from __future__ import annotations

import asyncio
import threading

import pytest

from recserve.api.backends.desks.reports import ReportDesk
from recserve.errors import StoreError
from recserve.outcomes.reports import Question
from tests.support.outcomes import config


class Maker:
    """Maker of reports that counts them, and waits to be let go on."""

    def __init__(self) -> None:
        self.made: list[Question] = []
        self.go_on = threading.Event()
        self.failing = False

    def __call__(self, question: Question) -> bytes:
        self.made.append(question)
        assert self.go_on.wait(20)
        if self.failing:
            raise StoreError("no")
        return b"%d" % len(self.made)


def desk(maker: Maker, kept_seconds: float = 60.0) -> ReportDesk:
    return ReportDesk(config(), maker, lambda name: b"", kept_seconds)


async def ask(asked: ReportDesk, by: str | None = None) -> bytes:
    return await asked.report(by, "2026-01-01", "2026-01-31", scenario=None, experiment=None, rows=10)


def test_all_who_ask_the_same_share_an_answer() -> None:
    async def check() -> None:
        maker = Maker()
        asked = desk(maker)
        # More than there is room for questions.
        waiting = [asyncio.ensure_future(ask(asked)) for _ in range(20)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        maker.go_on.set()
        assert await asyncio.gather(*waiting[1:]) == [b"1"] * 19
        assert await ask(asked) == b"1"
        assert await ask(asked, "day") == b"2"
        assert len(maker.made) == 2

    asyncio.run(check())


def test_an_answer_is_made_anew_later() -> None:
    async def check() -> None:
        maker = Maker()
        maker.go_on.set()
        asked = desk(maker, 0.0)
        assert await ask(asked) == b"1"
        assert await ask(asked) == b"2"

    asyncio.run(check())


def test_a_failure_is_not_kept() -> None:
    async def check() -> None:
        maker = Maker()
        maker.go_on.set()
        maker.failing = True
        asked = desk(maker)
        with pytest.raises(StoreError):
            await ask(asked)
        maker.failing = False
        assert await ask(asked) == b"2"

    asyncio.run(check())


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    async def check() -> None:
        monkeypatch.setattr("recserve.api.backends.desks.reports._KEPT_BYTES", 1)
        maker = Maker()
        maker.go_on.set()
        asked = desk(maker)
        assert [await ask(asked, by) for by in ("day", "arm", "arm", "day")] == [b"1", b"2", b"2", b"3"]

    asyncio.run(check())


def test_an_answer_that_comes_too_late_is_for_whoever_asks_next(monkeypatch: pytest.MonkeyPatch) -> None:
    async def check() -> None:
        monkeypatch.setattr("recserve.api.backends.desks.reports._BEGIN_SECONDS", 0.05)
        monkeypatch.setattr("recserve.api.backends.desks.reports._END_SECONDS", 0.05)
        maker = Maker()
        asked = desk(maker)
        with pytest.raises(StoreError, match="has not answered"):
            await ask(asked)
        maker.go_on.set()
        for _ in range(1000):  # until the thread has said what it made
            await asyncio.sleep(0.01)
            if asked._answers:
                break
        assert await ask(asked) == b"1"
        assert len(maker.made) == 1

    asyncio.run(check())


def test_an_answer_is_kept_for_as_long_as_it_was_worth_but_not_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def check() -> None:
        now = 1_000.0
        monkeypatch.setattr("recserve.api.backends.desks.reports.time.monotonic", lambda: now)
        maker = Maker()
        asked = desk(maker, 5.0)
        for took, kept in ((0.1, 5.0), (3.0, 30.0), (20.0, 60.0)):
            maker.go_on.clear()
            made = len(maker.made)
            waiting = asyncio.ensure_future(ask(asked))
            await asyncio.sleep(0)
            now += took
            maker.go_on.set()
            assert await waiting == b"%d" % (made + 1)
            now += kept - 0.01
            assert await ask(asked) == b"%d" % (made + 1)
            now += 0.02

    asyncio.run(check())
