"""A TCP proxy that can misbehave as networks do: it swallows what is sent, or lets answers wait."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import make_url


class TcpProxy:
    """Forwards a port of the loopback to a Unix socket or a TCP address.

    Attributes:
        port: The port.
        delay: Seconds that each answer waits before it goes on.

    Args:
        target: Path of a Unix socket, or host and port.
    """

    def __init__(self, target: Path | tuple[str, int]) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port: int = self._listener.getsockname()[1]
        self.delay = 0.0
        self._open: set[socket.socket] = set()
        self._swallowed: set[socket.socket] = set()
        self._swallowing = False
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def url(self, direct: str) -> str:
        """The URL of a PostgreSQL database by way of this proxy, given the one past it."""
        parsed = make_url(direct)
        query = {name: value for name, value in parsed.query.items() if name != "host"}
        behind = parsed.set(host="127.0.0.1", port=self.port, query=query)
        return behind.render_as_string(hide_password=False)

    def swallow(self) -> None:
        """Become a black hole: connections stay open and accept everything, and nothing comes back."""
        with self._lock:
            self._swallowing = True
            self._swallowed |= self._open

    def forward(self) -> None:
        """Forward new connections again; those of the black hole stay as they are."""
        self._swallowing = False

    def close(self) -> None:
        """End the proxy and all its connections."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # closed
                return
            try:
                server = self._connect()
            except OSError:  # the target is away: so is the client's connection
                client.close()
                continue
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._open |= {client, server}
                if self._swallowing:
                    self._swallowed |= {client, server}
            threading.Thread(target=self._pump, args=(client, server, False), daemon=True).start()
            threading.Thread(target=self._pump, args=(server, client, True), daemon=True).start()

    def _connect(self) -> socket.socket:
        if isinstance(self._target, tuple):
            return socket.create_connection(self._target)
        server = socket.socket(socket.AF_UNIX)
        server.connect(str(self._target))
        return server

    def _pump(self, source: socket.socket, sink: socket.socket, answers: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if answers and self.delay:
                    time.sleep(self.delay)
                if source not in self._swallowed:
                    sink.sendall(data)
        with self._lock:
            self._open.discard(source)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def tcp_proxy(target: Path | tuple[str, int]) -> Iterator[TcpProxy]:
    """A proxy that ends with the block."""
    proxy = TcpProxy(target)
    try:
        yield proxy
    finally:
        proxy.close()
