"""Which ports a server uses, whether they are free, and who listens where."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import socket
import zlib
from collections.abc import Iterable
from dataclasses import dataclass

import psutil

from recserve.errors import RuntimeEnvironmentError

LOOPBACK = "127.0.0.1"
EVERYWHERE = "0.0.0.0"

# Below the range that kernels take client ports from, above the one that Ray gives to workers.
_FIRST, _LAST = 20_000, 32_000
_WINDOW = 64
_HTTP_REPLICAS = 40


@dataclass(frozen=True)
class ServePorts:
    """The ports of Serve beside the public one; a window of neighbours starting at ``base``."""

    base: int

    def is_page(self, port: int) -> bool:
        """Whether this is where HAProxy shows its metrics or its statistics."""
        return port in (self.base, self.base + 1)

    def is_api(self, port: int) -> bool:
        """Whether the HTTP API answers here too: the fallback proxy, or an ingress replica itself."""
        return self.base + 2 <= port < self.base + 4 + _HTTP_REPLICAS

    def environment(self) -> dict[str, str]:
        """The variables that tell Serve."""
        grpc_first = self.base + 4 + _HTTP_REPLICAS
        return {
            "RAY_SERVE_HAPROXY_METRICS_PORT": str(self.base),
            "RAY_SERVE_HAPROXY_STATS_PORT": str(self.base + 1),
            "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(self.base + 2),
            "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT": str(self.base + 3),
            "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT": str(self.base + 4),
            "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT": str(grpc_first),
            "RAY_SERVE_DIRECT_INGRESS_MIN_GRPC_PORT": str(grpc_first),
            # The last one is held, see reserve_ports.
            "RAY_SERVE_DIRECT_INGRESS_MAX_GRPC_PORT": str(self.base + _WINDOW - 2),
        }


def check_host(host: str) -> str:
    """The address to listen on: an IPv4 address of this machine, or 0.0.0.0 for all of them.

    Raises:
        RuntimeEnvironmentError: It is something else.
    """
    if host == "localhost":
        return LOOPBACK
    try:
        return str(ipaddress.IPv4Address(host))
    except ValueError:
        raise RuntimeEnvironmentError(
            f"host {host!r} is not an IPv4 address; use {LOOPBACK} for this machine only, or {EVERYWHERE} "
            "for every network it is in",
            field="server.host",
        ) from None


def binds(host: str, port: int) -> tuple[str, ...]:
    """What HAProxy listens on: the host, and loopback always, because Serve looks after HAProxy there."""
    hosts = (host,) if host in (LOOPBACK, EVERYWHERE) else (LOOPBACK, host)
    return tuple(f"{one}:{port}" for one in hosts)


def check_port(host: str, port: int) -> None:
    """Make sure that the public port is free, before anything is started.

    Raises:
        RuntimeEnvironmentError: It is taken or may not be used.
    """
    problem = _cannot_bind(host, port)
    if problem is None and host not in (LOOPBACK, EVERYWHERE):
        problem = _cannot_bind(LOOPBACK, port)
    if problem is None:
        return
    if problem == errno.EADDRNOTAVAIL:
        raise RuntimeEnvironmentError(f"{host} is not an address of this machine", field="server.host")
    if problem == errno.EADDRINUSE:
        raise RuntimeEnvironmentError(
            f"port {port} on {host} is in use by {_holder(port)}; stop it or choose another port with --port",
            field="server.port",
        )
    raise RuntimeEnvironmentError(
        f"cannot listen on port {port} of {host}: {errno.errorcode.get(problem, problem)}; "
        "choose another port with --port",
        field="server.port",
    )


def reserve_ports(key: str) -> tuple[ServePorts, socket.socket]:
    """A window of free ports; the same key gets the same window whenever that is free.

    Serve binds its ports a while later. Until then the socket, which a server's process must inherit, keeps
    other servers that start from taking the same window.

    Raises:
        RuntimeEnvironmentError: There is none.
    """
    windows = (_LAST - _FIRST) // _WINDOW
    start = zlib.crc32(key.encode()) % windows
    for step in range(windows):
        base = _FIRST + (start + step) % windows * _WINDOW
        held = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        with contextlib.suppress(OSError):
            held.bind((LOOPBACK, base + _WINDOW - 1))
            if all(_cannot_bind("", port) is None for port in range(base, base + _WINDOW - 1)):
                return ServePorts(base), held
        held.close()
    raise RuntimeEnvironmentError(f"no {_WINDOW} free neighbouring ports between {_FIRST} and {_LAST}")


def _cannot_bind(host: str, port: int) -> int | None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # A server that has just stopped leaves connections in TIME_WAIT; they do not hinder a new one.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error.errno or errno.EINVAL
    return None


def _holder(port: int) -> str:
    try:
        for connection in psutil.net_connections("tcp"):
            if connection.status != psutil.CONN_LISTEN or not connection.laddr or not connection.pid:
                continue
            if connection.laddr.port == port:
                return f"{psutil.Process(connection.pid).name()} (process {connection.pid})"
    except psutil.Error:
        pass
    return "another program"


def accepts(address: str, timeout: float = 2.0) -> bool:
    """Whether something listens at ``host:port``."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout):
            return True
    except (OSError, ValueError):
        return False


@dataclass(frozen=True)
class Listener:
    """A listening TCP socket of a server.

    Attributes:
        address: Address it is bound to; ``::`` and ``0.0.0.0`` are every interface.
        port: Its port.
        process: What the process calls itself.
        pid: Its process id.
    """

    address: str
    port: int
    process: str
    pid: int

    @property
    def loopback(self) -> bool:
        """Whether only this machine reaches it."""
        return self.address.removeprefix("::ffff:").startswith("127.") or self.address == "::1"


def listeners(processes: Iterable[psutil.Process]) -> list[Listener]:
    """Listening TCP sockets of these processes, by port."""
    found: list[Listener] = []
    for process in processes:
        try:
            name = (process.cmdline() or [process.name()])[0].rpartition("/")[2]
            found.extend(
                Listener(one.laddr.ip, one.laddr.port, name, process.pid)
                for one in process.net_connections("tcp")
                if one.status == psutil.CONN_LISTEN and one.laddr
            )
        except psutil.Error:
            continue
    return sorted(found, key=lambda one: one.port)
