"""The requests that some work is done for: ids and traces, in a context variable and across processes."""

from __future__ import annotations

import itertools
import re
import secrets
from collections.abc import Iterable, Sequence
from contextvars import ContextVar
from typing import NamedTuple

REQUEST_ID = b"x-request-id"
TRACEPARENT = b"traceparent"

_GOOD_ID = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}")
_NUMBERS = itertools.count()
_PROCESS = secrets.token_hex(8)


class RequestContext(NamedTuple):
    """The requests that some work is done for.

    Attributes:
        request_ids: Their ids, as clients and log lines have them.
        traceparents: Spans that the work belongs to, in the form of W3C Trace Context; none if not traced.
    """

    request_ids: tuple[str, ...] = ()
    traceparents: tuple[str, ...] = ()

    @property
    def trace_ids(self) -> tuple[str, ...]:
        """Ids of the traces."""
        return tuple(parent.split("-")[1] for parent in self.traceparents)


NO_REQUEST = RequestContext()

_CURRENT: ContextVar[RequestContext] = ContextVar("recserve_requests", default=NO_REQUEST)

current = _CURRENT.get
"""The requests that this task or thread works for."""

enter = _CURRENT.set
"""Have this task or thread work for some requests; returns what :func:`leave` takes."""

leave = _CURRENT.reset
"""Have it work for whom it worked before."""


def together(contexts: Sequence[RequestContext]) -> RequestContext:
    """The context of work that is done for several requests at once."""
    if len(contexts) == 1:
        return contexts[0]
    distinct = dict.fromkeys(contexts)
    return RequestContext(
        tuple(id_ for context in distinct for id_ in context.request_ids),
        tuple(parent for context in distinct for parent in context.traceparents),
    )


def request_id_of(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The id that a client or proxy gave to a request; a new one if there is none, or none to be logged."""
    for name, value in headers:
        if name == REQUEST_ID and _GOOD_ID.fullmatch(value):
            return value.decode("ascii")
    return f"{_PROCESS}-{next(_NUMBERS):x}"
