"""Answers remembered by the content of their prompts, each asked for once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from concurrent.futures import Future, wait
from threading import Lock
from typing import Generic, TypeVar

from cachetools import TTLCache

from recserve import count_outcome
from recserve_llm.client.breaker import CircuitBreaker
from recserve_llm.client.chat import ChatClient
from recserve_llm.client.completion import ChatRequest, Completion, LlmError

logger = logging.getLogger(__name__)

T = TypeVar("T")


class RefusedError(Exception):
    """An answer that a check refused.

    Args:
        reason: Why, in one word that metrics count.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class AnswerMemory(Generic[T]):
    """Checked answers of a model: remembered, or asked for in the background.

    Whoever asks for what is being asked already waits for the same call. A refused answer is remembered too,
    as None: the same prompt would bring it again.

    Args:
        component: Under whose name outcomes are counted.
        client: Asks the model.
        size: Answers remembered.
        seconds: For how long.
    """

    def __init__(self, component: str, client: ChatClient, size: int, seconds: float) -> None:
        self._component = component
        self._client = client
        self._lock = Lock()
        self._known: TTLCache[str, T | None] = TTLCache(size, seconds)
        self._asking: dict[str, Future[T | None]] = {}
        self._patience = CircuitBreaker(failures=3, pauses=(0.5, 30.0))

    def ask(self, request: ChatRequest, check: Callable[[Completion], T]) -> Future[T | None]:
        """The answer, known or to be.

        Args:
            request: The prompt.
            check: Makes the answer of a completion; raises :class:`RefusedError`.

        Returns:
            The answer, None if it was refused, or an :class:`LlmError`.
        """
        key = request.key(self._client.params.model)
        with self._lock:
            if key in self._known:
                known: Future[T | None] = Future()
                known.set_result(self._known[key])
                count_outcome(self._component, "cached")
                return known
            asking = self._asking.get(key)
            if asking is not None:
                return asking
            answer: Future[T | None] = Future()
            self._asking[key] = answer
        self._client.submit(request).add_done_callback(lambda done: self._finish(key, done, check, answer))
        return answer

    def wait(self, asked: Iterable[Future[T | None]], seconds: float) -> None:
        """Wait until answers are there, or for some time.

        After three times in vain in a row nobody is made to wait, but for one now and then: answers are then
        asked for in the background alone, and are there next time.

        Args:
            asked: The answers.
            seconds: Longest wait.
        """
        missing = [answer for answer in asked if not answer.done()]
        if not missing or not self._patience.admits():
            return
        _, late = wait(missing, timeout=max(seconds, 0.0))
        if late:
            self._patience.failed()
        else:
            self._patience.succeeded()

    def _finish(
        self,
        key: str,
        done: Future[Completion],
        check: Callable[[Completion], T],
        answer: Future[T | None],
    ) -> None:
        """Check what came; in the thread of the call, or of whoever asked if it was refused at once."""
        found: T | None = None
        error: BaseException | None = done.exception()
        if error is None:
            try:
                found = check(done.result())
                outcome = "answered"
            except RefusedError as refused:
                outcome = f"refused_{refused.reason}"
            except Exception as raised:  # a check must not fail; if it does the waiters are told
                error, outcome = raised, "failed"
        else:
            outcome = error.cause if isinstance(error, LlmError) else "failed"
        count_outcome(self._component, outcome)
        with self._lock:
            self._asking.pop(key, None)
            if error is None:
                self._known[key] = found
        if error is not None:
            _log(self._component, error)
            answer.set_exception(error)
        else:
            answer.set_result(found)


_LOGGED: set[tuple[str, str]] = set()


def _log(component: str, error: BaseException) -> None:
    """Each kind of failure once as a warning; metrics tell how often."""
    kind = (component, f"{type(error).__name__}: {error}"[:200])
    level = logging.DEBUG if kind in _LOGGED else logging.WARNING
    if len(_LOGGED) < 1_000:
        _LOGGED.add(kind)
    logger.log(level, "%s: %s", *kind)
