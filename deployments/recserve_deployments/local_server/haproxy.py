"""HAProxy of an owned server: its limits, the script that stands in for it, and a check of Ray's version."""

from __future__ import annotations

import json
import resource
import shlex
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from recserve.config import ServerConfig
from recserve.errors import RuntimeEnvironmentError
from recserve.serving.requests.request import CALL_HEADER
from recserve_deployments.local_server import haproxy_config
from recserve_deployments.local_server.haproxy_config import ProxySettings, haproxy_binary, write_answers
from recserve_deployments.local_server.ports import LOOPBACK, binds

_OTHER_FILES = 500
_FILES_PER_CONNECTION = 2.5
"""Files that HAProxy opens: for a client, a replica, and every fourth time a pipe between the two."""

_SCRIPT = """#!/bin/sh
{python} -I -S {module} {settings} "$@" || exit 1
exec {binary} "$@"
"""


def connections_of(files: int) -> int:
    """Connections that HAProxy can hold with so many open files."""
    return max(int((files - _OTHER_FILES) / _FILES_PER_CONNECTION), 16)


def most_connections(server: ServerConfig) -> int:
    """Connections that HAProxy accepts: as configured, or as many as there may be open files for."""
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return server.max_connections
    return min(server.max_connections, connections_of(files))


def connections_per_address(server: ServerConfig) -> int:
    """Connections that HAProxy accepts from one address."""
    most = most_connections(server)
    return min(server.max_connections_per_address or max(most // 4, 1), most)


def most_recommendations(server: ServerConfig) -> int:
    """Recommendations that all ingress replicas hold: those in batches, and those that wait for one."""
    replicas = max(server.ingress.replicas, server.ingress.max_replicas or 1)
    return replicas * (server.max_batch * server.batches_in_flight + server.max_queue)


def write_script(directory: Path, host: str, server: ServerConfig) -> Path:
    """Write the script that Serve is given as HAProxy, and what it needs.

    Args:
        directory: The server's run directory.
        host: Host of the HTTP API.
        server: Its port and limits.
    """
    answers = directory / "answers"
    answers.mkdir(exist_ok=True)
    write_answers(answers)
    settings = directory / "haproxy.json"
    settings.write_text(
        json.dumps(
            asdict(
                ProxySettings(
                    port=server.port,
                    binds=",".join(binds(host, server.port)),
                    answers=str(answers),
                    call_header=CALL_HEADER,
                    receive_seconds=server.receive_seconds,
                    per_address=connections_per_address(server),
                    most=most_recommendations(server),
                )
            )
        ),
        encoding="utf-8",
    )
    script = directory / "haproxy"
    script.write_text(
        _SCRIPT.format(
            python=shlex.quote(sys.executable),
            module=shlex.quote(haproxy_config.__file__),
            settings=shlex.quote(str(settings)),
            binary=shlex.quote(haproxy_binary()),
        ),
        encoding="utf-8",
    )
    script.chmod(0o700)
    return script


def generated(folder: Path, port: int, replica_port: int = 1, host: str = LOOPBACK) -> Path:
    """The configuration that the installed Ray Serve generates for one replica. Imports Ray.

    Args:
        folder: An empty folder; the file lies there.
        port: Port of the HTTP API.
        replica_port: Port of the replica.
        host: Where the HTTP API listens.
    """
    # Serve has no public way to see it.
    from ray.serve._private.haproxy import BackendConfig, HAProxyApi, HAProxyConfig
    from ray.serve._private.haproxy import ServerConfig as Target
    from ray.serve.config import HTTPOptions

    file = folder / "haproxy.cfg"
    server = Target("one", LOOPBACK, replica_port)
    replica = BackendConfig(name="http-app", path_prefix="/", app_name="app", servers=[server])
    proxy = HAProxyConfig(
        http_options=HTTPOptions(host=host, port=port),
        socket_path=str(folder / "a"),
        server_state_base=str(folder),
        server_state_file=str(folder / "state"),
    )
    HAProxyApi(proxy, {"app": replica}, str(file))._generate_config_file_internal()
    return file


def check_script(script: Path, port: int) -> None:
    """Make sure that the installed Ray's configuration can be corrected and HAProxy accepts the result.

    Raises:
        RuntimeEnvironmentError: It is another one than recserve knows, or HAProxy cannot be run.
    """
    import ray

    with tempfile.TemporaryDirectory(dir=script.parent) as folder:
        try:
            file = generated(Path(folder), port)
            done = subprocess.run(
                [str(script), "-c", "-f", str(file)], capture_output=True, text=True, timeout=60, check=False
            )
        except (ImportError, AttributeError, TypeError, OSError, subprocess.SubprocessError) as error:
            reason = f"{type(error).__name__}: {error}"
        else:
            if done.returncode == 0:
                return
            reason = (done.stderr.strip() or done.stdout.strip()).replace("\n", "; ")
    raise RuntimeEnvironmentError(
        f"HAProxy cannot be set up with Ray {ray.__version__}; recserve works with Ray 2.60: {reason[:500]}"
    )
