"""Requests per second and latency of ``/v1/recommend`` beside the no-op endpoint of the same server.

    python benchmarks/serving.py [--home DIR] [--url http://127.0.0.1:8000] [--seconds 5] [--json OUT]

Without ``--url`` the sample data is loaded and trained in ``--home`` (once) and a server is started and
stopped again. Endpoints are measured in turn, several times over; medians and ranges are printed. The load
comes from one process with keep-alive connections, so on a small machine it takes its share of the cores:
compare the ratio, not the absolute figures.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

from rich.console import Console
from rich.table import Table

CONNECTIONS = (1, 16, 64)
REPEATS = 3


@dataclass
class Run:
    """One measurement.

    Attributes:
        endpoint: What was asked.
        connections: Keep-alive connections.
        rate: Answers a second.
        p50, p95, p99: Latency, milliseconds.
        failed: Answers other than 200.
    """

    endpoint: str
    connections: int
    rate: float
    p50: float
    p95: float
    p99: float
    failed: int


def requests_for(endpoint: str, users: list[str], host: str) -> list[bytes]:
    """Raw HTTP requests to cycle through."""
    if endpoint == "live":
        return [f"GET /v1/health/live HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()]
    explain = endpoint == "recommend + explain"
    raw = []
    for user in users:
        body = json.dumps({"user_id": user, "n": 10, "explain": explain}).encode()
        head = (
            f"POST /v1/recommend HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        raw.append(head.encode() + body)
    return raw


async def connection(
    host: str, port: int, raw: list[bytes], end: float, seed: int
) -> tuple[list[float], int]:
    """Ask over one keep-alive connection until ``end``; latencies in ms, and failures."""
    chooser = random.Random(seed)
    reader, writer = await asyncio.open_connection(host, port)
    latencies, failed = [], 0
    while time.perf_counter() < end:
        started = time.perf_counter()
        writer.write(chooser.choice(raw))
        head = await reader.readuntil(b"\r\n\r\n")
        lines = head.lower().split(b"\r\n")
        (length,) = (line for line in lines if line.startswith(b"content-length:"))
        await reader.readexactly(int(length.split(b":")[1]))
        latencies.append((time.perf_counter() - started) * 1000)
        failed += not head.startswith(b"HTTP/1.1 200")
    writer.close()
    return latencies, failed


async def measure(endpoint: str, host: str, port: int, users: list[str], n: int, seconds: float) -> Run:
    """Load one endpoint with ``n`` connections."""
    raw = requests_for(endpoint, users, f"{host}:{port}")
    end = time.perf_counter() + seconds
    results = await asyncio.gather(*(connection(host, port, raw, end, seed) for seed in range(n)))
    latencies = sorted(latency for found, _ in results for latency in found)
    cuts = [latencies[min(int(len(latencies) * q), len(latencies) - 1)] for q in (0.5, 0.95, 0.99)]
    return Run(endpoint, n, len(latencies) / seconds, *cuts, sum(failed for _, failed in results))


def recserve(home: Path, *arguments: str) -> None:
    """Run a command of the command line."""
    subprocess.run([sys.executable, "-m", "recserve", *arguments, "--home", str(home)], check=True)


def show(runs: list[Run], console: Console) -> None:
    """Medians and ranges over the repeats, and the ratio to the no-op endpoint."""
    table = Table(
        "connections", "endpoint", "requests/s (range)", "p50 ms", "p95 ms", "p99 ms", "of no-op", "failed"
    )
    for n in CONNECTIONS:
        limit = statistics.median(run.rate for run in runs if (run.endpoint, run.connections) == ("live", n))
        for endpoint in dict.fromkeys(run.endpoint for run in runs):
            mine = [run for run in runs if (run.endpoint, run.connections) == (endpoint, n)]
            rates = sorted(run.rate for run in mine)
            rate = statistics.median(rates)
            quantiles = [
                f"{statistics.median(getattr(run, name) for run in mine):.1f}"
                for name in ("p50", "p95", "p99")
            ]
            table.add_row(
                str(n),
                endpoint,
                f"{rate:.0f} ({rates[0]:.0f}-{rates[-1]:.0f})",
                *quantiles,
                f"{rate / limit:.2f}",
                str(sum(run.failed for run in mine)),
            )
    console.print(table)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--home", type=Path, default=Path(".recserve/bench"))
    parser.add_argument("--url", help="A server that is running already.")
    parser.add_argument("--port", type=int, default=18200)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--json", type=Path, help="Write all runs here.")
    options = parser.parse_args()
    console = Console(width=110)
    own = options.url is None
    if own:
        if not (options.home / "bundles").is_dir():
            recserve(options.home, "import", "--dataset", "movielens-small")
            recserve(options.home, "train")
        recserve(options.home, "serve", "--detach", "--port", str(options.port))
    try:
        address = urlsplit(options.url or f"http://127.0.0.1:{options.port}")
        host, port = address.hostname or "127.0.0.1", address.port or 80
        users = [str(user) for user in range(1, 672)]
        runs: list[Run] = []
        for repeat in range(REPEATS + 1):
            for n in CONNECTIONS:
                for endpoint in ("live", "recommend", "recommend + explain"):
                    seconds = 1.0 if repeat == 0 else options.seconds
                    run = asyncio.run(measure(endpoint, host, port, users, n, seconds))
                    if repeat:  # the first round warms up
                        runs.append(run)
        cores = os.cpu_count()
        console.print(
            f"{platform.machine()}, {cores} cores, Python {platform.python_version()}; load from here"
        )
        show(runs, console)
        if options.json:
            options.json.write_text(json.dumps([asdict(run) for run in runs], indent=1))
    finally:
        if own:
            recserve(options.home, "stop")


if __name__ == "__main__":
    main()
