"""Timings of a batch's stages, and the names of the stages it had to do without."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from contextlib import contextmanager

from recserve.data.entities import now_ms
from recserve.serving.guard.degradation import Degradation
from recserve.telemetry.instruments import STEP_SECONDS
from recserve.telemetry.metrics import Metrics
from recserve.telemetry.tracing import recorder, span


class Trace(Degradation):
    """Record of one batch: when it began, what each stage cost, and what it lost on the way.

    Args:
        metrics: Where the seconds of each stage are counted too.

    Attributes:
        now: When the batch began, milliseconds since the epoch.
    """

    def __init__(self, metrics: Metrics | None = None) -> None:
        super().__init__()
        self.now = now_ms()
        self._started = time.perf_counter()
        self._timings: dict[str, float] = {}
        self._metrics = metrics

    def resumed(self) -> Trace:
        """An independent trace that goes on from here, at the present moment."""
        other = copy.copy(self)
        other.now = now_ms()
        other.degraded = dict(self.degraded)
        other._timings = dict(self._timings)
        return other

    @contextmanager
    def stage(self, name: str, span_name: str | None = None) -> Iterator[None]:
        """Time a stage, also one that ends in an error.

        Args:
            name: As timings and metrics call it.
            span_name: As traces call it; None for the same name.
        """
        began = time.perf_counter()
        try:
            if recorder() is None:
                yield
            else:
                with span(span_name or name):
                    yield
        finally:
            seconds = time.perf_counter() - began
            self._timings[name] = _milliseconds(seconds)
            if self._metrics is not None:
                self._metrics.observe(STEP_SECONDS, seconds, name)

    def timings(self) -> dict[str, float]:
        """Milliseconds of each stage, and ``total``."""
        return {**self._timings, "total": _milliseconds(time.perf_counter() - self._started)}


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 3)
