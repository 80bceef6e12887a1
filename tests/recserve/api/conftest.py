"""A small but real server in one process: store, pipeline, two retrievers, a ranker, a filter."""

from __future__ import annotations

import asyncio
import itertools
import shutil
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import uvicorn
from fastapi import FastAPI
from pydantic import TypeAdapter
from recserve_rules.filters.where import WhereFilter
from recserve_rules.parameters import WhereParams

from recserve import Candidates, Catalogue, Item, Queries, Retrieved, mask_columns, mask_scores, top_k
from recserve.api import ApiSettings, LocalBackend, create_app
from recserve.cli.common import State
from recserve.config import ComponentConfig, FrequencyCapConfig, PipelineConfig, RetrieverConfig
from recserve.data.arrays import BoolArray, FloatArray, Int32Array
from recserve.data.entities import DEFAULT_EVENT_TYPES
from recserve.errors import StageError
from recserve.experiments.definition import Parameters
from recserve.plugin.builtins.item_text import FieldsParams, FieldsText
from recserve.plugin.builtins.wording import TemplateExplainer
from recserve.plugin.protocols import Filter, Reranker, Retriever
from recserve.plugin.registry import Registry
from recserve.serving.local import local_pipeline
from recserve.serving.pipeline import Pipeline
from recserve.serving.requests.batch import GIVEN
from recserve.serving.scenario import RequestRules, Scenario, ScenarioContext
from recserve.serving.stages.ranking import RankingStage
from recserve.serving.stages.retrieval import RetrievalResult, RetrievalStage
from recserve.serving.state.history_reader import StoreReader
from recserve.serving.state.live_catalogue import CatalogueFollower
from recserve.serving.state.result_cache import ResultCache
from recserve.store import Store, open_store
from tests.support.console import window

MOVIES = [
    ("1", "Toy Story", 1995, ["Animation", "Children", "Comedy"]),
    ("2", "Jumanji", 1995, ["Adventure", "Children", "Fantasy"]),
    ("6", "Heat", 1995, ["Action", "Crime", "Thriller"]),
    ("32", "Twelve Monkeys", 1995, ["Mystery", "Sci-Fi", "Thriller"]),
    ("47", "Seven", 1995, ["Mystery", "Thriller"]),
    ("50", "The Usual Suspects", 1995, ["Crime", "Mystery", "Thriller"]),
    ("110", "Braveheart", 1995, ["Action", "Drama", "War"]),
    ("150", "Apollo 13", 1995, ["Adventure", "Drama", "IMAX"]),
    ("260", "Star Wars", 1977, ["Action", "Adventure", "Sci-Fi"]),
    ("296", "Pulp Fiction", 1994, ["Comedy", "Crime", "Drama"]),
    ("318", "The Shawshank Redemption", 1994, ["Crime", "Drama"]),
    ("356", "Forrest Gump", 1994, ["Comedy", "Drama", "Romance", "War"]),
    ("364", "The Lion King", 1994, ["Animation", "Children", "Drama", "Musical"]),
    ("480", "Jurassic Park", 1993, ["Action", "Adventure", "Sci-Fi"]),
    ("527", "Schindler's List", 1993, ["Drama", "War"]),
    ("588", "Aladdin", 1992, ["Animation", "Children", "Comedy", "Musical"]),
    ("589", "Terminator 2: Judgment Day", 1991, ["Action", "Sci-Fi"]),
    ("593", "The Silence of the Lambs", 1991, ["Crime", "Horror", "Thriller"]),
    ("858", "The Godfather", 1972, ["Crime", "Drama"]),
    ("1196", "The Empire Strikes Back", 1980, ["Action", "Adventure", "Sci-Fi"]),
    ("1198", "Raiders of the Lost Ark", 1981, ["Action", "Adventure"]),
    ("1210", "Return of the Jedi", 1983, ["Action", "Adventure", "Sci-Fi"]),
    ("2571", "The Matrix", 1999, ["Action", "Sci-Fi", "Thriller"]),
    ("4993", "The Fellowship of the Ring", 2001, ["Adventure", "Fantasy"]),
    ('a/b "c" ☃/history', "Slashes, quotes and a snowman", 2020, ["Comedy"]),
]

FILMS = [Item(id_, {"title": title, "year": year, "genres": genres}) for id_, title, year, genres in MOVIES]

SETTINGS = ApiSettings(max_body_bytes=2_000_000, max_bulk_bytes=4_000_000, spaces={"image": 3})

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)


class Popular:
    """Items in catalogue order, the first the most popular."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._scores = np.linspace(1.0, 0.1, len(catalogue), dtype=np.float32)

    def retrieve(self, queries: Queries, k: int) -> Retrieved:
        scores = np.tile(self._scores, (len(queries), 1))
        items, best = top_k(mask_scores(scores, queries), k)
        return Retrieved.of(items, best)


class SameGenres:
    """Items that share genres with what the user did, weighted by confidence."""

    def __init__(self, catalogue: Catalogue) -> None:
        genres = sorted({genre for item in catalogue.items() for genre in item.attributes["genres"]})
        self._genres = np.zeros((len(catalogue), len(genres)), dtype=np.float32)
        for row, item in enumerate(catalogue.items()):
            for genre in item.attributes["genres"]:
                self._genres[row, genres.index(genre)] = 1.0
        self._genres /= np.linalg.norm(self._genres, axis=1, keepdims=True)

    def scores(self, queries: Queries) -> FloatArray:
        """How well all items fit each query; new ones have no genres."""
        known = queries.histories.known(len(self._genres))
        profile = np.zeros((len(queries), self._genres.shape[1]), dtype=np.float32)
        np.add.at(profile, known.owners(), self._genres[known.items] * known.weights[:, None])
        anchored = (queries.anchors >= 0) & (queries.anchors < len(self._genres))
        profile[anchored] += 3 * self._genres[queries.anchors[anchored]]
        new = 0 if queries.extra_vectors is None else len(queries.extra_vectors)
        return np.pad(profile @ self._genres.T, ((0, 0), (0, new))).astype(np.float32)

    def retrieve(self, queries: Queries, k: int) -> Retrieved:
        known = queries.histories.known(len(self._genres))
        scores = self.scores(queries)[:, : len(self._genres)]
        scores[scores <= 0] = -np.inf
        items, best = top_k(mask_scores(scores.astype(np.float32), queries), k)
        seeds = np.full(items.shape, -1, dtype=np.int32)
        for query in range(len(queries)):
            history = known.items[known.offsets[query] : known.offsets[query + 1]]
            if len(history):
                nearest = (self._genres[np.maximum(items[query], 0)] @ self._genres[history].T).argmax(axis=1)
                seeds[query] = np.where(items[query] >= 0, history[nearest], -1)
        return Retrieved(items, best, seeds)


class SameWords:
    """Items whose titles and genres share words with the request's text."""

    def __init__(self, catalogue: Catalogue) -> None:
        assert catalogue.vectors is not None
        self._vectors = catalogue.vectors
        self.n_items = len(catalogue)

    def vectors(self, queries: Queries) -> FloatArray:
        """Of all items, new ones included."""
        extra = queries.extra_vectors
        return self._vectors if extra is None else np.concatenate([self._vectors, extra])

    def scores(self, queries: Queries) -> FloatArray:
        """How well all items, new ones included, fit the text of each query."""
        vectors = self.vectors(queries)
        if queries.text_vectors is None:
            return np.zeros((len(queries), len(vectors)), dtype=np.float32)
        return np.asarray(queries.text_vectors @ vectors.T, dtype=np.float32)

    def retrieve(self, queries: Queries, k: int) -> Retrieved:
        rows = np.arange(len(self._vectors), dtype=np.int32)
        return self.retrieve_among(queries, rows, self._vectors, k)

    def retrieve_among(self, queries: Queries, rows: Int32Array, vectors: FloatArray, k: int) -> Retrieved:
        scores = np.zeros((len(queries), len(rows)), dtype=np.float32)
        if queries.text_vectors is not None:
            scores += queries.text_vectors @ vectors.T
        nearest = np.full((len(queries), len(rows)), -1, dtype=np.int32)
        if (written := queries.recent_texts) is not None:
            for query, (start, end) in enumerate(itertools.pairwise(written.offsets)):
                if start < end:
                    near = written.vectors[start:end] @ vectors.T
                    scores[query] += near.max(axis=0)
                    nearest[query] = -2 - near.argmax(axis=0)
        scores[scores <= 0] = -np.inf
        items, best = top_k(mask_columns(scores, rows, queries), k)
        evidence = np.where(items >= 0, np.take_along_axis(nearest, np.maximum(items, 0), axis=1), -1)
        return Retrieved(np.where(items >= 0, rows[items], np.int32(-1)), best, evidence.astype(np.int32))


class Fused:
    """Ranks by the fused retrieval score, and a list that no retriever made by genres and words."""

    def __init__(self, genres: SameGenres, words: SameWords) -> None:
        self._genres = genres
        self._words = words

    def score(self, queries: Queries, candidates: Candidates) -> FloatArray:
        if candidates.sources != (GIVEN,):
            return candidates.scores
        every = self._genres.scores(queries) + self._words.scores(queries)
        return np.take_along_axis(every, np.maximum(candidates.items, 0).astype(np.int64), axis=1)

    def affinity(self, queries: Queries, item: int) -> FloatArray:
        """How much what a user liked and wrote has in common with the item's title and genres."""
        queries = queries.with_texts(self._words.n_items)
        vectors = self._words.vectors(queries)
        shared = np.zeros(len(queries), dtype=np.float32)
        liked = queries.histories.positive()
        np.add.at(shared, liked.owners(), vectors[liked.items] @ vectors[item])
        return np.where(liked.lengths > 0, shared, np.float32(-np.inf))


class Since:
    """Keeps items from a year on."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._years = np.array([item.attributes.get("year", 0) for item in catalogue.items()])

    def allowed(self, argument: Any) -> BoolArray | None:
        return None if argument is None else np.asarray(self._years >= argument, dtype=np.bool_)


def encode_words(texts: Sequence[str]) -> FloatArray:
    """A bag of hashed words, unit length: a stand-in for BERT that needs no model."""
    vectors = np.zeros((len(texts), 256), dtype=np.float32)
    for row, text in enumerate(texts):
        for word in text.lower().replace(",", " ").replace(".", " ").split():
            vectors[row, zlib.crc32(word.encode()) % 256] += 1.0
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)


class DirectClient:
    """Calls the stages in threads of this process; ``broken`` names stages that fail."""

    def __init__(
        self,
        scenarios: dict[str, Scenario],
        live: CatalogueFollower,
        refilter: Callable[[Catalogue], Mapping[str, Scenario]],
    ) -> None:
        self._retrieval = RetrievalStage(scenarios, live=live, refilter=refilter)
        self._ranking = RankingStage(scenarios, live)
        self.broken: set[str] = set()

    async def retrieve(
        self, bundle: str, scenario: str, queries: Queries, n: int, parameters: Parameters | None = None
    ) -> RetrievalResult:
        self._enter("retrieval")
        return await asyncio.to_thread(self._retrieval.retrieve, scenario, queries, n, parameters)

    async def rank(self, bundle: str, scenario: str, queries: Queries, candidates: Candidates) -> FloatArray:
        self._enter("ranking")
        return await asyncio.to_thread(self._ranking.score, scenario, queries, candidates)

    async def affinity(self, bundle: str, scenario: str, queries: Queries, item: int) -> FloatArray:
        self._enter("audience")
        return await asyncio.to_thread(self._ranking.affinity, scenario, queries, item)

    async def encode(self, bundle: str, texts: Sequence[str], *, queries: int = 0) -> FloatArray:
        self._enter("encoding")
        return await asyncio.to_thread(encode_words, texts)

    def _enter(self, stage: str) -> None:
        if stage in self.broken:
            raise StageError(f"{stage} died")


@dataclass
class Served:
    """The application and the parts behind it."""

    folder: Path
    app: FastAPI
    store: Store
    client: DirectClient

    def call(self, method: str, url: str, **options: Any) -> httpx.Response:
        """One request through ASGI, no socket."""

        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                return await client.request(method, url, **options)

        return asyncio.run(send())

    def get(self, url: str, **options: Any) -> httpx.Response:
        return self.call("GET", url, **options)

    def post(self, url: str, body: Any, **options: Any) -> httpx.Response:
        return self.call("POST", url, json=body, **options)

    def restore(self) -> None:
        """Bring all films back as they were."""
        self.store.upsert_items(FILMS)

    def until(self, holds: Callable[[], bool]) -> None:
        """Wait for what is promised within seconds."""
        deadline = time.monotonic() + 20
        while not holds():
            assert time.monotonic() < deadline, "it never came true"
            time.sleep(0.05)

    def break_store(self) -> None:
        """Damage the database for good, as a full or failing disk would."""
        self.store.close()
        for file in self.folder.glob("recserve.db*"):
            file.write_bytes(b"this is no database" * 1000)


def build(
    folder: Path,
    url: str | None = None,
    patience: float | None = None,
    *,
    rerankers: Sequence[tuple[str, Reranker]] = (),
    cap: FrequencyCapConfig | None = None,
    where: bool = False,
    charts: bool = False,
    app: FastAPI | None = None,
) -> Served:
    """A server of its own store, under ``folder`` or at a database URL.

    With rerankers, which read impressions, or a frequency cap it counts what it shows. With ``where`` it can
    be asked for conditions. With charts it has a scenario of that name too, which knows nothing but what is
    popular. An application that is given is used again, which saves making one.
    """
    store = open_store(url, folder, patience)
    item_text = FieldsText(FieldsParams())
    catalogue = Catalogue.of(FILMS, encode_words([item_text.text(item) for item in FILMS]))
    store.upsert_items(FILMS)
    config = PipelineConfig(
        retrievers=(
            RetrieverConfig(use="same_words", weight=3.0),
            RetrieverConfig(use="same_genres", weight=3.0),
            RetrieverConfig(use="popular"),
        ),
        ranker=ComponentConfig(use="fused"),
        frequency_cap=cap,
    )
    counts = bool(rerankers) or cap is not None
    words, genres = SameWords(catalogue), SameGenres(catalogue)
    retrievers: dict[str, Retriever] = {
        "same_words": words,
        "same_genres": genres,
        "popular": Popular(catalogue),
    }

    popular = PipelineConfig(retrievers=(RetrieverConfig(use="popular"),))
    names = ("home", "charts") if charts else ("home",)

    def filters(current: Catalogue) -> dict[str, Filter]:
        since: dict[str, Filter] = {"since": Since(current)}
        return {**since, "where": WhereFilter(WhereParams(), current)} if where else since

    def scenarios(current: Catalogue) -> dict[str, Scenario]:
        known = filters(current)
        home = Scenario(config, {}, known, rerankers=rerankers, reads_impressions=counts)
        return {"home": home, **({"charts": Scenario(popular, {}, known)} if charts else {})}

    def edge(current: Catalogue) -> ScenarioContext:
        return ScenarioContext(
            bundle="test-bundle",
            catalogue=current,
            event_types=DEFAULT_EVENT_TYPES,
            scenarios=scenarios(current),
            explainers=dict.fromkeys(names, TemplateExplainer()),
            fallbacks=dict.fromkeys(names, Popular(catalogue)),
            filter_arguments={
                name: {"since": TypeAdapter(int), **({"where": TypeAdapter(str)} if where else {})}
                for name in names
            },
            item_text=item_text,
            default_scenario="home",
            fingerprint="words",
            rules=dict.fromkeys(names, RequestRules((), {}, lambda one, where: one.build(where), current)),
            impressions=500 if counts else 0,
        )

    live = CatalogueFollower(catalogue, store, store.pulse().catalogue, "words")
    whole = Scenario(config, retrievers, filters(catalogue), Fused(genres, words))
    plain = Scenario(popular, {"popular": retrievers["popular"]}, filters(catalogue))
    served = {"home": whole, **({"charts": plain} if charts else {})}
    client = DirectClient(served, live, scenarios)
    plugins = Registry.discover(only=["builtins"]).plugins
    cache = ResultCache(100) if counts else None
    pipeline = Pipeline(edge, StoreReader(store, live, 1000, 5.0), client, cache=cache)
    backend = LocalBackend(pipeline, store, plugins, sample_users=["ada", "grace"], home=folder)
    app = app or create_app(settings=replace(SETTINGS, scenarios=names))
    app.state.backend = backend
    return Served(folder, app, store, client)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """A fresh server for each test."""
    made = build(tmp_path)
    with made.store:
        yield made


@pytest.fixture
def impatient(tmp_path: Path) -> Iterator[Served]:
    """A fresh server that waits for its store for some seconds only."""
    made = build(tmp_path, patience=4.0)
    with made.store:
        yield made


@pytest.fixture(scope="module")
def on_postgres(
    tmp_path_factory: pytest.TempPathFactory, empty_postgres: Callable[[str], str]
) -> Iterator[Served]:
    """A server over a real PostgreSQL that listens on a Unix socket only."""
    made = build(tmp_path_factory.mktemp("api-postgres"), empty_postgres("api"))
    with made.store:
        yield made


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A real Chromium."""
    playwright = pytest.importorskip("playwright.sync_api", reason="the Python package playwright is missing")
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine (looked for chromium, chromium-browser, google-chrome)")
    with playwright.sync_playwright() as driver:
        launched = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield launched
        launched.close()


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One server for tests that leave it as it is."""
    made = build(tmp_path_factory.mktemp("api"))
    with made.store:
        yield made


@pytest.fixture(scope="module")
def trained(trained_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FastAPI]:
    """The API in front of a really trained bundle, every built-in stage, over a home of its own."""
    home = tmp_path_factory.mktemp("api-trained") / "home"
    shutil.copytree(trained_home, home)
    state = State(home)
    pipeline = local_pipeline(state.resolved, state.current_bundle(), state.store)
    backend = LocalBackend(pipeline, state.store, state.registry.plugins, config=state.config, home=home)
    with state.store:
        yield create_app(backend, ApiSettings.of(state.config))


@pytest.fixture
def address(served: Served) -> Iterator[str]:
    """The URL of ``served`` behind a real socket."""
    with listening(served.app) as url:
        yield url


@pytest.fixture(scope="module")
def standing() -> Iterator[tuple[FastAPI, str]]:
    """An application that listens for all tests of a module, which give it a store each, and its URL."""
    app = create_app(settings=replace(SETTINGS, scenarios=("home",)))
    with listening(app) as url:
        yield app, url


@pytest.fixture
def behind_standing(standing: tuple[FastAPI, str], tmp_path: Path) -> Iterator[Served]:
    """A fresh store behind the module's application."""
    made = build(tmp_path, app=standing[0])
    with made.store:
        yield made


@pytest.fixture(scope="module")
def context(browser: Any) -> Iterator[Any]:
    """A browser context of the module, so that its pages find scripts and styles in the cache."""
    made = window(browser)
    yield made
    made.close()


@contextmanager
def listening(app: FastAPI) -> Iterator[str]:
    """Serve an application on a free port."""
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        deadline = time.monotonic() + 20
        while not server.started:
            assert time.monotonic() < deadline, "the server did not start"
            time.sleep(0.02)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(timeout=20)
