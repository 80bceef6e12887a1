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
import os
import re
import signal
import sys
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from sqlalchemy import make_url

from benchmarks.chaos import read_back
from benchmarks.cluster_cost import Cost, cost_of, show
from benchmarks.cluster_strength import Strength, has_head, replicas
from benchmarks.common import Postgres, machine, postgres, write_json
from benchmarks.outcome import Fault
from benchmarks.traffic import Traffic
from recserve.store import open_store
from tests.conftest import write_domain
from tests.support.bed import (
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
        self._strength = Strength(parts.bed, ENTRY, WANTED)
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
