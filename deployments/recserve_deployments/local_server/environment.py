"""The surroundings of an owned server: its run directory, its token, and the variables Ray must find.

Ray and Serve read most of these when they are imported, so they are set before that, in the environment of
the supervisor (whose children inherit them) and of every command that joins the cluster.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

from recserve.config import ServerConfig
from recserve.errors import RuntimeEnvironmentError
from recserve_deployments.local_server.haproxy import most_connections, write_script
from recserve_deployments.local_server.ports import LOOPBACK, ServePorts

TOKEN_FILE = "ray.token"
RUN_PARENTS = (Path("/tmp"), Path("/var/tmp"), Path("/dev/shm"))
LONGEST_RUN_DIRECTORY = 24
"""HAProxy binds <directory>/h/<56 digits of a node>/a under a longer temporary name, of at most 97 bytes."""

ANY_ADDRESS = "0.0.0.0/0,::/0"
"""Every IP address, as gRPC's ``no_grpc_proxy`` understands it."""

# What makes Serve fast; must be the same in every process of a cluster.
SERVE_FLAGS = {
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    # Lines are few with access logs off, and one that waits in a buffer says nothing when it matters.
    "RAY_SERVE_REQUEST_PATH_LOG_BUFFER_SIZE": "1",
    # A micro-batch with a large candidate budget outgrows gRPC's default of 4 MB.
    "RAY_SERVE_REPLICA_GRPC_MAX_MESSAGE_LENGTH": str(64 * 2**20),
}

PROXY_FLAG = "RAY_SERVE_HAPROXY_BINARY_PATH"
"""Names the program that Serve runs as HAProxy."""

PROXY_NAME = "recserve-haproxy"
"""That of nodes of a cluster that is joined; an owned server has a script of its own."""


def run_directory(home: Path, parents: Sequence[Path] = RUN_PARENTS) -> Path:
    """Make the private folder of a home's sockets, Ray sessions and the script that stands in for HAProxy.

    It lies outside the home because names of UNIX sockets have at most 107 bytes, and Ray and HAProxy need
    most of them.

    Args:
        home: The home folder.
        parents: Where it may lie; the first one that serves is taken, and always the same one.

    Raises:
        RuntimeEnvironmentError: Somebody else owns a folder of that name, or there is no place for it.
    """
    digest = hashlib.sha256(f"{os.getuid()}:{home.resolve()}".encode()).hexdigest()[:8]
    problems = []
    for parent in parents:
        directory = parent / f"rs-{digest}"
        problem = _unusable(parent, directory)
        if problem is None:
            return _private(directory)
        problems.append(f"{parent} {problem}")
    raise RuntimeEnvironmentError(f"no place for the server's sockets: {'; '.join(problems)}")


def _unusable(parent: Path, directory: Path) -> str | None:
    if not os.access(parent, os.W_OK | os.X_OK):
        return "may not be written to"
    if os.statvfs(parent).f_flag & os.ST_NOEXEC:
        return "is mounted with noexec, and HAProxy could not be started there"
    if len(os.fsencode(directory)) > LONGEST_RUN_DIRECTORY:
        return f"has too long a name: sockets allow {LONGEST_RUN_DIRECTORY} bytes for {directory}"
    return None


def _private(directory: Path) -> Path:
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        found = directory.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
            raise RuntimeEnvironmentError(f"{directory} belongs to somebody else; remove it")
        directory.chmod(0o700)
    except OSError as error:
        raise RuntimeEnvironmentError(f"cannot use {directory}: {error.strerror}") from None
    return directory


def without_web_proxy(environ: Mapping[str, str], *hosts: str) -> dict[str, str]:
    """Variables that keep a cluster's own calls away from the web proxy that ``http_proxy`` names.

    Args:
        environ: The present environment; who is excepted there stays so.
        hosts: Further hosts of the cluster.
    """
    local = ["localhost", LOOPBACK, "::1", *hosts]
    own = environ.get("no_proxy", environ.get("NO_PROXY", "")).split(",")
    grpc = environ.get("no_grpc_proxy", ",".join(own)).split(",")
    excepted = ",".join(dict.fromkeys(host.strip() for host in (*own, *local) if host.strip()))
    # Handles call replicas by address, on whatever node they are, or will be: no address is called by proxy.
    every = (*grpc, *local, ANY_ADDRESS)
    return {
        "no_proxy": excepted,
        "NO_PROXY": excepted,
        "no_grpc_proxy": ",".join(dict.fromkeys(host.strip() for host in every if host.strip())),
    }


def web_proxy_hint(environ: Mapping[str, str]) -> str:
    """What to add to the news that a cluster does not answer, where a web proxy may be why; else nothing."""
    names = ("grpc_proxy", "https_proxy", "http_proxy")
    name = next((name for name in names if environ.get(name)), None)
    if name is None:
        return ""
    return f"; {name} is set: no_proxy and no_grpc_proxy of every node must except the cluster's addresses"


def ensure_token(home: Path) -> Path:
    """The file with the home's Ray token, made on first use, readable by its owner only."""
    path = home / TOKEN_FILE
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        path.chmod(0o600)
        return path.resolve()
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(secrets.token_hex(32))
    return path.resolve()


def client_environment(home: Path) -> dict[str, str]:
    """Variables of a process that talks to the home's own cluster."""
    return {
        **SERVE_FLAGS,
        **without_web_proxy(os.environ),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(ensure_token(home)),
        # Despite its name this decides on every system whether nodes go by their network address. One
        # machine needs none: Ray's own ports then listen on loopback.
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    }


def server_environment(
    home: Path, directory: Path, ports: ServePorts, host: str, server: ServerConfig
) -> dict[str, str]:
    """Variables of an owned server's processes.

    Args:
        home: The home folder.
        directory: Its run directory.
        ports: Ports beside the public one.
        host: Host of the HTTP API.
        server: Its port and limits.
    """
    proxy = directory / "h"
    # HAProxy starts with what an earlier one saved; ports of an earlier server must not come back.
    shutil.rmtree(proxy, ignore_errors=True)
    proxy.mkdir(mode=0o700)
    return {
        **client_environment(home),
        **ports.environment(),
        PROXY_FLAG: str(write_script(directory, host, server)),
        "RAY_SERVE_HAPROXY_MAXCONN": str(most_connections(server)),
        # Every wait for a client or a replica has an end; Serve's own limit of a request comes first.
        "RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S": "60",
        "RAY_SERVE_HAPROXY_TIMEOUT_SERVER_S": "60",
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(proxy / "haproxy.cfg"),
        # Short names, see run_directory.
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(proxy / "a"),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(proxy / "m"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(proxy),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(proxy / "state"),
        "RAY_SERVE_HAPROXY_NBTHREAD": "1",
        # Ray runs workers, which are our replicas, at niceness 15: any other program would starve them.
        "RAY_worker_niceness": "0",
        # A log line a request, read back by Python, is a third of what a small server can do.
        "RAY_SERVE_HAPROXY_METRICS_ENABLED": "0",
        # Nobody reads Ray's own metrics here (ours are at /v1/metrics), and Ray's agent replays every request
        # one by one into its histograms: a whole core for a second, some times a minute, on a busy server.
        "RAY_enable_metrics_collection": "0",
        # A proxy that takes longer to start is killed, and the start of the server fails with it. The default
        # of 5 seconds is not enough on a busy machine.
        "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60",
        # How often the controller compares what is with what should be: ten times a second would be a third
        # of what an idle server costs.
        "RAY_SERVE_CONTROL_LOOP_INTERVAL_S": "0.3",
        # There is one node, which need not be told ten times a second what it has left.
        "RAY_raylet_report_resources_period_milliseconds": "1000",
        # How long a stopping ingress waits for proxies on other machines, of which there are none.
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "1",
    }
