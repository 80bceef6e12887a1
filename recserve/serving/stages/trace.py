"""Timings of a batch's stages, and the names of the stages it had to do without."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from recserve.data.entities import now_ms
from recserve.serving.guard.failures import cause_of, log_failure
from recserve.telemetry.instruments import STEP_SECONDS
from recserve.telemetry.metrics import Metrics
from recserve.telemetry.tracing import recorder, span


class Trace:
    """Record of one batch: when it began, what each stage cost, and what it lost on the way.

    Args:
        metrics: Where the seconds of each stage are counted too.

    Attributes:
        now: When the batch began, milliseconds since the epoch.
        degraded: Names such as ``ranking`` or ``retriever:mf`` and why, in the order of the losses.
    """

    def __init__(self, metrics: Metrics | None = None) -> None:
        self.now = now_ms()
        self.degraded: dict[str, str] = {}
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

    def lost(self, name: str, error: Exception) -> None:
        """Note that the batch goes on without a stage."""
        log_failure(name, error)
        self.left_out({name: cause_of(error)})

    def left_out(self, causes: Mapping[str, str]) -> None:
        """Note components that a stage did without, and why."""
        self.degraded.update(causes)

    def timings(self) -> dict[str, float]:
        """Milliseconds of each stage, and ``total``."""
        return {**self._timings, "total": _milliseconds(time.perf_counter() - self._started)}


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 3)
