"""Requests a second and latency of ``/v1/recommend``, beside what else could have been built.

    python -m benchmarks.serving [--home DIR] [--seconds 4] [--repeats 3] [--connections 1 16 64 256]
                                 [--peers plain naive] [--generator wrk] [--json OUT]

The sample data is loaded and trained in ``--home`` once; every server runs in a copy of it. Real users of the
sample are asked for ten recommendations, in ways that must be told apart:

- *repeat*: users at random, all of whom were answered once before, and nothing new happens: what is
  remembered of an earlier answer may help;
- *mixed*: the same, but one request in ten is one that nobody has asked before;
- *fresh*: every request follows a new event of its user, so nothing remembered of that user is valid. Events
  are stored in between; only recommendations are timed and counted.

Beside them: ``GET /v1/health/live`` of the same server, which is the limit of its HTTP side; the same models
in one plain process of FastAPI and uvicorn, one request at a time; and the composition that Ray's own
examples teach, a deployment for each model and a call for each request, on a Ray cluster of its own. All
are up at the same time and measured in turn, several times over; the table has medians and ranges. The load
is a process of its own on the same machine and takes its share of it, so compare ratios; its CPU time, and
that of every process of the server, is listed as milliseconds a request.

The no-op and *repeat* are driven by ``wrk`` where it is installed, as it takes least of the machine. *Fresh*,
of the peers too, needs events in between, and *mixed* new requests all the time: a generator in Python drives
them. As that takes more, their ratios are to "no-op, python", the no-op driven by the same generator.
``--generator python`` uses no wrk.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import psutil
from recserve_deployments.local_server.state_file import read_state
from rich.console import Console
from rich.table import Table

from benchmarks import serving_load, serving_wrk
from benchmarks.common import (
    arguments,
    free_port,
    machine,
    scratch_home,
    serving,
    train_once,
    write_json,
)
from benchmarks.serving_load import ROOT, Plan, Summary

CONNECTIONS = (1, 16, 64, 256)
PEERS = ("plain", "naive")
WRK, PYTHON = "wrk", "python"
LIMIT = "no-op"
START_SECONDS = 180.0
NOVEL = 0.1
USERS = [str(user) for user in range(1, 672)]


@dataclass(frozen=True)
class Target:
    """Something to ask.

    Attributes:
        name: What the table calls it.
        port: Of its server.
        path: What is asked.
        fresh: See :class:`benchmarks.serving_load.Plan`.
        novel: Likewise.
        explain: Likewise.
        most: No more connections than this are tried.
        generator: What drives it: ``wrk`` or ``python``.
    """

    name: str
    port: int
    path: str = "/v1/recommend"
    fresh: bool = False
    novel: float = 0.0
    explain: bool = False
    most: int = 1_000_000
    generator: str = PYTHON

    @property
    def limit(self) -> bool:
        """Whether it is what others are compared with."""
        return self.name.startswith(LIMIT)

    @property
    def anew(self) -> bool:
        """Whether it takes events in between or new requests, which only the generator in Python makes."""
        return self.fresh or self.novel > 0


@dataclass
class Run:
    """One measurement.

    Attributes:
        target: What was asked.
        connections: Keep-alive connections.
        found: The figures.
    """

    target: Target
    connections: int
    found: Summary

    def flat(self) -> dict[str, Any]:
        """For a file."""
        named = {"target": self.target.name, "generator": self.target.generator}
        return {**named, "connections": self.connections, **asdict(self.found)}


def processes_of(found: Sequence[psutil.Process]) -> dict[str, list[int]]:
    """Process ids by what the process is."""
    named: dict[str, list[int]] = {}
    for process in found:
        with contextlib.suppress(psutil.Error):
            words = process.cmdline() or [process.name()]
            title = re.match(r"ray::(?:ServeReplica:\w+:)?([\w-]+)", words[0])
            named.setdefault(title[1] if title else Path(words[0]).name, []).append(process.pid)
    return named


def server_processes(home: Path) -> dict[str, list[int]]:
    """Process ids of a home's server."""
    state = read_state(home)
    return {} if state is None else processes_of(state.processes())


@contextlib.contextmanager
def peer(kind: str, home: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Start a peer, wait until it has answered a recommendation, and stop it afterwards."""
    command = [sys.executable, "-m", "benchmarks.serving_peers", kind]
    command += ["--home", str(home), "--port", str(port)]
    # A session of its own: an interrupted benchmark still stops it in order.
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        # One thread, as our replicas have: more of them wait for each other by spinning.
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )
    try:
        end = time.monotonic() + START_SECONDS
        while True:
            with contextlib.suppress(httpx.HTTPError):
                url = f"http://127.0.0.1:{port}/v1/recommend"
                if httpx.post(
                    url, json={"user_id": USERS[0], "n": 10}, trust_env=False, timeout=30
                ).is_success:
                    break
            if process.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"the peer {kind!r} does not start")
            time.sleep(0.2)
        yield process
    finally:
        tree: list[psutil.Process] = []
        if process.poll() is None:
            tree = psutil.Process(process.pid).children(recursive=True)
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(40)
        if process.poll() is None:
            process.kill()
        for one in tree:
            with contextlib.suppress(psutil.Error):
                one.kill()


def measure(
    target: Target,
    connections: int,
    seconds: float,
    items: Sequence[str],
    named: dict[str, list[int]],
    seed: int,
) -> Run:
    """Load one target."""
    asking = target.path == "/v1/recommend"
    plan = Plan(
        target.port,
        target.path,
        connections,
        seconds,
        users=USERS if asking else (),
        items=items,
        fresh=target.fresh,
        novel=target.novel,
        explain=target.explain,
        seed=seed,
        processes=named,
    )
    found = serving_wrk.run(plan) if target.generator == WRK else serving_load.run(plan).summary()
    return Run(target, connections, found)


def driven(targets: Sequence[Target], generator: str) -> list[Target]:
    """Have closed loops driven by a generator, and the limit by each that is in use."""
    found: list[Target] = []
    for target in targets:
        found.append(target if target.anew else replace(target, generator=generator))
        if target.limit and generator != PYTHON and any(target.anew for target in targets):
            found.append(replace(target, name=f"{target.name}, {PYTHON}"))
    return found


class Row:
    """Medians of the runs of one target with one number of connections."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self.target = runs[0].target
        self.rates = sorted(run.found.rate for run in runs)
        self.rate = statistics.median(self.rates)
        self.p50, self.p95, self.p99 = (
            statistics.median(getattr(run.found, q) for run in runs) for q in ("p50", "p95", "p99")
        )
        self.bad = sum(run.found.failed + run.found.degraded for run in runs)
        self.cpu = {
            process: statistics.median(run.found.cpu.get(process, 0.0) for run in runs)
            for process in runs[0].found.cpu
        }


def show(targets: Sequence[Target], runs: Sequence[Run], console: Console) -> None:
    """Medians and ranges over the repeats, ratios, and where the CPU time goes."""
    table = Table(
        *("conns", "asked", "requests/s (range)", "p50 ms", "p95 ms", "p99 ms", "p99/p50"),
        *("of no-op", "p50 of no-op", "bad"),
    )
    costs: list[str] = []
    for n in sorted({run.connections for run in runs}):
        here = [run for run in runs if run.connections == n]
        measured = {run.target for run in here}
        rows = [
            Row([run for run in here if run.target == target]) for target in targets if target in measured
        ]
        limits = {row.target.generator: row for row in rows if row.target.limit}
        for row in rows:
            limit = limits[row.target.generator]
            table.add_row(
                str(n),
                row.target.name,
                f"{row.rate:.0f} ({row.rates[0]:.0f}-{row.rates[-1]:.0f})",
                *(f"{value:.{1 if value >= 10 else 2}f}" for value in (row.p50, row.p95, row.p99)),
                f"{row.p99 / row.p50:.1f}",
                f"{row.rate / limit.rate:.2f}",
                # With more connections it is little but the inverse of the rates.
                f"{row.p50 / limit.p50:.1f}" if n == 1 else "",
                str(row.bad or ""),
            )
            spent = sorted(row.cpu.items(), key=lambda one: -one[1])
            parts = [f"{name} {used:.2f}" for name, used in spent if used >= 0.005]
            costs.append(f"{n:>4} {row.target.name}: " + ", ".join(parts))
    console.print(table)
    console.print("CPU milliseconds a request, by process (load: the load generator):")
    for line in costs:
        console.print("  " + line)


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__, seconds=4.0, repeats=3)
    parser.add_argument("--connections", type=int, nargs="+", default=CONNECTIONS)
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=PEERS)
    parser.add_argument(
        "--generator",
        choices=(WRK, PYTHON),
        default=WRK if serving_wrk.available() else PYTHON,
        help="Of loads without events in between; wrk where it is installed.",
    )
    options = parser.parse_args()
    if options.generator == WRK and not serving_wrk.available():
        parser.error("wrk is not on the PATH; install it, or use --generator python")
    console = Console(width=130)
    train_once(options.home)
    # Stopping the benchmark stops what it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with contextlib.ExitStack() as stack:
        home = stack.enter_context(scratch_home(options.home, {}))
        server = stack.enter_context(serving(home))
        with contextlib.closing(sqlite3.connect(home / "recserve.db")) as database:
            items = [row[0] for row in database.execute("SELECT item_id FROM items LIMIT 1000")]
        targets = [
            Target(LIMIT, server.port, "/v1/health/live"),
            Target("repeat", server.port),
            Target("repeat, explained", server.port, explain=True),
            Target("mixed", server.port, novel=NOVEL),
            Target("fresh", server.port, fresh=True),
            Target("fresh, explained", server.port, fresh=True, explain=True),
        ]
        named = {server.port: server_processes(home)}
        for kind in options.peers:
            copy = stack.enter_context(scratch_home(options.home, {}))
            port = free_port()
            process = psutil.Process(stack.enter_context(peer(kind, copy, port)).pid)
            # Its queue has no bound: more connections only wait longer.
            targets.append(
                Target(f"{kind}, fresh", port, fresh=True, most=64 if kind == "naive" else 1_000_000)
            )
            named[port] = processes_of([process, *process.children(recursive=True)])
        targets = driven(targets, options.generator)
        runs: list[Run] = []
        for repeat in range(options.repeats + 1):
            for n in options.connections:
                # Each goes first in turn: whatever drifts hits all alike.
                for number in range(len(targets)):
                    target = targets[(number + repeat) % len(targets)]
                    if n > target.most:
                        continue
                    seconds = 1.0 if repeat == 0 else options.seconds
                    found = measure(target, n, seconds, items, named[target.port], repeat)
                    if repeat:  # the first round warms up
                        runs.append(found)
        console.print(machine())
        show(targets, runs, console)
        write_json(options.json, {"machine": machine(), "runs": [run.flat() for run in runs]})


if __name__ == "__main__":
    main()
