"""Whole answers of a pipeline in one process without HTTP: their times, and what they went without."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.common import quantile
from recserve.cli.common import State
from recserve.config import Config
from recserve.serving.local import local_pipeline
from recserve.serving.requests.request import Recommendation, Request


@dataclass(frozen=True)
class WholeAnswers:
    """Answers to one request after the other, nothing being cached between them.

    Attributes:
        ms: Milliseconds of each by the clock.
        degraded: How many went without a part, by the part and why, such as "reranker:mmr late".
    """

    ms: list[float]
    degraded: Counter[str]

    @property
    def median(self) -> float:
        """Median of the milliseconds."""
        return quantile(self.ms, 0.5)

    @property
    def p99(self) -> float:
        """99th percentile of the milliseconds."""
        return quantile(self.ms, 0.99)

    @property
    def went_without(self) -> str:
        """What they went without, in words."""
        return ", ".join(f"{why} {count}" for why, count in self.degraded.items()) or "none"


def whole_answers(
    state: State, config: Config, users: Sequence[str], *, rounds: int = 1, pause_seconds: float = 0.0
) -> list[WholeAnswers]:
    """Ask for a page of each user, in rounds.

    Args:
        state: A trained home.
        config: What it is served with.
        users: Who is asked for, in this order.
        rounds: How often all of them are asked for.
        pause_seconds: Between two rounds, for what is still being computed.

    Returns:
        The answers of each round.
    """
    pipeline = local_pipeline(state.registry.resolve(config), state.current_bundle(), state.store)

    async def ask() -> WholeAnswers:
        ms: list[float] = []
        degraded: Counter[str] = Counter()
        for user in users:
            began = time.perf_counter()
            (answer,) = await pipeline.recommend([Request(user_id=user, n=10)])
            ms.append((time.perf_counter() - began) * 1000)
            assert isinstance(answer, Recommendation)
            degraded.update(
                f"{part} {cause}" for part, cause in zip(answer.degraded, answer.causes, strict=True)
            )
        return WholeAnswers(ms, degraded)

    async def all_rounds() -> list[WholeAnswers]:
        await pipeline.recommend([Request(user_id=users[-1], n=10)])
        found = [await ask()]
        for _ in range(1, rounds):
            await asyncio.sleep(pause_seconds)
            found.append(await ask())
        return found

    return asyncio.run(all_rounds())


def known_users(state: State, count: int) -> list[str]:
    """Users with events, whose ids are numbers as those of the sample are."""
    events = state.store.snapshot().events
    return sorted(set(events["user_id"].to_pylist()), key=int)[:count]
