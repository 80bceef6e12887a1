"""What a hop between hosts costs: the same replicas on one host, and spread over two and over three.

    python -m benchmarks.hops [--seconds 8] [--repeats 3] [--connections 16] [--json OUT]

The hosts are namespaces of this machine, so all layouts have the same cores: what differs is where a call
goes. On one host it stays there; on more it crosses a virtual cable, through the kernel's whole network
stack, and the proxy of host 1 sends one request of two elsewhere. There are two replicas of the ingress, of
retrieval and of ranking; each takes a CPU of Ray's, and hosts have as many as are needed, so the layout is
forced. The sample data and the bundle are the same throughout, in PostgreSQL and in object storage.

- *cached*: users at random who were answered before: HAProxy and an ingress replica;
- *fresh*: every request is new (it leaves out two items of its own), so that all stages compute.

Judge by the CPU milliseconds a request of everything that runs on the hosts as well as by the rate: other
work on the machine lowers rates, and hardly changes CPU time. PostgreSQL, object storage and the load are
outside of the hosts and not counted. Needs root (network namespaces).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table
from sqlalchemy import make_url

from benchmarks.common import SAMPLE, Connection, arguments, machine, postgres, request, write_json
from benchmarks.serving_load import cpu_seconds
from tests.support.bed import GCS, HEAD, PORT, TestBed, object_store, proxy_program
from tests.support.forwarder import Forwarder
from tests.support.hosts import OUTSIDE, Hosts, why_not

LAYOUTS = {1: (7,), 2: (4, 3), 3: (3, 2, 2)}
"""Number of hosts -> Ray's CPUs on each: just enough for the replicas."""
USERS = [str(user) for user in range(1, 301)]
CACHED, FRESH = "cached", "fresh"
HIDDEN = 2

CONFIG: dict[str, Any] = {
    "encoder": {"model": "bundled:minilm"},
    "scenarios": {
        "home": {
            "retrievers": [{"use": "mf", "params": {"dimension": 32, "iterations": 5}}, {"use": "popular"}],
            "ranker": {"use": "bert_lstm", "params": {"text": False, "width": 32, "epochs": 1}},
        }
    },
    "train": {"threads": 1},
    "server": {
        "host": "0.0.0.0",
        "port": PORT,
        "rate_limit": None,
        "surge": False,
        "ingress": {"replicas": 2, "cpus": 1},
        "retrieval": {"replicas": 2, "cpus": 1},
        "encoding": {"replicas": 1, "cpus": 1},
        "ranking": {"replicas": 2, "cpus": 1},
    },
}


@dataclass(frozen=True)
class Measured:
    """One measurement.

    Attributes:
        hosts: How many hosts the replicas are on.
        kind: ``cached`` or ``fresh``.
        rate: Answers a second.
        p50: Median latency, milliseconds.
        cpu: CPU milliseconds a request of all that runs on the hosts.
        bad: Answers that were not 200, or degraded.
    """

    hosts: int
    kind: str
    rate: float
    p50: float
    cpu: float
    bad: int


class Load:
    """A closed loop over kept connections to the proxy of host 1.

    Args:
        key: API key.
        items: Items that requests leave out to be new.
        seed: Of the random choices.
    """

    def __init__(self, key: str, items: list[str], seed: int) -> None:
        self._key = f"Host: localhost\r\nAuthorization: Bearer {key}\r\n".encode()
        self._items = items
        self._chooser = random.Random(seed)

    def _request(self, user: str, fresh: bool) -> bytes:
        body: dict[str, Any] = {"user_id": user, "n": 10, "explain": False}
        if fresh:
            body["exclude"] = self._chooser.sample(self._items, HIDDEN)
        return request("POST", "/v1/recommend", body).replace(b"Host: localhost\r\n", self._key, 1)

    async def ask(self, kind: str, connections: int, until: Callable[[int], bool]) -> tuple[list[float], int]:
        """Ask until told to stop, given the number of requests sent.

        Returns:
            Seconds of each answer, and how many were bad.
        """
        times: list[float] = []
        sent = bad = 0

        async def one_after_another() -> None:
            nonlocal sent, bad
            connection = Connection(Hosts.address(HEAD), PORT)
            while not until(sent):
                raw = self._request(USERS[sent % len(USERS)], kind == FRESH)
                sent += 1
                began = time.perf_counter()
                status, body = await connection.send(raw)
                times.append(time.perf_counter() - began)
                bad += status != 200 or b'"degraded":[]' not in body
            connection.close()

        await asyncio.gather(*(one_after_another() for _ in range(connections)))
        return times, bad


def measure(hosts: int, kind: str, load: Load, connections: int, seconds: float) -> Measured:
    """Load the server for some seconds."""
    # Every replica of the ingress has a cache of its own.
    known = 8 * len(USERS) if kind == CACHED else 2 * len(USERS)
    asyncio.run(load.ask(kind, connections, lambda sent: sent >= known))
    processes = {"hosts": [pid for number in LAYOUTS for pid in Hosts.processes(number)]}
    before, began = cpu_seconds(processes)["hosts"], time.monotonic()
    times, bad = asyncio.run(load.ask(kind, connections, lambda _: time.monotonic() - began > seconds))
    spent, took = cpu_seconds(processes)["hosts"] - before, time.monotonic() - began
    return Measured(
        hosts, kind, len(times) / took, 1000 * statistics.median(times), 1000 * spent / len(times), bad
    )


@contextlib.contextmanager
def bed() -> Iterator[TestBed]:
    """Three hosts, PostgreSQL and object storage; Ray is not running yet."""
    visible = [Path(__file__).resolve().parents[1], Path(sys.prefix)]
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="recserve-hops-")))
        programs = folder / "programs"
        programs.mkdir()
        hosts = stack.enter_context(Hosts(len(LAYOUTS), folder, [*visible, programs]))
        database = stack.enter_context(postgres())
        storage = stack.enter_context(object_store())
        forwarded = stack.enter_context(Forwarder(OUTSIDE, database.socket))
        url = make_url(database.url).set(
            drivername="postgresql+psycopg", host=OUTSIDE, port=forwarded.port, query={}
        )
        reached = url.render_as_string(hide_password=False)
        yield TestBed(hosts, reached, storage.bucket, proxy_program(programs))


def deploy(made: TestBed, cpus: tuple[int, ...]) -> None:
    """Have the replicas on so many new hosts."""
    for number in LAYOUTS:
        made.hosts.kill(number)
        made.hosts.start(number)
    made.configure(HEAD, {**CONFIG, **made.shared})
    for number, count in enumerate(cpus, 1):
        made.start_ray(number, count)
    made.recserve(HEAD, "serve", "--address", GCS)


def prepare(made: TestBed) -> str:
    """Import the sample and train on it; returns an API key."""
    made.configure(HEAD, {**CONFIG, **made.shared})
    made.recserve(HEAD, "import", "--dataset", SAMPLE, timeout=600)
    # The sample brings a configuration of its own to a home without any.
    made.recserve(HEAD, "train", "--no-evaluate", timeout=900)
    told = made.recserve(HEAD, "keys", "create", "hops", "--scope", "read").stdout
    return next(word for word in told.split() if word.startswith("rs_"))


def show(found: list[Measured], console: Console) -> None:
    """Medians over the repeats, and ratios to one host."""
    table = Table(
        "replicas on", "kind", "requests/s (range)", "of one host", "p50 ms", "CPU ms", "of one host", "bad"
    )
    for kind in (CACHED, FRESH):
        base: tuple[float, float] | None = None
        for hosts in LAYOUTS:
            runs = [run for run in found if (run.hosts, run.kind) == (hosts, kind)]
            if not runs:
                continue
            rates = sorted(run.rate for run in runs)
            rate, cpu = statistics.median(rates), statistics.median(run.cpu for run in runs)
            base = base or (rate, cpu)
            table.add_row(
                f"{hosts} host{'s' if hosts > 1 else ''}",
                kind,
                f"{rate:.0f} ({rates[0]:.0f}-{rates[-1]:.0f})",
                f"{rate / base[0]:.2f}",
                f"{statistics.median(run.p50 for run in runs):.1f}",
                f"{cpu:.2f}",
                f"{cpu / base[1]:.2f}",
                str(sum(run.bad for run in runs) or ""),
            )
    console.print(table)


def other_work() -> str:
    """How busy the machine is with something else just now."""
    return f"load average {os.getloadavg()[0]:.1f}, CPU {psutil.cpu_percent(3):.0f}% busy before we begin"


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__, seconds=8.0, repeats=3)
    parser.add_argument("--connections", type=int, default=16)
    options = parser.parse_args()
    if (reason := why_not()) is not None:
        parser.error(f"no hosts can be made here: {reason}")
    console = Console(width=130)
    console.print(f"{machine()}; {other_work()}")
    found: list[Measured] = []
    with bed() as made:
        key = prepare(made)
        for hosts, cpus in LAYOUTS.items():
            deploy(made, cpus)
            items = [
                item["item_id"]
                for user in USERS[:40]
                for item in made.call(HEAD, "POST", "/v1/recommend", {"user_id": user, "n": 50}, key)["items"]
            ]
            load = Load(key, sorted(set(items)), seed=0)
            for _ in range(options.repeats):
                for kind in (CACHED, FRESH):
                    run = measure(hosts, kind, load, options.connections, options.seconds)
                    console.print(f"{hosts} {kind}: {run.rate:.0f}/s, {run.cpu:.2f} ms of CPU, {run.bad} bad")
                    found.append(run)
    show(found, console)
    write_json(options.json, {"machine": machine(), "runs": [asdict(run) for run in found]})


if __name__ == "__main__":
    main()
