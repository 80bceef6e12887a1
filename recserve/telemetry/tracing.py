"""Spans of the stages of requests. Off, they cost a look at a variable, and nothing is imported."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

Answered = Callable[[str, str, int], None]
"""Told of an answer: the request's method, its route, and the status."""


class SpanRecorder(Protocol):
    """Protocol of what records spans."""

    def span(self, name: str, **attributes: str | int) -> AbstractContextManager[None]:
        """Record a span around some work, below the spans of :func:`recserve.telemetry.requests.current`."""
        ...

    def request(self, traceparent: bytes | None) -> AbstractContextManager[Answered]:
        """Record the span of an HTTP request.

        Args:
            traceparent: The header that came with the request.
        """
        ...

    def close(self) -> None:
        """Send what is recorded; blocks."""
        ...


_recorder: SpanRecorder | None = None

_NOTHING: AbstractContextManager[None] = nullcontext()


def record_with(recorder: SpanRecorder) -> None:
    """Record spans in this process from now on."""
    global _recorder
    _recorder = recorder


def disable() -> None:
    """Send what is recorded, and record nothing from now on; blocks."""
    global _recorder
    if _recorder is not None:
        _recorder.close()
        _recorder = None


def recorder() -> SpanRecorder | None:
    """What records spans in this process; None if nobody does."""
    return _recorder


def span(name: str, **attributes: str | int) -> AbstractContextManager[None]:
    """A span around some work, if spans are recorded."""
    return _NOTHING if _recorder is None else _recorder.span(name, **attributes)
