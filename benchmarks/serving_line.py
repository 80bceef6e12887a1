"""A connection of the load generator, with as little work for each request as possible."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import cast


class Line(asyncio.Protocol):
    """One keep-alive connection: send a request, have a function called with the answer's status and body.

    Attributes:
        sent: When the last request was, by :func:`time.perf_counter`.
    """

    def __init__(self) -> None:
        self.sent = 0.0
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._told: Told | None = None

    @property
    def open(self) -> bool:
        """Whether a request can be sent."""
        return self._transport is not None and not self._transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but its class

    def send(self, raw: bytes, told: Told) -> None:
        """Send a whole request; ``told`` is called once."""
        self._told = told
        self.sent = time.perf_counter()
        if self._transport is None or self._transport.is_closing():
            self._tell(0, b"")
        else:
            self._transport.write(raw)

    def data_received(self, data: bytes) -> None:
        """Called by the loop."""
        if self._buffer:
            data = self._buffer + data
        end = data.find(b"\r\n\r\n")
        head = data[: max(end, 0)].lower()
        body = _body(head, data[end + 4 :]) if end >= 0 else None
        if body is None:
            self._buffer = data
            return
        self._buffer = b""
        if b"connection: close" in head:
            self.close()
        self._tell(int(head[9:12]), body)

    def connection_lost(self, error: Exception | None) -> None:
        """Called by the loop."""
        self._transport = None
        self._tell(0, b"")

    def close(self) -> None:
        """Close it."""
        if self._transport is not None:
            self._transport.close()

    def give_up(self) -> None:
        """Close it without waiting for an answer any longer."""
        if self._transport is not None:
            self._transport.abort()
        self._tell(0, b"")

    def _tell(self, status: int, body: bytes) -> None:
        told, self._told = self._told, None
        if told is not None:
            told(self, status, body)


def _body(head: bytes, rest: bytes) -> bytes | None:
    """The body after a head in lower case, in its chunks where it has any; None until all of it is there."""
    place = head.find(b"content-length:")
    if place >= 0:
        length = int(head[place + 15 :].split(b"\r\n", 1)[0])
        return rest[:length] if len(rest) >= length else None
    if b"transfer-encoding: chunked" in head:
        return rest if rest.endswith(b"\r\n0\r\n\r\n") or rest == b"0\r\n\r\n" else None
    return b""


Told = Callable[[Line, int, bytes], None]
"""What is called with an answer, or with status 0: the line, the status and the body."""


async def connect(port: int) -> Line:
    """A new connection to a server on loopback."""
    _, line = await asyncio.get_running_loop().create_connection(Line, "127.0.0.1", port)
    return line
