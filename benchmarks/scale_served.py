"""What replicas of a server hold in memory with a large catalogue and rules, and how soon these see a change.

Part of :mod:`benchmarks.scale`. The retriever `mf` serves through filters and a reranker that read three
attributes of every item. Memory counts all that a process holds, Ray and Python included, but for the mapped
files of the bundle, which all processes of a node share.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import httpx

from benchmarks.common import Server, scratch_home, serving
from benchmarks.scale_replica import CONFIG, memory
from recserve.data.entities import now_ms
from recserve.store import open_store

RULES: dict[str, Any] = {
    "filters": [
        {"use": "available"},
        {"use": "where", "params": {"expression": 'price < 50 and ("t3" in tags or category != "c7")'}},
    ],
    "rerankers": [{"use": "caps", "params": {"rules": [{"attribute": "category", "limit": 2}]}}],
}
DEPLOYMENTS = ("Retrieval", "Ranking", "Ingress")
HISTORY = 30
PAGE = 20
GIVE_UP_SECONDS = 60.0


def attributes(row: int) -> dict[str, Any]:
    """What is said of an item: 300 categories, 10,000 prices, two of 97 and 89 tags."""
    return {
        "title": f"Item number {row}",
        "category": f"c{row % 300}",
        "price": row * 7919 % 10_000 / 100,
        "tags": [f"t{row % 97}", f"t{row % 89}"],
    }


@dataclass(frozen=True)
class Served:
    """A server of a catalogue.

    Attributes:
        items: Items of the catalogue.
        beside_mb: Memory of a replica of each deployment beside the mapped files, after the requests.
        median_ms: A request alone, of somebody who did something since the last one.
        change_s: Seconds from the acknowledgement of another price to the first page without the item.
    """

    items: int
    beside_mb: Mapping[str, float]
    median_ms: float
    change_s: float


def serve(home: Path, bundle: str, items: int, people: int, requests: int) -> Served:
    """Serve a bundle with rules, ask, and look at the processes."""
    scenario = {**CONFIG["scenarios"]["home"], **RULES}
    with scratch_home(home, {**CONFIG, "scenarios": {"home": scenario}}) as scratch:
        with open_store(None, scratch) as store:
            store.record_bundle(bundle, now_ms(), {"catalogue_version": store.pulse().catalogue})
            store.set_current(bundle)
        with (
            serving(scratch) as server,
            httpx.Client(base_url=server.url, timeout=60, trust_env=False) as client,
        ):
            names = [f"person-{number}" for number in range(people)]
            for name in names:
                _view(client, name, items)
            taken = [
                _asked_after_an_event(client, names[number % people], items) for number in range(requests)
            ]
            change = _change(client, names[0])
            held = {name: _memory(server, name, scratch) for name in DEPLOYMENTS}
    return Served(items, held, 1000 * median(taken), change)


def _view(client: httpx.Client, person: str, items: int, count: int = HISTORY) -> None:
    """Somebody looks at items that lie close together."""
    start = random.Random(person).randrange(items)
    events = [
        {
            "user_id": person,
            "item_id": f"item-{(start + random.randrange(2000)) % items:07d}",
            "event": "view",
        }
        for _ in range(count)
    ]
    client.post("/v1/events", json={"events": events}).raise_for_status()


def _page(client: httpx.Client, person: str) -> list[str]:
    answer = client.post("/v1/recommend", json={"user_id": person, "n": PAGE}).raise_for_status().json()
    if answer["degraded"]:
        raise SystemExit(f"an answer was degraded: {answer['degraded']}")
    return [item["item_id"] for item in answer["items"]]


def _asked_after_an_event(client: httpx.Client, person: str, items: int) -> float:
    _view(client, person, items, 1)
    began = time.perf_counter()
    _page(client, person)
    return time.perf_counter() - began


def _change(client: httpx.Client, person: str) -> float:
    """How long the price of an item that is shown, and is too high now, takes to be noticed."""
    first = _page(client, person)[0]
    changed = {"item_id": first, "attributes": {**attributes(int(first.rpartition("-")[2])), "price": 99.0}}
    client.post("/v1/items", json={"items": [changed]}).raise_for_status()
    began = time.perf_counter()
    while first in _page(client, person):
        if time.perf_counter() - began > GIVE_UP_SECONDS:
            raise SystemExit(f"{first} is still shown {GIVE_UP_SECONDS:.0f} s after its price changed")
        time.sleep(0.02)
    return time.perf_counter() - began


def _memory(server: Server, deployment: str, home: Path) -> float:
    held: float = max(memory(home, process.pid)["beside_mb"] for process in server.replicas(deployment))
    return held
