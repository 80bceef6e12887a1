"""The test bed: three hosts without a shared disk, PostgreSQL, and object storage."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from recserve_deployments.local_server.environment import SERVE_FLAGS
from sqlalchemy import make_url

from tests.conftest import Domain
from tests.support.forwarder import Forwarder
from tests.support.hosts import OUTSIDE, Hosts, why_not

HOME = "/srv/recserve"
GCS = f"{Hosts.address(1)}:6379"
PORT = 8000


@dataclass
class TestBed:
    """Hosts with a Ray cluster, and what they share over the network.

    Attributes:
        hosts: The hosts; Ray's head is host 1.
        database: URL of the PostgreSQL database as the hosts reach it.
        bucket: URI of the bucket as the hosts reach it.
    """

    __test__ = False

    hosts: Hosts
    database: str
    bucket: str

    @property
    def shared(self) -> dict[str, Any]:
        """The configuration that several hosts need."""
        return {"store": {"url": self.database}, "bundles": self.bucket}

    def start_ray(self, number: int, cpus: int) -> None:
        """Start Ray on a host: the head on host 1, a worker elsewhere."""
        ray = str(Path(sys.executable).parent / "ray")
        place = (
            ["--head", "--port=6379", "--include-dashboard=false"] if number == 1 else [f"--address={GCS}"]
        )
        command = [ray, "start", *place, f"--node-ip-address={Hosts.address(number)}", f"--num-cpus={cpus}"]
        command += ["--object-store-memory=100000000", "--disable-usage-stats"]
        done = self.hosts.run(number, command, SERVE_FLAGS, timeout=120)
        assert done.returncode == 0, done.stdout

    def recserve(
        self, number: int, *arguments: str, check: bool = True, timeout: float = 400
    ) -> subprocess.CompletedProcess[str]:
        """Run a command of ours on a host."""
        command = [sys.executable, "-m", "recserve", *arguments, "--home", HOME]
        done = self.hosts.run(number, command, {**SERVE_FLAGS, "COLUMNS": "240"}, timeout=timeout)
        assert not check or done.returncode == 0, done.stdout
        return done

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

    def call(self, number: int, method: str, path: str, body: Any = None, key: str = "") -> Any:
        """Call the HTTP API at a host's address from outside; returns the parsed answer."""
        answer = httpx.request(
            method,
            f"http://{Hosts.address(number)}:{PORT}{path}",
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


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    """Three hosts."""
    if (reason := why_not()) is not None:
        pytest.skip(f"no hosts can be made here: {reason}")
    code = [Path(__file__).resolve().parents[3], Path(sys.prefix)]
    with Hosts(3, tmp_path_factory.mktemp("hosts"), visible=code) as made:
        yield made


@pytest.fixture(scope="module")
def bed(hosts: Hosts, empty_postgres: Callable[[str], str]) -> Iterator[TestBed]:
    """Three hosts with Ray; tests of one module share it."""
    moto = pytest.importorskip(
        "moto.server", reason="object storage needs: pip install 'moto[s3]' flask flask-cors"
    )
    local = make_url(empty_postgres("cluster"))
    socket = Path(str(local.query["host"])) / ".s.PGSQL.5432"
    storage = moto.ThreadedMotoServer(ip_address=OUTSIDE, port=0, verbose=False)
    storage.start()
    with Forwarder(OUTSIDE, socket) as database:
        endpoint = "http://{}:{}".format(*storage.get_host_and_port())
        httpx.put(f"{endpoint}/bundles", trust_env=False).raise_for_status()
        query = f"endpoint_override={endpoint.removeprefix('http://')}&scheme=http&region=us-east-1"
        url = local.set(host=OUTSIDE, port=database.port, query={}).render_as_string(hide_password=False)
        made = TestBed(hosts, url, f"s3://key:secret@bundles/recserve?{query}")
        for number, cpus in ((1, 1), (2, 2), (3, 2)):
            made.start_ray(number, cpus)
        yield made
    storage.stop()


@pytest.fixture(scope="session")
def files(domain: Domain) -> dict[str, Path]:
    """The example domain's files."""
    return {"events.csv": domain.events, "items.jsonl": domain.items}
