"""Counts of one stream: for its log, for its last line, and for Prometheus."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from recserve.errors import ConfigError, RuntimeEnvironmentError
from recserve.telemetry.instruments import STREAM_BEHIND, STREAM_CHANGES
from recserve.telemetry.metrics import CONTENT_TYPE, Metrics, Origin, render

logger = logging.getLogger("recserve.streams")

SAID_SECONDS = 10.0
"""Time between two lines on how far a stream is."""
NAMED = 20
"""Refused messages that are named between two such lines; the others are counted only."""


class StreamCounts:
    """Counters of what became of the changes of one stream.

    Args:
        stream: Name of the stream, as metrics show it.
    """

    def __init__(self, stream: str) -> None:
        self.stream = stream
        self.metrics = Metrics(Origin("stream", stream))
        self.totals: Counter[tuple[str, str]] = Counter()
        self._behind: Mapping[str, int] = {}
        self._said_at = time.monotonic()
        self._said_totals = 0
        self._named = 0
        self.metrics.watch(
            STREAM_BEHIND, lambda: {(stream, kind): float(n) for kind, n in self._behind.items()}
        )

    def count(self, kind: str, outcome: str, by: int = 1) -> None:
        """Count changes.

        Args:
            kind: Such as ``events``.
            outcome: What became of them, such as ``stored``.
            by: How many.
        """
        if by:
            self.totals[kind, outcome] += by
            self.metrics.count(STREAM_CHANGES, self.stream, kind, outcome, by=by)

    def refuse(self, what: str, reason: str) -> None:
        """Log a change that was refused, unless very many are."""
        self._named += 1
        if self._named <= NAMED:
            logger.warning("%s was refused: %s", what, reason)
        elif self._named == NAMED + 1:
            logger.warning("further refusals are counted, and named again in the next lines on progress")

    def behind(self, changes: Mapping[str, int]) -> None:
        """Note how many changes are still to come, by kind or topic."""
        self._behind = dict(changes)

    def say(self, *, now: bool = False) -> None:
        """Log how far the stream is, every few seconds if anything has happened."""
        moment, total = time.monotonic(), sum(self.totals.values())
        if total == self._said_totals or (moment - self._said_at < SAID_SECONDS and not now):
            return
        logger.info("%s: %s; %s behind", self.stream, self.line(), f"{sum(self._behind.values()):,}")
        self._said_at, self._said_totals, self._named = moment, total, 0

    def line(self) -> str:
        """All counts in words."""
        counted = sorted(self.totals.items())
        return ", ".join(f"{n:,} {kind} {outcome}" for (kind, outcome), n in counted) or "nothing"


@contextmanager
def metrics_page(address: str | None, counts: StreamCounts) -> Iterator[None]:
    """Serve ``/metrics`` while the block runs.

    Args:
        address: HOST:PORT to listen on; None serves nothing.
        counts: What is shown.

    Raises:
        ConfigError: Not an address.
        RuntimeEnvironmentError: It cannot be listened on.
    """
    if address is None:
        yield
        return
    server = _listening(address, counts.metrics)
    thread = threading.Thread(target=server.serve_forever, name="stream-metrics", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _listening(address: str, metrics: Metrics) -> ThreadingHTTPServer:
    class Page(BaseHTTPRequestHandler):
        """Handler of scrapes."""

        timeout = 10.0

        def do_GET(self) -> None:
            """Answer a scrape."""
            if self.path.partition("?")[0] != "/metrics":
                self.send_error(404)
                return
            body = render([metrics.snapshot()])
            self.send_response(200)
            self.send_header("Content-Type", CONTENT_TYPE)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Scrapes are not logged."""

    try:
        parts = urlsplit(f"//{address}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if host is None or port is None:
        raise ConfigError(f"--metrics {address!r} is not HOST:PORT, such as 127.0.0.1:9109")
    try:
        return ThreadingHTTPServer((host, port), Page)
    except OSError as error:
        raise RuntimeEnvironmentError(f"cannot listen on {address}: {error.strerror}") from None
