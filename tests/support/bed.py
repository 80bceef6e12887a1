"""Test bed of a cluster: hosts that share no disk, and what they share over the network."""

from __future__ import annotations

import contextlib
import json
import secrets
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml
from recserve_deployments.local_server.environment import PROXY_FLAG, PROXY_NAME, SERVE_FLAGS

from tests.support.hosts import OUTSIDE, Hosts

REPOSITORY = Path(__file__).resolve().parents[2]
HOME = "/srv/recserve"
HEAD = 1
"""The host that Ray's head runs on."""
GCS = f"{Hosts.address(HEAD)}:6379"
PORT = 8000


class Redis:
    """Redis that the hosts reach, with a file of every change, as in deployments/kubernetes.

    Args:
        folder: Where the file lies.
    """

    def __init__(self, folder: Path) -> None:
        self.password = secrets.token_hex(8)
        self._folder = folder
        with socket.socket() as probe:
            probe.bind((OUTSIDE, 0))
            self._port = probe.getsockname()[1]
        self.start()

    @property
    def address(self) -> str:
        """Host and port."""
        return f"{OUTSIDE}:{self._port}"

    def start(self) -> None:
        """Start it, with what it held."""
        command = ["redis-server", "--bind", OUTSIDE, "--port", str(self._port), "--dir", str(self._folder)]
        command += ["--appendonly", "yes", "--requirepass", self.password]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        end = time.monotonic() + 10
        while time.monotonic() < end:
            with contextlib.suppress(OSError):
                socket.create_connection((OUTSIDE, self._port), 1).close()
                return
            time.sleep(0.05)
        raise TimeoutError("Redis did not start")

    def stop(self) -> None:
        """Stop it."""
        self._process.terminate()
        self._process.wait(timeout=10)


@contextmanager
def redis(folder: Path) -> Iterator[Redis]:
    """A Redis that ends with the block."""
    made = Redis(folder)
    try:
        yield made
    finally:
        made.stop()


@dataclass
class TestBed:
    """Hosts with a Ray cluster, and what they share over the network.

    Attributes:
        hosts: The hosts; Ray's head is host 1.
        database: URL of the PostgreSQL database as the hosts reach it.
        bucket: URI of the bucket as the hosts reach it.
        proxy: The program that nodes run in HAProxy's place.
        redis: Where the head keeps its state, if it is to survive the head.
    """

    __test__ = False

    hosts: Hosts
    database: str
    bucket: str
    proxy: Path
    redis: Redis | None = None

    @property
    def variables(self) -> dict[str, str]:
        """What every program of the cluster must find in its environment."""
        return {
            **SERVE_FLAGS,
            PROXY_FLAG: str(self.proxy),
            # Serve gives up a proxy that is not ready after 5 s, which a busy machine may take longer for.
            "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60",
            # A worker waits so long for a new head, as on Kubernetes; by default it ends after a minute.
            "RAY_gcs_rpc_server_reconnect_timeout_s": "600",
        }

    @property
    def shared(self) -> dict[str, Any]:
        """The configuration that several hosts need."""
        return {"store": {"url": self.database}, "bundles": self.bucket}

    def start_ray(self, number: int, cpus: int, resources: Mapping[str, float] | None = None) -> None:
        """Start Ray on a host: the head on host 1, a worker elsewhere, with resources of its own."""
        ray = str(Path(sys.executable).parent / "ray")
        place = (
            ["--head", "--port=6379", "--include-dashboard=false"] if number == HEAD else [f"--address={GCS}"]
        )
        command = [ray, "start", *place, f"--node-ip-address={Hosts.address(number)}", f"--num-cpus={cpus}"]
        command += ["--object-store-memory=100000000", "--disable-usage-stats"]
        command += [] if resources is None else [f"--resources={json.dumps(dict(resources))}"]
        variables = self.variables
        if number == HEAD and self.redis is not None:
            variables["RAY_REDIS_ADDRESS"] = self.redis.address
            command.append(f"--redis-password={self.redis.password}")
        done = self.hosts.run(number, command, variables, timeout=120)
        assert done.returncode == 0, done.stdout

    def recserve(
        self, number: int, *arguments: str, check: bool = True, timeout: float = 400
    ) -> subprocess.CompletedProcess[str]:
        """Run a command of ours on a host."""
        command = [sys.executable, "-m", "recserve", *arguments, "--home", HOME]
        done = self.hosts.run(number, command, {**self.variables, "COLUMNS": "240"}, timeout=timeout)
        assert not check or done.returncode == 0, done.stdout
        return done

    def popen_recserve(self, number: int, *arguments: str, **options: object) -> subprocess.Popen[str]:
        """Start a command of ours on a host."""
        command = [sys.executable, "-m", "recserve", *arguments, "--home", HOME]
        return self.hosts.popen(number, command, {**self.variables, "COLUMNS": "240"}, **options)

    def configure(self, number: int, config: Mapping[str, Any]) -> None:
        """Write the home's configuration on a host."""
        text = yaml.safe_dump(dict(config))
        script = f"mkdir -p {HOME} && cat > {HOME}/recserve.yaml"
        process = self.hosts.popen(number, ["sh", "-c", script], stdin=subprocess.PIPE)
        process.communicate(text, timeout=10)

    def copy(self, number: int, source: Path, target: str) -> None:
        """Copy a file to a host's own disk."""
        with source.open("rb") as file:
            process = self.hosts.popen(number, ["sh", "-c", f"cat > {target}"], stdin=file)
            process.wait(timeout=30)

    def serve(self, config: Mapping[str, Any], files: Mapping[str, Path]) -> str:
        """Import the files on host 1, train, and deploy from there; returns an API key.

        Args:
            config: The configuration beside what is shared.
            files: ``events.csv`` and ``items.jsonl``.
        """
        self.configure(HEAD, {**config, **self.shared})
        for name, path in files.items():
            self.copy(HEAD, path, f"{HOME}/{name}")
        self.recserve(HEAD, "import", "--events", f"{HOME}/events.csv", "--items", f"{HOME}/items.jsonl")
        self.recserve(HEAD, "train", "--no-evaluate")
        made = self.recserve(HEAD, "keys", "create", "test", "--scope", "read", "--scope", "write")
        served = self.recserve(HEAD, "serve", "--address", GCS)
        assert "serving bundle" in served.stdout
        return next(word for word in made.stdout.split() if word.startswith("rs_"))

    @staticmethod
    def url(number: int) -> str:
        """The HTTP API at a host's address."""
        return f"http://{Hosts.address(number)}:{PORT}"

    def call(self, number: int, method: str, path: str, body: Any = None, key: str = "") -> Any:
        """Call the HTTP API at a host's address from outside; returns the parsed answer."""
        answer = httpx.request(
            method,
            f"{self.url(number)}{path}",
            content=None if body is None else json.dumps(body),
            headers={
                "content-type": "application/json",
                **({"authorization": f"Bearer {key}"} if key else {}),
            },
            timeout=10,
            trust_env=False,
        )
        answer.raise_for_status()
        return answer.json()


def proxy_program(folder: Path) -> Path:
    """The program ``recserve-haproxy`` as an installation has it, in a folder that hosts see."""
    program = folder / PROXY_NAME
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    module, _, function = project["scripts"][PROXY_NAME].partition(":")
    program.write_text(f"#!{sys.executable}\nfrom {module} import {function}\n{function}()\n")
    program.chmod(0o755)
    return program


class ObjectStore:
    """S3 with one bucket, kept in this process's memory.

    Args:
        address: Where it listens; by default the hosts reach it.

    Raises:
        ImportError: moto's server is not installed.
    """

    def __init__(self, address: str = OUTSIDE) -> None:
        import moto.server

        self._server_class = moto.server.ThreadedMotoServer
        self._address = address
        self._port = 0
        self.start()
        httpx.put(f"{self.endpoint}/bundles", trust_env=False).raise_for_status()

    @property
    def endpoint(self) -> str:
        """URL of the service."""
        return f"http://{self._address}:{self._port}"

    @property
    def bucket(self) -> str:
        """URI of where bundles live in the bucket."""
        return self.uri("recserve")

    def uri(self, folder: str) -> str:
        """URI of a folder in the bucket."""
        place = self.endpoint.removeprefix("http://")
        return f"s3://key:secret@bundles/{folder}?endpoint_override={place}&scheme=http&region=us-east-1"

    def start(self) -> None:
        """Start it, with what it held."""
        self._server = self._server_class(ip_address=self._address, port=self._port, verbose=False)
        self._server.start()
        self._port = self._server.get_host_and_port()[1]

    def stop(self) -> None:
        """Stop it."""
        self._server.stop()


@contextmanager
def object_store(address: str = OUTSIDE) -> Iterator[ObjectStore]:
    """An object store that ends with the block."""
    made = ObjectStore(address)
    try:
        yield made
    finally:
        made.stop()
