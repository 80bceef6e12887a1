"""Kills every part of a server under mixed load and counts what that cost.

    python -m benchmarks.chaos [--postgres] [--seconds 120] [--rate 40] [--connections 64] [--ingress N]

The sample data is loaded and trained in ``--home`` once; the server runs in a copy of it. While reads (70%),
events one by one and in batches (25%) and item updates (5%) go on, a replica of each deployment in turn is
killed with SIGKILL, the whole server is stopped and started, and 5,000 connections of another address are
opened that say nothing. Another program holds the SQLite file for longer than a write may take; with
``--postgres`` the store is PostgreSQL behind a proxy, which is stopped for a while, crashed, hidden behind a
path that swallows everything, and made slow (200 ms an answer). Readers never retry: each failure counts.
Writers send the same event again until it is acknowledged, as a collector does; in the end the database is
read past recserve and must hold every acknowledged event, once.

Some events are sent once only: those that are refused must not be there.

Exit status 1: an acknowledged write is lost or stored twice, a refused one is stored, a good write is refused
for good (4xx), or something was answered with 500.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import socket
import sqlite3
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from benchmarks.common import DEFAULT_HOME, Postgres, Server, postgres, scratch_home, serving, train_once
from benchmarks.outcome import RESTART, STAGES, Fault, compare, report
from benchmarks.tcp_proxy import TcpProxy, tcp_proxy
from benchmarks.traffic import Fact, Traffic

DEPLOYMENTS = (*STAGES, "Ingress")
FAULTS = (*(name.lower() for name in DEPLOYMENTS), "restart", "silent")
FILE_FAULTS = ("locked",)
DATABASE_FAULTS = ("database-stop", "database-crash", "database-hole", "database-slow")
OUTAGE_SECONDS = 10.0
LOCKED_SECONDS = 20.0
SLOW_SECONDS = 0.2
SILENT = 5_000
HEALTHY_WITHIN = 120.0


class Chaos:
    """Breaks things in turn and waits for the server to recover.

    Args:
        server: The server.
        database: PostgreSQL, if the store is there.
        path: What stands between the server and PostgreSQL.
        say: Told in a line what happens.
    """

    def __init__(
        self, server: Server, database: Postgres | None, path: TcpProxy | None, say: Callable[[str], None]
    ) -> None:
        self._server = server
        self._database = database
        self._path = path
        self._say = say
        self.faults: list[Fault] = []

    async def go(self, names: Sequence[str], seconds: float) -> None:
        """Spread faults over so many seconds, or more if recovering takes longer."""
        ways: dict[str, Callable[[], Awaitable[Fault]]] = {
            **{name.lower(): partial(self._kill, name) for name in DEPLOYMENTS},
            "restart": self._restart,
            "database-stop": partial(self._take_away, "PostgreSQL stopped", "fast"),
            "database-crash": partial(self._take_away, "PostgreSQL crashed", "immediate"),
            "database-hole": self._hide,
            "database-slow": self._slow_down,
            "locked": self._lock,
            "silent": self._say_nothing,
        }
        plan = [ways[name] for name in names]
        begin = time.monotonic()
        step = seconds / (len(plan) + 1)
        for number, break_it in enumerate(plan, 1):
            # The pause lets the figures of one fault end before the next one.
            await asyncio.sleep(max(begin + number * step - time.monotonic(), 3.0))
            fault = await break_it()
            self.faults.append(fault)
            took = "never" if fault.healthy is None else f"{fault.healthy - fault.mending:.1f} s later"
            self._say(f"{fault.name}: healthy again {took}")
        await asyncio.sleep(max(begin + seconds - time.monotonic(), 3.0))

    async def _kill(self, deployment: str) -> Fault:
        before = await asyncio.to_thread(self._server.replicas, deployment)
        if not before:
            raise SystemExit(f"{deployment} has no replica to kill")
        old = {process.pid for process in before}
        now = time.monotonic()
        before[0].kill()
        fault = Fault(f"{deployment} killed (1 of {len(before)})", now, now)

        def replaced() -> bool:
            pids = {process.pid for process in self._server.replicas(deployment)}
            return len(pids) >= len(old) and before[0].pid not in pids

        return await self._until_healthy(fault, replaced)

    async def _restart(self) -> Fault:
        fault = Fault(RESTART, time.monotonic(), 0.0)
        await asyncio.to_thread(self._server.stop)
        fault.mending = time.monotonic()
        await asyncio.to_thread(self._server.start)
        return await self._until_healthy(fault)

    async def _take_away(self, name: str, mode: str) -> Fault:
        assert self._database is not None
        fault = Fault(f"{name} for {OUTAGE_SECONDS:g} s", time.monotonic(), 0.0)
        await asyncio.to_thread(self._database.stop, mode)
        await asyncio.sleep(OUTAGE_SECONDS)
        await asyncio.to_thread(self._database.start)
        fault.mending = time.monotonic()
        return await self._until_healthy(fault)

    async def _hide(self) -> Fault:
        assert self._path is not None
        fault = Fault(f"PostgreSQL behind a black hole for {OUTAGE_SECONDS:g} s", time.monotonic(), 0.0)
        self._path.swallow()
        await asyncio.sleep(OUTAGE_SECONDS)
        self._path.forward()
        fault.mending = time.monotonic()
        return await self._until_healthy(fault)

    async def _slow_down(self) -> Fault:
        assert self._path is not None
        name = f"PostgreSQL slow ({SLOW_SECONDS:g} s an answer) for {LOCKED_SECONDS:g} s"
        fault = Fault(name, time.monotonic(), 0.0)
        self._path.delay = SLOW_SECONDS
        await asyncio.sleep(LOCKED_SECONDS)
        self._path.delay = 0.0
        fault.mending = time.monotonic()
        return await self._until_healthy(fault)

    async def _lock(self) -> Fault:
        fault = Fault(f"SQLite file locked for {LOCKED_SECONDS:g} s", time.monotonic(), 0.0)
        await asyncio.to_thread(hold_file, self._server.home / "recserve.db", LOCKED_SECONDS)
        fault.mending = time.monotonic()
        return await self._until_healthy(fault)

    async def _say_nothing(self) -> Fault:
        fault = Fault(f"{SILENT:,} silent connections for {OUTAGE_SECONDS:g} s", time.monotonic(), 0.0)
        silent = await asyncio.to_thread(connect_silently, self._server.port, SILENT)
        await asyncio.sleep(OUTAGE_SECONDS)
        for connection in silent:
            connection.close()
        fault.mending = time.monotonic()
        return await self._until_healthy(fault)

    async def _until_healthy(self, fault: Fault, also: Callable[[], bool] = lambda: True) -> Fault:
        while time.monotonic() < fault.mending + HEALTHY_WITHIN:
            if await asyncio.to_thread(self._server.healthy) and await asyncio.to_thread(also):
                fault.healthy = time.monotonic()
                break
            await asyncio.sleep(0.3)
        return fault


def hold_file(file: Path, seconds: float) -> None:
    """Keep everybody from writing to an SQLite file for a while."""
    with contextlib.closing(sqlite3.connect(file, timeout=60, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        time.sleep(seconds)
        connection.execute("ROLLBACK")


def connect_silently(port: int, count: int) -> list[socket.socket]:
    """Open connections from an address of their own that never say anything; some may be refused."""
    made = []
    for _ in range(count):
        with contextlib.suppress(OSError):
            made.append(socket.create_connection(("127.0.0.1", port), 5, source_address=("127.0.0.9", 0)))
    return made


def read_back(home: Path, url: str | None, run: str) -> tuple[list[tuple[str, Fact]], dict[str, int]]:
    """The events and the revisions of the items of a run, by the plain driver."""
    events = f"SELECT event_id, user_id, item_id, event FROM events WHERE event_id LIKE '{run}-%'"
    items = f"SELECT item_id, attributes FROM items WHERE item_id LIKE '{run}-%'"
    connection: Any
    if url is None:
        connection = sqlite3.connect(home / "recserve.db")
    else:
        import psycopg

        connection = psycopg.connect(url)
    with contextlib.closing(connection):
        rows = connection.execute(events).fetchall()
        stored = connection.execute(items).fetchall()
    revisions = {item_id: int(json.loads(attributes)["revision"]) for item_id, attributes in stored}
    return [(event_id, (user, item, event)) for event_id, user, item, event in rows], revisions


async def prepare(server: Server, options: argparse.Namespace) -> Traffic:
    """Find out what the server knows and can do."""
    async with httpx.AsyncClient(base_url=server.url, trust_env=False, timeout=30) as client:
        paths = (await client.get("/openapi.json")).json()["paths"]
        popular = (await client.post("/v1/recommend", json={"n": 500, "explain": False})).json()["items"]
    return Traffic(
        url=server.url,
        users=[str(user) for user in range(1, 672)],
        items=[item["item_id"] for item in popular],
        rate=options.rate,
        connections=options.connections,
        run=f"chaos{uuid.uuid4().hex[:8]}",
        with_items="post" in paths.get("/v1/items", {}),
    )


async def run(
    server: Server, database: Postgres | None, path: TcpProxy | None, options: argparse.Namespace
) -> tuple[Traffic, list[Fault]]:
    """Load and faults at the same time."""
    traffic = await prepare(server, options)
    if not traffic.with_items:
        print("this server has no POST /v1/items: no item updates")
    chaos = Chaos(server, database, path, lambda line: print(line, flush=True))
    load = asyncio.create_task(traffic.go())
    try:
        names = options.faults or (*FAULTS, *(FILE_FAULTS if database is None else DATABASE_FAULTS))
        breaking = asyncio.create_task(chaos.go(names, options.seconds))
        await asyncio.wait({load, breaking}, return_when=asyncio.FIRST_COMPLETED)
        if load.done():
            breaking.cancel()
            load.result()
        breaking.result()
    finally:
        traffic.finish()
        await load
    return traffic, chaos.faults


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--home", type=Path, default=DEFAULT_HOME, help="A trained home, made if missing.")
    parser.add_argument("--postgres", action="store_true", help="Keep the store in PostgreSQL.")
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--rate", type=float, default=40.0, help="Requests a second.")
    parser.add_argument("--connections", type=int, default=64, help="Of the readers, and of the writers.")
    parser.add_argument(
        "--faults",
        nargs="+",
        choices=(*FAULTS, *FILE_FAULTS, *DATABASE_FAULTS),
        help="What to break, in this order; default: everything once.",
    )
    parser.add_argument("--ingress", type=int, help="Replicas of the ingress, instead of the configured.")
    parser.add_argument("--json", type=Path, help="Write everything here.")
    options = parser.parse_args()
    if not options.postgres and set(options.faults or ()) & set(DATABASE_FAULTS):
        parser.error("only --postgres has a database to stop")
    if options.postgres and set(options.faults or ()) & set(FILE_FAULTS):
        parser.error("--postgres has no file to lock")
    changes: dict[str, Any] = {"server": {"topology": "staged"}}
    if options.ingress is not None:
        changes["server"]["ingress"] = {"replicas": options.ingress}
    train_once(options.home)
    with contextlib.ExitStack() as stack:
        database = stack.enter_context(postgres()) if options.postgres else None
        url = None if database is None else database.url
        path = None if database is None else stack.enter_context(tcp_proxy(database.socket))
        behind = None if path is None or url is None else path.url(url)
        home = stack.enter_context(scratch_home(options.home, changes, behind))
        with serving(home) as server:
            traffic, faults = asyncio.run(run(server, database, path, options))
        kept = compare(traffic, *read_back(home, url, traffic.run))
        return report(traffic, faults, kept, "PostgreSQL" if url else "SQLite", options.json)


if __name__ == "__main__":
    raise SystemExit(main())
