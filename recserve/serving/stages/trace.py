"""Timings of a batch's stages, and the names of the stages it had to do without."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from contextlib import contextmanager

from recserve.data.entities import now_ms
from recserve.serving.guard.degradation import Degradation


class Trace(Degradation):
    """Record of one batch: when it began, what each stage cost, and what it lost on the way.

    Attributes:
        now: When the batch began, milliseconds since the epoch.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = now_ms()
        self._started = time.perf_counter()
        self._timings: dict[str, float] = {}

    def resumed(self) -> Trace:
        """An independent trace that goes on from here, at the present moment."""
        other = copy.copy(self)
        other.now = now_ms()
        other.degraded = list(self.degraded)
        other._timings = dict(self._timings)
        return other

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage, also one that ends in an error."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self._timings[name] = _elapsed(began)

    def timings(self) -> dict[str, float]:
        """Milliseconds of each stage, and ``total``."""
        return {**self._timings, "total": _elapsed(self._started)}


def _elapsed(start: float) -> float:
    return round((time.perf_counter() - start) * 1000, 3)
