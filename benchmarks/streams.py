"""Events through a Kafka topic into the store while the broker is killed, and deletions out of it.

    python -m benchmarks.streams [--events 100000] [--engines sqlite postgresql] [--json FILE]

For each engine: half of the events are in the topic when `recserve stream source` begins, a process of its
own. Once a quarter is stored the broker is killed with SIGKILL and started again, and the other half is sent.
Then the whole topic is delivered once more, to another group. Every event has an id; the events of the store
are compared with those that were sent: missing, and stored twice.

After that 100 people and 100 items are deleted, `recserve stream sink` passes the deletions on, and the topic
is read back.

The broker is Tansu, which keeps its topics in an S3 of this process (moto), so its share of the time is not
that of a production cluster. Seconds of the clock include the outage; CPU seconds are the
source's alone.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml
from rich.console import Console
from rich.table import Table

from benchmarks.common import machine, postgres, write_json
from recserve.data.entities import Item
from recserve.store import Store, key_of, open_store
from tests.support.bed import object_store
from tests.support.kafka import Broker

EVENTS = 100_000
ENGINES = ("sqlite", "postgresql")
PARTITIONS = 6
USERS, ITEMS = 2_000, 500
DELETED = 100
WAIT_SECONDS = 480.0
COMMAND = (sys.executable, "-m", "recserve", "stream")


@dataclass(frozen=True)
class Result:
    """What became of the events and deletions of one engine.

    Attributes:
        engine: ``sqlite`` or ``postgresql``.
        events: Events sent.
        stored: Events of the store at the end.
        missing: Sent, but not stored.
        twice: Stored more than once.
        seconds: From the first event stored to the last, the outage included.
        cpu_seconds: Of the source meanwhile.
        again_seconds: Of the whole topic delivered once more, the start of the process included.
        again_cpu_seconds: Of that process.
        stored_again: Events that this stored.
        deletions: Deletions of people and of items that were made.
        arrived: Those of them that are in the topic of the sink.
    """

    engine: str
    events: int
    stored: int
    missing: int
    twice: int
    seconds: float
    cpu_seconds: float
    again_seconds: float
    again_cpu_seconds: float
    stored_again: int
    deletions: int
    arrived: int


def event_of(number: int) -> bytes:
    """One message."""
    event = {"user_id": f"u{number % USERS}", "item_id": f"i{number % ITEMS}", "event": "view"}
    return json.dumps({**event, "timestamp": 1_700_000_000 + number, "event_id": f"e{number}"}).encode()


def write_config(home: Path, address: str, group: str, store_url: str | None) -> None:
    """The configuration of source and sink."""
    streams = {
        "kafka": {"servers": address},
        "source": {"topics": {"events": "events"}, "group": group},
        "sinks": {"warehouse": {"topics": {"deletions": "deletions"}}},
    }
    config: dict[str, Any] = {"streams": streams}
    if store_url is not None:
        config["store"] = {"url": store_url}
    (home / "recserve.yaml").write_text(yaml.safe_dump(config))


@contextmanager
def source(home: Path) -> Iterator[psutil.Process]:
    """A source, ended with SIGTERM."""
    child = subprocess.Popen([*COMMAND, "source", "--home", str(home)])
    try:
        yield psutil.Process(child.pid)
        child.send_signal(signal.SIGTERM)
        if child.wait(60) != 0:
            raise SystemExit("the source did not end well")
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()


def run(home: Path, *arguments: str) -> float:
    """A command that ends by itself; returns its CPU seconds."""
    child = subprocess.Popen([*COMMAND, *arguments, "--until-end", "--home", str(home)])
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        raise SystemExit(f"recserve stream {' '.join(arguments)} failed")
    return usage.ru_utime + usage.ru_stime


def cpu_of(process: psutil.Process) -> float:
    """CPU seconds of a process so far."""
    times = process.cpu_times()
    return float(times.user + times.system)


def wait_for(done: Callable[[], bool]) -> None:
    """Wait until something is so."""
    end = time.monotonic() + WAIT_SECONDS
    while not done():
        if time.monotonic() > end:
            raise SystemExit(f"it took longer than {WAIT_SECONDS:g} s")
        time.sleep(0.05)


def event_ids(store: Store) -> list[str]:
    """Ids of all events."""
    found: list[str] = []
    reached, more = 0, True
    while more:
        table, reached = store.events_after(reached, 50_000)
        found += table["event_id"].to_pylist()
        more = len(table) > 0
    return found


def delete_some(store: Store, home: Path, broker: Broker) -> tuple[int, int]:
    """Delete people and items and pass it on; returns how many deletions there were, and how many arrived."""
    items = [f"i{number}" for number in range(DELETED)]
    people = [f"u{number}" for number in range(DELETED)]
    store.upsert_items([Item(name) for name in items])
    for name in items:
        store.delete_items([name])
    for name in people:
        store.delete_user(name)
    run(home, "sink", "warehouse")
    wanted = {*items, *(key_of(name).hex() for name in people)}
    data = [json.loads(message.value) for message in broker.read("deletions", len(wanted))]
    arrived = {one.get("item_id") or one["user_key"] for one in data}
    return len(wanted), len(wanted & arrived)


def measure(engine: str, events: int, folder: Path, s3: str, store_url: str | None = None) -> Result:
    """Send events, kill the broker, send the others, deliver all again, delete, and count everything."""
    home = folder / "home"
    home.mkdir(parents=True)
    broker = Broker(folder, s3, f"streams-{engine}")
    broker.start()
    try:
        broker.create("events", PARTITIONS)
        broker.create("deletions", PARTITIONS)
        write_config(home, broker.address, "first", store_url)
        half = events // 2
        broker.send("events", [event_of(number) for number in range(half)])
        with open_store(store_url, home) as store:
            with source(home) as process:
                wait_for(lambda: store.new_events(0) > 0)
                began = time.monotonic()
                wait_for(lambda: store.new_events(0) >= events // 4)
                broker.kill()
                broker.start()
                broker.send("events", [event_of(number) for number in range(half, events)])
                wait_for(lambda: store.new_events(0) >= events)
                seconds, cpu = time.monotonic() - began, cpu_of(process)
            stored = event_ids(store)
            write_config(home, broker.address, "second", store_url)
            began = time.monotonic()
            again_cpu = run(home, "source")
            again = time.monotonic() - began
            stored_again = store.counts().events - len(stored)
            made, arrived = delete_some(store, home, broker)
        sent = {f"e{number}" for number in range(events)}
        return Result(
            engine,
            events,
            len(stored),
            missing=len(sent - set(stored)),
            twice=len(stored) - len(set(stored)),
            seconds=seconds,
            cpu_seconds=cpu,
            again_seconds=again,
            again_cpu_seconds=again_cpu,
            stored_again=stored_again,
            deletions=made,
            arrived=arrived,
        )
    finally:
        broker.kill()


def show(results: Sequence[Result], console: Console) -> None:
    """The figures as a table."""
    table = Table(
        "engine", "events", "missing", "twice", "stored again", "deletions arrived",
        "events/s (outage in it)", "CPU us/event", "again: events/s", "again: CPU us/event",
    )  # fmt: skip
    for one in results:
        table.add_row(
            one.engine,
            f"{one.events:,}",
            f"{one.missing:,}",
            f"{one.twice:,}",
            f"{one.stored_again:,}",
            f"{one.arrived} of {one.deletions}",
            f"{one.events / one.seconds:,.0f}",
            f"{1e6 * one.cpu_seconds / one.events:.0f}",
            f"{one.events / one.again_seconds:,.0f}",
            f"{1e6 * one.again_cpu_seconds / one.events:.0f}",
        )
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--events", type=int, default=EVENTS)
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=ENGINES)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line for each request of the broker's
    console = Console()
    console.print(machine())
    results = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rs-streams-")))
        s3 = stack.enter_context(object_store("127.0.0.1"))
        for engine in options.engines:
            url = stack.enter_context(postgres()).url if engine == "postgresql" else None
            results.append(measure(engine, options.events, folder / engine, s3.endpoint, url))
    show(results, console)
    write_json(options.json, {"machine": machine(), "results": [asdict(one) for one in results]})
    if any(one.missing or one.twice or one.stored_again or one.arrived < one.deletions for one in results):
        raise SystemExit("events or deletions are missing, or there twice")


if __name__ == "__main__":
    main()
