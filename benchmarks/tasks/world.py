"""The server that the tasks are done on: two trained bundles, weeks of outcomes, visitors, a fault."""

from __future__ import annotations

import random
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import yaml
from recserve_deployments.local_server.environment import run_directory

from benchmarks.common import CONFIG_NAME, Server, merged, recserve, serving
from recserve.store import open_store
from tests.conftest import SMALL_CONFIG, write_domain
from tests.support.operated import live_through

REPLICAS = {"server": {"retrieval": {"replicas": 2}}}
"""More than one, so that there is something to count."""
PAUSE_SECONDS = 0.1
HEALTHY_SECONDS = 120.0


class World:
    """The server as its API tells it, which answers on the page are held against.

    Args:
        url: The server.
        user: Somebody who is known and does nothing meanwhile.
        leaving: Somebody like that, who is to be forgotten.
    """

    def __init__(self, url: str, user: str = "user-1", leaving: str = "user-2") -> None:
        self.url = url
        self.user = user
        self.leaving = leaving
        self._client = httpx.Client(base_url=url, timeout=30, trust_env=False)

    def get(self, path: str, **query: Any) -> Any:
        """The answer to a GET."""
        answer = self._client.get(path, params=query)
        answer.raise_for_status()
        return answer.json()

    def post(self, path: str, body: Any) -> Any:
        """The answer to a POST."""
        answer = self._client.post(path, json=body)
        answer.raise_for_status()
        return answer.json()

    def recommended(self) -> list[dict[str, Any]]:
        """What the user is recommended, with details, in the order of the page."""
        body = {"user_id": self.user, "n": 12, "details": True, "preview": True, "language": "en"}
        items: list[dict[str, Any]] = self.post("/v1/recommend", body)["items"]
        return items

    def outcomes(self, by: str | None = None, days: int = 28) -> dict[str, Any]:
        """The report of outcomes over the last days."""
        since = (datetime.now(UTC) - timedelta(days=days - 1)).date().isoformat()
        query = {"since": since, **({} if by is None else {"by": by})}
        report: dict[str, Any] = self.get("/v1/reports/outcomes", **query)
        return report

    def bundles(self) -> tuple[str, str]:
        """The bundle in service, and the one that was before it."""
        found = self.get("/v1/bundles")
        current: str = found["current"]
        earlier = next(one["bundle_id"] for one in found["promotions"] if one["bundle_id"] != current)
        return current, earlier

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


@contextmanager
def served() -> Iterator[World]:
    """A server of its own with a past and a present; everything is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="recserve-tasks-", ignore_cleanup_errors=True) as folder:
        home = Path(folder) / "home"
        trained(Path(folder), home)
        try:
            with serving(home) as server, visitors(server.url):
                lose_a_stage(server)
                world = World(server.url)
                yield world
                world.close()
        finally:
            shutil.rmtree(run_directory(home), ignore_errors=True)


def trained(folder: Path, home: Path) -> None:
    """Train two bundles on the example domain, and give them weeks of outcomes and experiments."""
    print("training two small bundles", file=sys.stderr)
    domain = write_domain(folder)
    home.mkdir()
    mf = {"use": "mf", "params": {"dimension": 8, "iterations": 1}}
    retrievers = SMALL_CONFIG["scenarios"]["home"]["retrievers"]
    for first in (mf, retrievers[0]):
        changes = {**REPLICAS, "scenarios": {"home": {"retrievers": [first, *retrievers[1:]]}}}
        (home / CONFIG_NAME).write_text(yaml.safe_dump(merged(SMALL_CONFIG, changes)), encoding="utf-8")
        if first is mf:
            recserve(home, "import", "--events", str(domain.events), "--items", str(domain.items))
        recserve(home, "train")
    with open_store(None, home) as store:
        before, current = reversed(store.bundle_history()[:2])
        items = [item.item_id for item in store.list_items(None, 40)]
        sources = [one["use"] for one in retrievers]
        live_through(store, before, current, days=28, pages=60, items=items, sources=sources, lift=0.2)


@contextmanager
def visitors(url: str) -> Iterator[None]:
    """People who ask and tell all the time, some of them in a way that is refused."""
    over = threading.Event()

    def visit() -> None:
        rng = random.Random(3)
        with httpx.Client(base_url=url, timeout=30, trust_env=False) as client:
            while not over.wait(PAUSE_SECONDS):
                user = f"user-{20 + rng.randrange(6)}"  # nobody whom a task is about
                path, body = rng.choice(
                    (
                        ("/v1/recommend", {"user_id": user}),
                        ("/v1/recommend", {"query": f"odd {rng.randrange(99)}"}),
                        ("/v1/similar", {"item_id": "item-1"}),
                        ("/v1/events", {"user_id": user, "item_id": "item-1", "event": "view"}),
                        ("/v1/recommend", {"user_id": user, "n": "many"}),
                    )
                )
                with suppress(httpx.HTTPError):  # a stage is being lost on purpose
                    client.post(path, json=body)

    thread = threading.Thread(target=visit)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def lose_a_stage(server: Server) -> None:
    """Kill the ranking stage, so that answers go on without it for a moment, and wait until all is well."""
    for process in server.replicas("Ranking"):
        process.kill()
    deadline = time.monotonic() + HEALTHY_SECONDS
    with httpx.Client(base_url=server.url, timeout=30, trust_env=False) as client:
        while not client.get("/v1/live").json()["degraded"] or not server.healthy():
            if time.monotonic() > deadline:
                raise SystemExit("the server did not recover from the loss of a stage")
            time.sleep(0.5)
