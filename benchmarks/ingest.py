"""How many events a second are stored durably, beside what the engine itself can do.

    python -m benchmarks.ingest [--seconds 1] [--repeats 3] [--engines sqlite postgresql] [--no-http]

Three ways into a table of 40,000 events, in turn: ``driver`` is a bare table with the columns and indexes of
the store's ``events``, filled by ``executemany`` of sqlite3 or psycopg from rows made beforehand, a
transaction a batch; ``recserve`` is ``Store.add_events``; ``HTTP`` is ``POST /v1/events`` of a whole server.
All three are durable when they return: SQLite with a write-ahead log and synchronous=FULL, PostgreSQL with
synchronous_commit=on. After each measurement the rows are counted: as many as were acknowledged must be in.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import secrets
import statistics
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.table import Table

from benchmarks.common import (
    DEFAULT_HOME,
    REMOVED,
    Connection,
    machine,
    postgres,
    quantile,
    request,
    scratch_home,
    serving,
    train_once,
    write_json,
)
from benchmarks.tables import ENGINES, Send, count_rows, filled, fresh, rows_of, sender, some_events
from recserve.data.entities import Event
from recserve.store import open_store

T = TypeVar("T")

CALLERS = (1, 8)
# Batches prepared for one measurement, by size: more than can be stored in the time.
PREPARED = {1: 4000, 100: 600, 1000: 120, 10_000: 24}
WAYS = ("driver", "recserve", "HTTP")
# Everything in the ingress and no model: what is measured is the way of an event.
FUSED = {
    "encoder": None,
    "scenarios": {
        "home": {
            "retrievers": [{"use": "popular"}],
            "ranker": None,
            "filters": [],
            "explainer": {"use": "template"},
        },
        # Those that the sample's configuration brings need vectors.
        "similar": REMOVED,
        "session": REMOVED,
        "search": REMOVED,
    },
    "item_text": {"use": "fields", "params": {}},
    "server": {"topology": "fused"},
}


@dataclass(frozen=True)
class Done:
    """What was acknowledged.

    Attributes:
        timed: Batches while the time was taken.
        before: Batches before that, to warm up.
        seconds: The time.
    """

    timed: int
    before: int
    seconds: float


@dataclass(frozen=True)
class Rate:
    """One measurement.

    Attributes:
        engine: ``sqlite`` or ``postgresql``.
        way: ``driver``, ``recserve`` or ``HTTP``.
        batch: Events of one call.
        callers: Concurrent callers.
        rate: Events a second.
        events: Acknowledged, and found in the table afterwards.
        flush_ms: How long the disk took to make 4 kB durable just before.
    """

    engine: str
    way: str
    batch: int
    callers: int
    rate: float
    events: int
    flush_ms: float


def batches_of(size: int) -> list[list[Event]]:
    """The prepared batches of one measurement."""
    events = some_events(size * PREPARED[size])
    return [events[start : start + size] for start in range(0, len(events), size)]


def drive(
    work: Sequence[T], callers: int, seconds: float, opened: Callable[[], AbstractContextManager[Send[T]]]
) -> Done:
    """Have threads send the work, each over a connection of its own, for some time or until all is sent."""
    waiting = deque(work)
    ready = threading.Barrier(callers + 1)
    done: list[int] = []
    failures: list[BaseException] = []
    end = float("inf")

    def call() -> None:
        count = 0
        try:
            with opened() as send:
                send(waiting.popleft())
                ready.wait()
                with contextlib.suppress(IndexError):
                    while time.perf_counter() < end:
                        send(waiting.popleft())
                        count += 1
        except BaseException as error:
            failures.append(error)
            ready.abort()
        done.append(count)

    threads = [threading.Thread(target=call) for _ in range(callers)]
    for thread in threads:
        thread.start()
    with contextlib.suppress(threading.BrokenBarrierError):
        ready.wait()
    started = time.perf_counter()
    end = started + seconds
    for thread in threads:
        thread.join()
    spent = time.perf_counter() - started
    if failures:
        raise failures[0]
    return Done(sum(done), callers, spent)


def driver_rate(url: str, batch: int, callers: int, seconds: float) -> Done:
    """The engine's own limit: a bare table, rows made beforehand, nothing but the driver."""
    work = [rows_of(events) for events in batches_of(batch)]
    return drive(work, callers, seconds, lambda: sender(url))


def store_rate(url: str, batch: int, callers: int, seconds: float) -> Done:
    """``Store.add_events`` of one store, as a server has it."""
    with open_store(url, Path()) as store:

        def send(events: list[Event]) -> None:
            if store.add_events(events) != len(events):
                raise SystemExit("new events were taken for old ones")

        return drive(batches_of(batch), callers, seconds, lambda: contextlib.nullcontext(send))


async def http_rate(port: int, batch: int, callers: int, seconds: float) -> Done:
    """``POST /v1/events`` over keep-alive connections."""
    waiting = deque(request("POST", "/v1/events", _body(events)) for events in batches_of(batch))
    connections = [Connection("127.0.0.1", port) for _ in range(callers)]

    async def send(connection: Connection) -> None:
        status, body = await connection.send(waiting.popleft())
        if status != 200:
            raise SystemExit(f"events were answered {status}: {body[:300]!r}")

    async def call(connection: Connection) -> int:
        count = 0
        while waiting and time.perf_counter() < started + seconds:
            await send(connection)
            count += 1
        return count

    await asyncio.gather(*(send(connection) for connection in connections))
    started = time.perf_counter()
    counts = await asyncio.gather(*(call(connection) for connection in connections))
    spent = time.perf_counter() - started
    for one in connections:
        one.close()
    return Done(sum(counts), callers, spent)


def _body(events: Sequence[Event]) -> dict[str, Any]:
    names = ("user_id", "item_id", "event", "timestamp", "event_id")
    listed = [{name: getattr(event, name) for name in names} for event in events]
    return listed[0] if len(listed) == 1 else {"events": listed}


def checked(engine: str, way: str, sizes: tuple[int, int], stored: int, done: Done, flush: float) -> Rate:
    """Make a figure of a measurement, provided that all that was acknowledged is stored."""
    batch, callers = sizes
    acknowledged = (done.before + done.timed) * batch
    if stored != acknowledged:
        raise SystemExit(f"{engine}, {way}: {acknowledged} events acknowledged, {stored} stored")
    return Rate(engine, way, batch, callers, done.timed * batch / done.seconds, stored, flush)


def measure_tables(engine: str, server: str | None, seconds: float, repeats: int) -> list[Rate]:
    """Driver and store in turn, several times over, who goes first changing."""
    rates = []
    ways = [("driver", driver_rate), ("recserve", store_rate)]
    for repeat in range(repeats):
        for sizes in ((batch, callers) for batch in PREPARED for callers in CALLERS):
            for way, rate in ways if repeat % 2 else reversed(ways):
                with filled(engine, server, way) as url:
                    before, flush = count_rows(url), flush_ms()
                    done = rate(url, *sizes, seconds)
                    rates.append(checked(engine, way, sizes, count_rows(url) - before, done, flush))
    return rates


def measure_http(engine: str, server: str | None, trained: Path, seconds: float, repeats: int) -> list[Rate]:
    """The same over HTTP, into the store of a server that holds the sample data already."""
    rates = []
    with contextlib.ExitStack() as stack:
        store_url = stack.enter_context(fresh(engine, server)) if server else None
        home = stack.enter_context(scratch_home(trained, FUSED, store_url))
        url = store_url or f"sqlite:///{home}/recserve.db"
        port = stack.enter_context(serving(home)).port
        for _ in range(repeats):
            for sizes in ((batch, callers) for batch in PREPARED for callers in CALLERS):
                before, flush = count_rows(url), flush_ms()
                done = asyncio.run(http_rate(port, *sizes, seconds))
                rates.append(checked(engine, "HTTP", sizes, count_rows(url) - before, done, flush))
    return rates


def flush_ms() -> float:
    """Median time that the disk takes to make 4 kB durable, where the databases are."""
    spent = []
    with tempfile.NamedTemporaryFile(prefix="recserve-bench-") as file:
        for _ in range(20):
            file.write(secrets.token_bytes(4096))
            file.flush()
            started = time.perf_counter()
            os.fdatasync(file.fileno())
            spent.append(1000 * (time.perf_counter() - started))
    return statistics.median(spent)


def show(rates: Sequence[Rate], console: Console) -> None:
    """Medians and ranges; a ratio is the median of the ratios of each round."""
    ways = [way for way in WAYS if any(rate.way == way for rate in rates)]
    table = Table("engine", "batch", "callers", *(f"{way} events/s (range)" for way in ways))
    for way in ways[1:]:
        table.add_column(f"{way} / {ways[0]}")
    for engine, batch, callers in dict.fromkeys((rate.engine, rate.batch, rate.callers) for rate in rates):
        same = [rate for rate in rates if (rate.engine, rate.batch, rate.callers) == (engine, batch, callers)]
        found = {way: [rate.rate for rate in same if rate.way == way] for way in ways}
        cells = [
            f"{statistics.median(all_):,.0f} ({min(all_):,.0f}-{max(all_):,.0f})" for all_ in found.values()
        ]
        base = found[ways[0]]
        ratios = [[mine / its for mine, its in zip(found[way], base, strict=True)] for way in ways[1:]]
        table.add_row(
            engine,
            f"{batch:,}",
            str(callers),
            *cells,
            *(f"{statistics.median(ratio):.2f}" for ratio in ratios),
        )
    console.print(table)


def disk(rates: Sequence[Rate]) -> str:
    """How long the disk took to make something durable, and whether that changed under the measurement."""
    low, median, high = (quantile([rate.flush_ms for rate in rates], q) for q in (0.1, 0.5, 0.9))
    said = (
        f"making 4 kB durable took {median:.2f} ms (a tenth of the time under {low:.2f}, or over {high:.2f})"
    )
    if high > 3 * low:
        said += "; the disk was busy with other things at times, so ratios of small batches mean little"
    return said


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--home", type=Path, default=DEFAULT_HOME, help="A trained home, made if missing.")
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=ENGINES)
    parser.add_argument("--seconds", type=float, default=1.0, help="Of one measurement.")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--no-http", action="store_true", help="Leave the way over HTTP out.")
    parser.add_argument("--json", type=Path, help="Write all figures here.")
    options = parser.parse_args()
    if not options.no_http:
        train_once(options.home)
    rates: list[Rate] = []
    for engine in options.engines:
        with contextlib.ExitStack() as stack:
            url = stack.enter_context(postgres()).url if engine == "postgresql" else None
            rates += measure_tables(engine, url, options.seconds, options.repeats)
            if not options.no_http:
                rates += measure_http(engine, url, options.home, options.seconds, options.repeats)
    console = Console(width=160)
    console.print(f"{machine()}; {disk(rates)}", highlight=False)
    show(rates, console)
    console.print("every acknowledged event was found in its table")
    write_json(options.json, {"machine": machine(), "rates": [asdict(rate) for rate in rates]})


if __name__ == "__main__":
    main()
