"""Breaks every part of a cluster of three hosts under a light load and counts what that cost.

    python -m benchmarks.cluster [--faults worker-killed head ...] [--rate 12]

The hosts are namespaces of this machine that share no disk; PostgreSQL, object storage, and Redis, in which
Ray's head keeps its state, are reached over their network. Ray's head runs on host 1 and has no replicas, as
in deployments/kubernetes; clients talk to the proxy of host 2, which no fault touches. Readers never retry:
each failure counts. Writers send the same event again until it is acknowledged; after each fault the
database is read past recserve and must hold every acknowledged event.

A host that is killed loses its power: its cable is out before its processes end, so nothing says goodbye.
Full strength is when Serve counts every replica as running, their processes are there, and the proxies of all
hosts that have an ingress answer that all is well.

Exit status 1: an acknowledged event is lost or something was answered with 500.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psutil
from rich.console import Console
from rich.table import Table
from sqlalchemy import make_url

from benchmarks.chaos import read_back
from benchmarks.common import Postgres, is_ready, machine, postgres, write_json
from benchmarks.outcome import Fault
from benchmarks.traffic import Call, Traffic
from recserve.store import open_store
from tests.conftest import write_domain
from tests.support.bed import (
    GCS,
    HEAD,
    PORT,
    REPOSITORY,
    ObjectStore,
    TestBed,
    object_store,
    proxy_program,
    redis,
)
from tests.support.forwarder import Forwarder
from tests.support.hosts import OUTSIDE, Hosts, why_not

ENTRY, LOST = 2, 3
"""The host whose proxy clients talk to, and the one that is lost."""
WANTED = {"Ingress": 2, "Retrieval": 2, "Encoding": 2, "Ranking": 2}
CUT_SECONDS = 25.0
OUTAGE_SECONDS = 30.0
STRONG_WITHIN = 150.0
QUIET_SECONDS = 5.0
OBSERVED_SECONDS = 20.0
RESTART_SECONDS = 5.0
SILENT_SECONDS = 20.0
CONFIG: dict[str, Any] = {
    "item_text": {"use": "fields", "params": {"fields": ["title", "topic"]}},
    "scenarios": {
        "home": {
            "retrievers": [
                {"use": "mf", "params": {"dimension": 8, "iterations": 3}},
                {"use": "content"},
                {"use": "popular", "candidates": 20},
            ]
        }
    },
    "server": {
        "host": "0.0.0.0",
        "port": PORT,
        **{name.lower(): {"replicas": count} for name, count in WANTED.items()},
    },
}
_WATCH = """
import json, time, ray
from ray import serve
from recserve_deployments.local_server.deploy import deployments
ray.init(address="%s", log_to_driver=False, logging_level="ERROR")
while True:
    try:
        print(json.dumps({one.name: one.running for one in deployments()}), flush=True)
    except Exception:
        pass
    time.sleep(0.5)
"""


class Strength:
    """What Serve says of its replicas, asked for by a program on a host that is never lost."""

    def __init__(self, bed: TestBed) -> None:
        self._bed = bed
        self._said: tuple[float, dict[str, int]] = (0.0, {})
        self._over = False
        self._process = self._start()
        threading.Thread(target=self._listen, daemon=True).start()

    def _start(self) -> subprocess.Popen[str]:
        self._started = time.monotonic()
        command = [sys.executable, "-c", _WATCH % GCS]
        return self._bed.hosts.popen(
            ENTRY, command, self._bed.variables, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )

    def _listen(self) -> None:
        while not self._over:
            assert self._process.stdout is not None
            for line in self._process.stdout:
                if line.startswith("{"):
                    self._said = (time.monotonic(), json.loads(line))
            self._process.wait()
            time.sleep(1)
            if not self._over:
                self._process = self._start()  # it lost its head

    def full(self, hosts: Sequence[int]) -> bool:
        """Whether everything runs, on these hosts alone."""
        when, counts = self._said
        if time.monotonic() - max(when, self._started) > SILENT_SECONDS:
            self._process.kill()  # another one connects to the head that is there now
        if time.monotonic() - when > 3.0 or any(counts.get(name, 0) < n for name, n in WANTED.items()):
            return False
        found = replicas(hosts)
        if any(len(found.get(name, ())) < count for name, count in WANTED.items()):
            return False
        return all(ready(number) for number in hosts if number == ENTRY or "Ingress" in replicas([number]))

    def close(self) -> None:
        """End the program."""
        self._over = True
        self._process.kill()
        self._process.wait()


def commands(hosts: Sequence[int]) -> Iterator[tuple[int, str]]:
    """Id and command line of each process on some hosts."""
    for process in (process for number in hosts for process in Hosts.processes(number)):
        with contextlib.suppress(psutil.Error):
            yield process, " ".join(psutil.Process(process).cmdline())


def replicas(hosts: Sequence[int]) -> dict[str, list[int]]:
    """Ids of the processes of the replicas on some hosts, by deployment."""
    found: dict[str, list[int]] = {}
    for process, command in commands(hosts):
        if title := re.match(r"ray::ServeReplica:recserve:(\w+)", command):
            found.setdefault(title[1], []).append(process)
    return found


def has_head() -> bool:
    """Whether Ray's head serves, on the host where it belongs."""
    return any("gcs_server" in command for _, command in commands([HEAD]))


def ready(number: int) -> bool:
    """Whether a host's proxy says that the store and all stages are well."""
    return is_ready(TestBed.url(number), timeout=3)


@dataclass
class Cost:
    """What a fault cost, from its start until the cluster was at full strength again.

    Attributes:
        fault: Its name.
        reads, answered: Reads, and those answered 2xx.
        server_errors: Answers of 5xx, events included, by status and code.
        unanswered: Reads without any answer, by what broke them.
        degraded: Reads answered without some stage.
        longest: Seconds that the slowest read took.
        lost: Acknowledged events that the database does not hold.
        strong: Seconds from when it could recover until full strength, None if that was never reached.
    """

    fault: str
    reads: int
    answered: int
    server_errors: dict[str, int]
    unanswered: dict[str, int]
    degraded: int
    longest: float
    lost: int
    strong: float | None

    @property
    def errors_500(self) -> int:
        """Answers with 500, which say that the server did not know what to do."""
        return sum(count for what, count in self.server_errors.items() if what.startswith("500"))


def cost_of(fault: Fault, calls: Sequence[Call], until: float, lost: int) -> Cost:
    """Look at the calls that overlap a fault and the while after it, up to a moment."""
    within = [call for call in calls if call.ended >= fault.started and call.started <= until]
    reads = [call for call in within if call.kind == "read"]
    errors = [f"{call.status} {call.code}" for call in within if call.status >= 500]
    broken = [call.code for call in reads if not call.status]
    return Cost(
        fault=fault.name,
        reads=len(reads),
        answered=sum(call.good for call in reads),
        server_errors={what: errors.count(what) for what in dict.fromkeys(errors)},
        unanswered={what: broken.count(what) for what in dict.fromkeys(broken)},
        degraded=sum(bool(call.degraded) for call in reads),
        longest=max((call.ended - call.started for call in reads), default=0.0),
        lost=lost,
        strong=None if fault.healthy is None else fault.healthy - fault.mending,
    )


@dataclass
class Parts:
    """A cluster that serves, and what it stands on.

    Attributes:
        bed: The hosts.
        key: An API key.
        database, storage: What is stopped by the faults of these names.
        bundles: Bundles that were not promoted yet.
    """

    bed: TestBed
    key: str
    database: Postgres | None = None
    storage: ObjectStore | None = None
    bundles: Sequence[str] = ()


class Faults:
    """Breaks things in turn and waits for full strength.

    Args:
        parts: What can be broken.
        traffic: The load.
        say: Told in a line what happens.
    """

    def __init__(self, parts: Parts, traffic: Traffic, say: Callable[[str], None]) -> None:
        self._parts = parts
        self._bed = parts.bed
        self._traffic = traffic
        self._say = say
        self._strength = Strength(parts.bed)
        self._hosts = {1, 2, 3}
        self._ways: dict[str, Callable[[], Awaitable[Fault]]] = {
            **{name.lower(): partial(self._replica, name) for name in WANTED},
            "worker-cut": self._worker_cut,
            "worker-killed": self._worker_killed,
            "worker-back": self._worker_back,
            "database": self._database,
            "storage": self._storage,
            "swap": self._swap,
            "redis": self._redis,
            "head": self._head,
        }
        self.costs: list[Cost] = []

    @classmethod
    def names(cls) -> list[str]:
        """All faults in the order in which they are run."""
        stages = [name.lower() for name in WANTED]
        rest = ["database", "storage", "swap", "worker-cut", "worker-killed", "worker-back", "redis", "head"]
        return [*stages, *rest]

    async def go(self, names: Sequence[str]) -> None:
        """Run some faults one after the other."""
        await self._until_strong(Fault("start", time.monotonic(), time.monotonic()))
        for name in names:
            await asyncio.sleep(QUIET_SECONDS)
            fault = await self._ways[name]()
            # What is mended within a moment may still be felt later.
            await asyncio.sleep(max(fault.started + OBSERVED_SECONDS - time.monotonic(), 0.0))
            until = time.monotonic()
            cost = cost_of(fault, self._traffic.calls, until, await asyncio.to_thread(self._lost))
            self.costs.append(cost)
            self._say(str(cost))
        self._strength.close()

    def _lost(self) -> int:
        acknowledged = dict(self._traffic.acknowledged)
        rows, _ = read_back(Path(), self._bed.database, self._traffic.run)
        stored = dict(rows)
        return sum(stored.get(event_id) != fact for event_id, fact in acknowledged.items())

    async def _until_strong(self, fault: Fault) -> Fault:
        while time.monotonic() < fault.mending + STRONG_WITHIN:
            if await asyncio.to_thread(self._strength.full, sorted(self._hosts)):
                fault.healthy = time.monotonic()
                break
            await asyncio.sleep(0.3)
        return fault

    async def _replica(self, deployment: str) -> Fault:
        now = time.monotonic()
        os.kill((await asyncio.to_thread(replicas, sorted(self._hosts)))[deployment][0], signal.SIGKILL)
        return await self._until_strong(Fault(f"{deployment}: one replica of two killed", now, now))

    async def _worker_cut(self) -> Fault:
        fault = Fault(f"worker cut off for {CUT_SECONDS:g} s", time.monotonic(), 0.0)
        self._bed.hosts.cut(LOST)
        await asyncio.sleep(CUT_SECONDS)
        self._bed.hosts.mend(LOST)
        fault.mending = time.monotonic()
        return await self._until_strong(fault)

    async def _worker_killed(self) -> Fault:
        now = time.monotonic()
        self._bed.hosts.cut(LOST)
        await asyncio.to_thread(self._bed.hosts.kill, LOST)
        self._hosts.remove(LOST)
        return await self._until_strong(Fault("worker killed", now, now))

    async def _worker_back(self) -> Fault:
        fault = Fault("worker replaced", time.monotonic(), 0.0)
        await asyncio.to_thread(self._bed.hosts.start, LOST)
        await asyncio.to_thread(self._bed.start_ray, LOST, 4)
        self._hosts.add(LOST)
        fault.mending = time.monotonic()
        return await self._until_strong(fault)

    async def _database(self) -> Fault:
        assert self._parts.database is not None
        fault = Fault(f"PostgreSQL down for {RESTART_SECONDS:g} s", time.monotonic(), 0.0)
        await asyncio.to_thread(self._parts.database.stop)
        await asyncio.sleep(RESTART_SECONDS)
        await asyncio.to_thread(self._parts.database.start)
        fault.mending = time.monotonic()
        return await self._until_strong(fault)

    async def _storage(self) -> Fault:
        fault = Fault(f"object store down for {OUTAGE_SECONDS:g} s", time.monotonic(), 0.0)
        await self._without_storage(OUTAGE_SECONDS)
        fault.mending = time.monotonic()
        return await self._until_strong(fault)

    async def _swap(self) -> Fault:
        """A bundle that no replica has seen becomes current while it cannot be read.

        `recserve promote` would refuse: it reads the bundle first. So the pointer is moved without it, as if
        the object store had failed right after.
        """
        new = self._parts.bundles[-1]
        fault = Fault("object store down, bundle promoted meanwhile", time.monotonic(), 0.0)
        await asyncio.gather(
            self._without_storage(OUTAGE_SECONDS),
            asyncio.to_thread(self._point_at, new),
        )
        fault.mending = time.monotonic()
        while time.monotonic() < fault.mending + STRONG_WITHIN:
            if await asyncio.to_thread(self._answered_by, new):
                break
            await asyncio.sleep(0.3)
        return await self._until_strong(fault)

    def _point_at(self, bundle: str) -> None:
        store = open_store(self._bed.database, Path())
        store.set_current(bundle)
        store.close()

    def _answered_by(self, bundle: str) -> bool:
        with contextlib.suppress(httpx.HTTPError):
            answers = [
                self._bed.call(
                    number, "POST", "/v1/recommend", {"n": 3, "exclude": [str(step)]}, self._parts.key
                )
                for step in range(3)
                for number in sorted(self._hosts)
            ]
            return all(answer["bundle"] == bundle for answer in answers)
        return False

    async def _without_storage(self, seconds: float) -> None:
        assert self._parts.storage is not None
        await asyncio.to_thread(self._parts.storage.stop)
        await asyncio.sleep(seconds)
        await asyncio.to_thread(self._parts.storage.start)

    async def _redis(self) -> Fault:
        assert self._bed.redis is not None
        fault = Fault(f"Redis down for {RESTART_SECONDS:g} s", time.monotonic(), 0.0)
        await asyncio.to_thread(self._bed.redis.stop)
        await asyncio.sleep(RESTART_SECONDS)
        await asyncio.to_thread(self._bed.redis.start)
        fault.mending = time.monotonic()
        if not await asyncio.to_thread(has_head):
            # Ray's head ends when Redis does not answer a few times; Kubernetes starts its pod again.
            fault.name += ", head restarted by that"
            await asyncio.to_thread(self._bed.hosts.kill, HEAD)
            await asyncio.to_thread(self._bed.hosts.start, HEAD)
            await asyncio.to_thread(self._bed.start_ray, HEAD, 0)
        return await self._until_strong(fault)

    async def _head(self) -> Fault:
        fault = Fault("head killed, replaced after 10 s", time.monotonic(), 0.0)
        self._bed.hosts.cut(HEAD)
        await asyncio.to_thread(self._bed.hosts.kill, HEAD)
        await asyncio.sleep(10)
        await asyncio.to_thread(self._bed.hosts.start, HEAD)
        await asyncio.to_thread(self._bed.start_ray, HEAD, 0)
        fault.mending = time.monotonic()
        return await self._until_strong(fault)


@contextmanager
def cluster() -> Iterator[Parts]:
    """Three hosts that serve, and two bundles."""
    if (reason := why_not()) is not None:
        raise SystemExit(f"no hosts can be made here: {reason}")
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="recserve-cluster-")))
        programs = folder / "programs"
        programs.mkdir()
        hosts = stack.enter_context(Hosts(3, folder, visible=[REPOSITORY, Path(sys.prefix), programs]))
        database = stack.enter_context(postgres())
        storage = stack.enter_context(object_store())
        state = stack.enter_context(redis(folder))
        forwarder = stack.enter_context(Forwarder(OUTSIDE, database.socket))
        reached = make_url(database.url).set(host=OUTSIDE, port=forwarder.port, query={})
        url = reached.render_as_string(hide_password=False)
        bed = TestBed(hosts, url, storage.bucket, proxy_program(programs), state)
        for number, cpus in ((1, 0), (2, 4), (3, 4)):
            bed.start_ray(number, cpus)
        domain = write_domain(folder)
        key = bed.serve(CONFIG, {"events.csv": domain.events, "items.jsonl": domain.items})
        trained = bed.recserve(HEAD, "train", "--no-evaluate", "--no-promote", "--seed", "1").stdout
        bundles = re.findall(r"\b\d{8}-[0-9a-f]{12}\b", trained)
        bed.configure(ENTRY, {**CONFIG, **bed.shared})
        yield Parts(bed, key, database, storage, bundles)


async def measure(parts: Parts, names: Sequence[str], rate: float) -> list[Cost]:
    """Load and faults at the same time; returns what each fault cost."""
    traffic = Traffic(
        url=TestBed.url(ENTRY),
        users=[f"user-{number}" for number in range(80)],
        items=[f"item-{number}" for number in range(30)],
        rate=rate,
        connections=64,
        run=f"cluster{uuid.uuid4().hex[:8]}",
        with_items=False,
        key=parts.key,
    )
    faults = Faults(parts, traffic, lambda line: print(line, flush=True))
    load = asyncio.create_task(traffic.go())
    breaking = asyncio.create_task(faults.go(names))
    try:
        await asyncio.wait({load, breaking}, return_when=asyncio.FIRST_COMPLETED)
        if load.done():
            breaking.cancel()
            load.result()
        await breaking
    finally:
        traffic.finish()
        await load
    return faults.costs


def show(costs: Sequence[Cost], console: Console) -> None:
    """A row for each fault."""
    table = Table(
        "fault",
        "reads",
        "answered",
        "5xx",
        "no answer",
        "degraded",
        "longest s",
        "events lost",
        "full strength s",
    )
    for cost in costs:
        table.add_row(
            cost.fault,
            str(cost.reads),
            f"{cost.answered / max(cost.reads, 1):.2%}",
            _counts(cost.server_errors),
            _counts(cost.unanswered),
            str(cost.degraded),
            f"{cost.longest:.1f}",
            str(cost.lost),
            "never" if cost.strong is None else f"{cost.strong:.0f}",
        )
    console.print(table)


def _counts(found: Mapping[str, int]) -> str:
    return "\n".join(f"{count} x {what}" for what, count in found.items()) or "0"


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--faults", nargs="+", choices=Faults.names(), default=Faults.names())
    parser.add_argument("--rate", type=float, default=12.0, help="Requests a second.")
    parser.add_argument("--json", type=Path, help="Write the figures here.")
    options = parser.parse_args()
    with cluster() as parts:
        costs = asyncio.run(measure(parts, options.faults, options.rate))
    console = Console(width=160)
    console.print(f"{machine()}; {options.rate:g} requests a second", highlight=False)
    show(costs, console)
    write_json(options.json, {"machine": machine(), "costs": [vars(cost) for cost in costs]})
    return int(any(cost.lost or cost.errors_500 for cost in costs))


if __name__ == "__main__":
    raise SystemExit(main())
