"""Light traffic against a server: a few calls a second, each kept with its answer."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

Call = tuple[str, Mapping[str, Any]]
"""Path and body of a POST request."""


@dataclass(frozen=True)
class Answered:
    """A call and what came of it.

    Attributes:
        path: Path of the call.
        began: When it was sent, by the monotonic clock.
        seconds: How long it took.
        status: HTTP status, 0 where there was no answer.
        body: The parsed answer, or why there was none.
    """

    path: str
    began: float
    seconds: float
    status: int
    body: Any


class Traffic:
    """Calls from threads of their own, counted; use as a context manager.

    Args:
        url: Where the server is.
        calls: Makes the n-th call.
        key: API key, empty for none.
        threads: Calls at a time.
        pause: Seconds between two calls of a thread.
    """

    def __init__(
        self,
        url: str,
        calls: Callable[[int], Call],
        *,
        key: str = "",
        threads: int = 2,
        pause: float = 0.1,
    ) -> None:
        self._url = url
        self._calls = calls
        self._headers = {"authorization": f"Bearer {key}"} if key else {}
        self._pause = pause
        self._numbers = itertools.count()
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(threads)]
        self._answered: list[Answered] = []

    def __enter__(self) -> Traffic:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *details: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join(timeout=60)

    @property
    def answered(self) -> Sequence[Answered]:
        """What has been answered so far."""
        return tuple(self._answered)

    @property
    def failed(self) -> Sequence[Answered]:
        """Calls without an answer, or with another one than 2xx."""
        return [call for call in self.answered if not 200 <= call.status < 300]

    def summary(self) -> str:
        """Figures of all calls, in one line."""
        calls = self.answered
        degraded = [call for call in calls if call.status == 200 and call.body.get("degraded")]
        longest = max((call.seconds for call in calls), default=0.0)
        span = max(call.began + call.seconds for call in calls) - min(call.began for call in calls)
        return (
            f"{len(calls)} calls in {span:.0f} s, {len(self.failed)} failed, {len(degraded)} degraded, "
            f"longest {longest:.2f} s"
        )

    def _run(self) -> None:
        # A connection each: one that is kept may be closed by a proxy that takes in a new configuration.
        while not self._ended.wait(self._pause):
            path, body = self._calls(next(self._numbers))
            began = time.monotonic()
            status, answer = self._call(path, body)
            self._answered.append(Answered(path, began, time.monotonic() - began, status, answer))

    def _call(self, path: str, body: Mapping[str, Any]) -> tuple[int, Any]:
        try:
            answer = httpx.post(
                self._url + path, json=body, headers=self._headers, timeout=30, trust_env=False
            )
            return answer.status_code, answer.json()
        except (httpx.HTTPError, ValueError) as error:
            return 0, repr(error)
