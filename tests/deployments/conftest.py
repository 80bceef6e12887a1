"""One real server for the session: its own Ray cluster, home and ports, driven by the command line."""

from __future__ import annotations

import contextlib
import os
import random
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import yaml
from recserve_deployments.local_server.environment import run_directory, server_environment
from recserve_deployments.local_server.ports import reserve_ports
from recserve_deployments.local_server.state_file import ServerState, read_state

from recserve.config import ServerConfig

START_SECONDS = 400

_CLUSTER = """
import sys, ray
port = {"dashboard_port": int(sys.argv[2])} if sys.argv[2:] else {}
context = ray.init(address="local", num_cpus=2, include_dashboard=bool(port), **port, _temp_dir=sys.argv[1],
                   object_store_memory=100 * 2**20, log_to_driver=False, _node_ip_address="127.0.0.1")
print(context.address_info["gcs_address"], flush=True)
sys.stdin.read()
ray.shutdown()
"""


def free_port() -> int:
    """Outside the range that the kernel, and with it Ray, takes ports from by itself."""
    for port in random.sample(range(18_000, 20_000), 100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no free port")


@dataclass
class Server:
    """A home whose server is driven by the commands a user types, in processes of their own."""

    home: Path
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "recserve", *arguments, "--home", str(self.home)]

    def run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "COLUMNS": "200"}
        done = subprocess.run(
            self.command(*arguments),
            capture_output=True,
            text=True,
            timeout=START_SECONDS,
            env=environment,
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    def start(self) -> None:
        self.run("serve", "--detach", "--port", str(self.port))

    @property
    def state(self) -> ServerState:
        state = read_state(self.home)
        assert state is not None
        return state

    def replicas(self, deployment: str) -> list[psutil.Process]:
        """Processes of a deployment's replicas."""
        title = re.compile(rf"^ray::ServeReplica:recserve:{deployment}\b")
        found = []
        for process in self.state.processes():
            try:
                if title.match(" ".join(process.cmdline())):
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = httpx.post(self.url + path, json=body, timeout=30, trust_env=False)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def get(self, path: str) -> dict[str, Any]:
        answer = httpx.get(self.url + path, timeout=30, trust_env=False)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())


@pytest.fixture(scope="session")
def new_server(
    trained_home: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[], Server]]:
    """Makes homes with a trained bundle; whatever runs in them is stopped at the end."""
    made: list[Server] = []

    def make() -> Server:
        home = tmp_path_factory.mktemp("served") / "home"
        shutil.copytree(trained_home, home)
        made.append(Server(home, free_port()))
        return made[-1]

    yield make
    for server in made:
        if read_state(server.home) is not None:
            server.run("stop")
        shutil.rmtree(run_directory(server.home))


@pytest.fixture(scope="session")
def server(new_server: Callable[[], Server]) -> Server:
    """The session's server, every stage in processes of its own."""
    served = staged(new_server())
    served.start()
    return served


def staged(server: Server) -> Server:
    """The same with every stage in processes of its own, whatever the default."""
    path = server.home / "recserve.yaml"
    config = yaml.safe_load(path.read_text())
    config["server"] = {**config.get("server", {}), "topology": "staged"}
    path.write_text(yaml.safe_dump(config))
    return server


@pytest.fixture
def ray_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a cluster of its own; what is needed to reach it is in this process's environment."""
    with _cluster(tmp_path, monkeypatch) as address:
        yield address


@pytest.fixture
def dashboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of the dashboard of such a cluster."""
    port = free_port()
    with _cluster(tmp_path, monkeypatch, str(port)):
        yield f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def _cluster(folder: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Iterator[str]:
    directory = run_directory(folder)
    window, held = reserve_ports(str(folder))
    held.close()
    variables = server_environment(folder, directory, window, "127.0.0.1", ServerConfig())
    del variables["RAY_SERVE_HAPROXY_BINARY_PATH"]  # somebody else's cluster has HAProxy as Serve sets it up
    # A job finds our program as its node's Ray does.
    variables["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    process = subprocess.Popen(
        [sys.executable, "-c", _CLUSTER, str(directory / "ray"), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    yield process.stdout.readline().strip()
    process.communicate(timeout=60)
    shutil.rmtree(directory)
