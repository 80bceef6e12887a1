"""A server on three hosts that share no disk: the loop works, and a lost host costs nothing."""

from __future__ import annotations

import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.deployments.cluster.conftest import GCS, HOME, PORT, TestBed

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(900)]

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
        "ingress": {"replicas": 2},
        "retrieval": {"replicas": 2},
        "encoding": {"replicas": 1},
        "ranking": {"replicas": 2},
    },
}


@pytest.fixture(scope="module")
def key(bed: TestBed, files: dict[str, Path]) -> str:
    """The API key of a server on the three hosts."""
    bed.configure(1, {**CONFIG, **bed.shared})
    for name, path in files.items():
        bed.copy(1, path, f"{HOME}/{name}")
    bed.recserve(1, "import", "--events", f"{HOME}/events.csv", "--items", f"{HOME}/items.jsonl")
    bed.recserve(1, "train", "--no-evaluate")
    made = bed.recserve(1, "keys", "create", "test", "--scope", "read", "--scope", "write")
    served = bed.recserve(1, "serve", "--address", GCS)
    assert "serving bundle" in served.stdout
    return next(word for word in made.stdout.split() if word.startswith("rs_"))


def test_every_next_answer_sees_the_event_through_every_proxy(bed: TestBed, key: str) -> None:
    for number in (1, 2, 3):
        for step in range(10):
            user = f"new-{number}-{step}"
            before = bed.call(number, "POST", "/v1/recommend", {"user_id": user, "n": 5}, key)
            liked = before["items"][0]["item_id"]
            bed.call(number, "POST", "/v1/events", {"user_id": user, "item_id": liked, "event": "like"}, key)
            after = bed.call(number % 3 + 1, "POST", "/v1/recommend", {"user_id": user, "n": 5}, key)
            assert not before["degraded"]
            assert not after["degraded"]
            assert liked not in [item["item_id"] for item in after["items"]]
    found = bed.call(2, "POST", "/v1/recommend", {"query": "rockets in space", "n": 5}, key)
    assert not found["degraded"]
    assert {item["attributes"]["topic"] for item in found["items"][:3]} == {"space"}


def test_a_host_that_is_killed_costs_what_was_on_its_way_there(bed: TestBed, key: str) -> None:
    """Reads go on through the proxy of another host; the replicas of the lost one come back elsewhere.

    Serve's own HAProxy does not repeat a request that had been sent there: it may have been a write.
    """
    load = Load(f"http://{bed.hosts.address(1)}:{PORT}", key)
    with load:
        time.sleep(3)
        bed.hosts.kill(3)
        time.sleep(20)
    print(f"{load.asked} reads, {len(load.failures)} failed, the longest took {load.longest:.1f} s")
    assert load.asked > 10
    assert len(load.failures) <= 1, load.failures[:3]


class Load:
    """A few requests a second from a thread of its own, counted."""

    def __init__(self, url: str, key: str) -> None:
        self._url = url
        self._headers = {"authorization": f"Bearer {key}"}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.asked = 0
        self.failures: list[str] = []
        self.longest = 0.0

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *details: object) -> None:
        self._ended.set()
        self._thread.join(timeout=30)

    def _run(self) -> None:
        # A connection each: one that is kept may be closed by a proxy that takes in a new configuration.
        ask = partial(
            httpx.post, f"{self._url}/v1/recommend", headers=self._headers, timeout=30, trust_env=False
        )
        while not self._ended.wait(0.1):
            began = time.monotonic()
            try:
                answer = ask(json={"user_id": f"user-{self.asked % 80}", "n": 5})
                if answer.status_code != 200:
                    self.failures.append(f"{answer.status_code} {answer.text[:200]}")
            except httpx.HTTPError as error:
                self.failures.append(repr(error))
            self.asked += 1
            self.longest = max(self.longest, time.monotonic() - began)
