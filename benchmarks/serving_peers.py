"""What the serving benchmark compares with: the same models, served as their users usually serve them.

    python -m benchmarks.serving_peers plain --home DIR --port PORT
    python -m benchmarks.serving_peers naive --home DIR --port PORT

Both take recserve's trained components from the bundle and call them one request at a time; nothing of its
pipeline, batches, caches or HTTP layer is used. Each request: the user's history by one SQL query, each
retriever, the merge, the ranker, the ten best with their attributes.

*plain* is one process of FastAPI and uvicorn. *naive* is the composition that Ray's own examples teach: a
deployment for each model, a call for each request, default settings, on a Ray cluster of its own.
"""

from __future__ import annotations

import argparse
import logging
import signal
import sqlite3
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel

from recserve.bundles.bundle import Bundle
from recserve.bundles.repository import BundleRepository, open_newest
from recserve.config import Config, load_config
from recserve.data.batches import Candidates, Queries, Ragged
from recserve.data.entities import Event, now_ms
from recserve.plugin.registry import Registry
from recserve.plugin.resolved import ResolvedPipeline
from recserve.serving.loader import Loader
from recserve.serving.stages.fusion import merge
from recserve.serving.state.user_events import UserEvents, pack
from recserve.store import Store, open_store
from recserve.store.sql.schema import hash_of

CONFIG_NAME = "recserve.yaml"
_HISTORY = (
    "SELECT item_id, event, value, timestamp FROM events WHERE user_hash = ? AND user_id = ? "
    "ORDER BY timestamp DESC, seq DESC LIMIT ?"
)


class Ask(BaseModel):
    """Body of ``POST /v1/recommend``."""

    user_id: str
    n: int = 10
    explain: bool = False


class Told(BaseModel):
    """Body of ``POST /v1/events``: only what the benchmark sends."""

    events: list[dict[str, str]]


@dataclass(frozen=True)
class Models:
    """The components of the default scenario.

    Attributes:
        config: The configuration.
        bundle: Their bundle.
        loader: Builds them.
    """

    config: Config
    bundle: Bundle
    loader: Loader

    @classmethod
    def of(cls, home: Path) -> Models:
        """Open the home's current bundle."""
        path = home / CONFIG_NAME
        config = load_config(path if path.exists() else None)
        with open_store(config.store.url, home) as store:
            bundle = open_newest(BundleRepository(home, config.bundles), store.bundle_history())
        return cls(config, bundle, Loader(bundle, Registry.discover().resolve(config)))

    @property
    def scenario(self) -> ResolvedPipeline:
        """The default scenario."""
        return self.loader.resolved.scenarios[self.config.default_scenario]

    def retriever(self, name: str) -> Any:
        """A retriever, loaded."""
        return self.loader.component(next(one for one in self.scenario.retrievers if one.name == name))

    @property
    def sizes(self) -> dict[str, int]:
        """Items asked of each retriever."""
        return {one.use: one.candidates for one in self.scenario.config.retrievers}

    def merged(self, found: Mapping[str, Any]) -> Candidates:
        """Candidates of all retrievers."""
        config = self.scenario.config
        return merge(found, {one.use: one.weight for one in config.retrievers}, config.budget)

    def ranker(self) -> Any:
        """The ranker, loaded."""
        assert self.scenario.ranker is not None
        return self.loader.component(self.scenario.ranker)

    def query(self, events: Sequence[Event]) -> Queries:
        """A history as the components want it; everything in it is excluded."""
        steps = UserEvents.of(events, self.bundle.catalogue, self.config.event_types)
        times = np.array([now_ms()], dtype=np.int64)
        return Queries.of(pack([steps]), times, excluded=Ragged.of([steps.rows]))

    def answer(self, candidates: Candidates, scores: Any, n: int) -> list[dict[str, Any]]:
        """The best items."""
        best = np.argsort(-scores[0], kind="stable")[:n]
        items = [self.bundle.catalogue.item(int(candidates.items[0, place])) for place in best]
        return [
            {
                "item_id": item.item_id,
                "score": float(scores[0, place]),
                "rank": rank,
                "attributes": dict(item.attributes),
            }
            for rank, (item, place) in enumerate(zip(items, best, strict=True), 1)
        ]


class Histories:
    """Reads histories from the home's SQLite file, one query a user, over one connection a thread.

    Args:
        home: The home.
        limit: Newest events that count.
    """

    def __init__(self, home: Path, limit: int) -> None:
        self._path = home / "recserve.db"
        self._limit = limit
        self._mine = threading.local()

    def of(self, user_id: str) -> list[Event]:
        """Events of a user, oldest first."""
        if not hasattr(self._mine, "connection"):
            self._mine.connection = sqlite3.connect(self._path)
        rows = self._mine.connection.execute(_HISTORY, (hash_of(user_id), user_id, self._limit)).fetchall()
        return [
            Event(user_id=user_id, item_id=item, event=event, value=value, timestamp=at, event_id="")
            for item, event, value, at in reversed(rows)
        ]


def plain(home: Path, port: int) -> None:
    """One process of FastAPI and uvicorn."""
    import uvicorn
    from fastapi import FastAPI

    models = Models.of(home)
    histories = Histories(home, models.config.server.history)
    retrievers = {name: models.retriever(name) for name in models.sizes}
    ranker = models.ranker()
    store = open_store(models.config.store.url, home)
    app = FastAPI()

    @app.get("/v1/health/live")
    async def live() -> dict[str, str]:
        return {"status": "alive"}

    # In the event loop, one after the other: with the threads that FastAPI gives to routes that are not
    # `async` the interpreter lock changes hands so often that it answers half as much at 64 connections.
    @app.post("/v1/recommend")
    async def recommend(ask: Ask) -> dict[str, Any]:
        query = models.query(histories.of(ask.user_id))
        found = {name: one.retrieve(query, models.sizes[name]) for name, one in retrievers.items()}
        candidates = models.merged(found)
        scores = ranker.score(query, candidates)
        return {"items": models.answer(candidates, scores, ask.n)}

    @app.post("/v1/events")
    def events(told: Told) -> dict[str, int]:
        store_events(store, told.events)
        return {"accepted": len(told.events)}

    uvicorn.run(app, host="127.0.0.1", port=port, access_log=False, log_level="warning")


def store_events(store: Store, events: Sequence[Mapping[str, str]]) -> None:
    """Store what the benchmark sends."""
    now = now_ms()
    store.add_events(
        [
            Event(event["user_id"], event["item_id"], event["event"], now, event_id=event["event_id"])
            for event in events
        ]
    )


def naive(home: Path, port: int) -> None:
    """The composition of Ray's own examples."""
    import ray
    from ray import serve

    ray.init(
        address="local",
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        object_store_memory=128 * 2**20,
        _node_ip_address="127.0.0.1",
    )
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    models = Models.of(home)
    limit = models.config.server.history
    part = serve.deployment(ray_actor_options={"num_cpus": 0.1})

    @part
    class History:
        def __init__(self) -> None:
            self.models = Models.of(home)
            self.histories = Histories(home, limit)

        def query(self, user_id: str) -> Queries:
            return self.models.query(self.histories.of(user_id))

    @part
    class Retriever:
        def __init__(self, name: str, size: int) -> None:
            self.retriever = Models.of(home).retriever(name)
            self.size = size

        def retrieve(self, query: Queries) -> Any:
            return self.retriever.retrieve(query, self.size)

    @part
    class Ranker:
        def __init__(self) -> None:
            self.ranker = Models.of(home).ranker()

        def rank(self, query: Queries, candidates: Candidates) -> Any:
            return self.ranker.score(query, candidates)

    @part
    class ScenarioContext:
        def __init__(self, history: Any, ranker: Any, **retrievers: Any) -> None:
            self.models = Models.of(home)
            self.store = open_store(self.models.config.store.url, home)
            self.history, self.ranker, self.retrievers = history, ranker, retrievers

        async def __call__(self, request: Any) -> Any:
            body = await request.json()
            if request.url.path == "/v1/events":
                store_events(self.store, body["events"])
                return {"accepted": len(body["events"])}
            query = await self.history.query.remote(body["user_id"])
            asked = {name: one.retrieve.remote(query) for name, one in self.retrievers.items()}
            candidates = self.models.merged({name: await response for name, response in asked.items()})
            scores = await self.ranker.rank.remote(query, candidates)
            return {"items": self.models.answer(candidates, scores, body["n"])}

    retrievers = {
        name: Retriever.options(name=f"Retriever-{name}").bind(name, size)  # type: ignore[attr-defined]
        for name, size in models.sizes.items()
    }
    serve.run(ScenarioContext.bind(History.bind(), Ranker.bind(), **retrievers), name="naive")  # type: ignore[attr-defined]
    signal.signal(signal.SIGTERM, lambda *_: _stop())
    try:
        threading.Event().wait()
    finally:
        serve.shutdown()
        ray.shutdown()


def _stop() -> None:
    raise SystemExit(0)


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("peer", choices=("plain", "naive"))
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    serve_it = {"plain": plain, "naive": naive}[options.peer]
    serve_it(options.home.resolve(), options.port)


if __name__ == "__main__":
    main()
