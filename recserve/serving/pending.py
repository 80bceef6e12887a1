"""A request between the two halves of the pipeline: what was read for it, and its clock."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

from recserve.data.entities import now_ms
from recserve.errors import RecserveError
from recserve.serving.request import Recommendation, Request
from recserve.serving.state.history_reader import Reading
from recserve.serving.state.live_catalogue import CatalogueView
from recserve.serving.state.result_cache import Key
from recserve.serving.state.user_cache import UserState


class Clock:
    """What a batch costs, stage by stage.

    Attributes:
        now: When it began, milliseconds since the epoch.
    """

    def __init__(self) -> None:
        self.now = now_ms()
        self._started = time.perf_counter()
        self._timings: dict[str, float] = {}

    def resumed(self) -> Clock:
        """A clock that goes on by itself from here, at the present moment."""
        other = copy.copy(self)
        other.now = now_ms()
        other._timings = dict(self._timings)
        return other

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Notes the milliseconds spent inside, also when it ends in an error."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self._timings[name] = _elapsed(began)

    def stop(self) -> dict[str, float]:
        """Milliseconds of each stage, and ``total``."""
        return {**self._timings, "total": _elapsed(self._started)}


def _elapsed(start: float) -> float:
    return round((time.perf_counter() - start) * 1000, 3)


class Asked(NamedTuple):
    """When answers were asked for.

    Attributes:
        at: By the clock of this host, milliseconds since the epoch.
        deletions: In the order of the store: deletions of people that had been followed.
    """

    at: int
    deletions: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What was at hand when some requests came.

    Attributes:
        reading: What the store knew.
        view: The catalogue.
        forgotten: :attr:`ResultCache.forgotten` of before the store was read.
        clock: Started when the requests came.
    """

    reading: Reading
    view: CatalogueView
    forgotten: int
    clock: Clock

    @property
    def asked(self) -> Asked:
        """When the requests came."""
        return Asked(self.clock.now, self.reading.deletions)


@dataclass(frozen=True, slots=True, eq=False)
class PendingRequest:
    """A request whose answer has to be made.

    Attributes:
        request: The request.
        scenario: Name of its scenario.
        person: Who asks.
        key: See :meth:`recserve.serving.state.result_cache.ResultCache.key`.
        moment: When it came.
    """

    request: Request
    scenario: str
    person: UserState
    key: Key | None
    moment: Snapshot

    @property
    def same(self) -> Hashable | None:
        """Equal for those who get the same answer; None if nobody else does."""
        return None if self.key is None else (self.key, id(self.moment.view))


def _again(answer: Recommendation | RecserveError) -> Recommendation | RecserveError:
    """The same answer to somebody else who asked the same."""
    return answer.again() if isinstance(answer, Recommendation) else answer


def _together(asked: Sequence[PendingRequest]) -> list[list[list[PendingRequest]]]:
    """What shares a call of the stages, and within that who asks the same and so gets the same at once."""
    groups: dict[Hashable, dict[Hashable, list[PendingRequest]]] = {}
    for one in asked:
        request = one.request
        # Rerankers must be shared, and candidates brought along or needed by all.
        shared = (one.scenario, json.dumps(request.rules), request.items is not None, one.moment.reading.lost)
        groups.setdefault(shared, {}).setdefault(one.same or one, []).append(one)
    return [list(group.values()) for group in groups.values()]
