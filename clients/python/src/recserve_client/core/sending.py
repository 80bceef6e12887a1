"""A call on its way: what is sent, what came back, and whether it goes once more."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from urllib.parse import quote

import httpx

from recserve_client.core.decoding import decode, encode
from recserve_client.core.errors import NoAnswerError, UnexpectedAnswerError, answer_error
from recserve_client.core.retries import Retries, may_repeat, seconds_of

T = TypeVar("T")

_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


@dataclass(frozen=True)
class Call(Generic[T]):
    """One call of the API.

    Attributes:
        method: HTTP method.
        url: Path, encoded.
        answer: What a success is decoded as; ``str`` for text.
        repeatable: Carrying it out twice does no harm.
        query: Parameters of the query; those that are None are left out.
        body: Fields of the body, likewise; None sends no body.
    """

    method: str
    url: str
    answer: type[T]
    repeatable: bool
    query: Mapping[str, Any] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None

    @staticmethod
    def path(template: str, *parts: str) -> str:
        """Fill ids into a path.

        Raises:
            ValueError: An id that a path cannot hold: an empty one, ``.`` or ``..``.
        """
        for part in parts:
            if part in ("", ".", ".."):
                raise ValueError(f"{part!r} cannot be part of a URL")
            head, _, tail = template.partition("{")
            template = head + quote(part, safe="") + tail.partition("}")[2]
        return template


class Course(Generic[T]):
    """The course of one call: its attempts, until there is an answer or an error.

    Args:
        call: The call.
        retries: When to give up.
    """

    def __init__(self, call: Call[T], retries: Retries) -> None:
        self._call = call
        self._retries = retries
        self._attempt = 0
        self._began = time.monotonic()

    def request(self, client: httpx.Client | httpx.AsyncClient) -> httpx.Request:
        """The next attempt."""
        self._attempt += 1
        call = self._call
        query = {
            name: value if isinstance(value, str | int | float) else list(value)
            for name, value in call.query.items()
            if value is not None
        }
        if call.body is None:
            return client.build_request(call.method, call.url, params=query)
        body = encode({name: value for name, value in call.body.items() if value is not None})
        headers = {"Content-Type": "application/json"}
        return client.build_request(call.method, call.url, params=query, content=body, headers=headers)

    def answer(self, response: httpx.Response) -> T:
        """The answer of a success.

        Raises:
            UnexpectedAnswerError: It is not what it should be.
        """
        if self._call.answer is str:
            return response.text  # type: ignore[return-value] # T is str
        try:
            data = response.json()
        except ValueError:
            raise UnexpectedAnswerError(
                f"{self._call.method} {self._call.url}: the answer is not JSON; is this a recserve server?"
            ) from None
        return decode(self._call.answer, data)

    def wait_after_answer(self, response: httpx.Response) -> float:
        """Seconds until the next attempt after an answer that is no success.

        Raises:
            AnswerError: There is no further attempt.
        """
        try:
            body = response.json()
        except ValueError:
            body = None
        retry_after = seconds_of(response.headers.get("Retry-After"))
        error = answer_error(
            response.status_code,
            body,
            response.text,
            retry_after=retry_after,
            request_id=response.headers.get("X-Request-ID"),
            attempts=self._attempt,
        )
        wait = None
        if may_repeat(error.status, error.code, repeatable=self._call.repeatable):
            wait = self._retries.wait(self._attempt, self._elapsed(), retry_after)
        if wait is None:
            raise error
        return wait

    def wait_after_failure(self, failure: httpx.TransportError) -> float:
        """Seconds until the next attempt after one without an answer.

        Raises:
            NoAnswerError: There is no further attempt.
        """
        never_sent = isinstance(failure, _NEVER_SENT)
        wait = None
        if not isinstance(failure, httpx.UnsupportedProtocol) and (never_sent or self._call.repeatable):
            wait = self._retries.wait(self._attempt, self._elapsed(), None)
        if wait is None:
            what = str(failure) or type(failure).__name__
            message = f"{self._call.method} {self._call.url}: {what} (attempt {self._attempt})"
            raise NoAnswerError(message, self._attempt, maybe_done=not never_sent) from failure
        return wait

    def _elapsed(self) -> float:
        return time.monotonic() - self._began


class Sender(ABC):
    """Sends calls and waits for their answers."""

    @abstractmethod
    def _send(self, call: Call[T]) -> T:
        """The answer to a call."""


class AsyncSender(ABC):
    """Sends calls without holding up the event loop."""

    @abstractmethod
    async def _send(self, call: Call[T]) -> T:
        """The answer to a call."""
