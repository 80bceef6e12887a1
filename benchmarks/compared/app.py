"""``implicit`` or LensKit in a FastAPI application, for :mod:`benchmarks.compared`, in their environment.

    PEER_PYTHON -I benchmarks/compared/app.py train FOLDER
    PEER_PYTHON -I benchmarks/compared/app.py serve FOLDER PORT

FOLDER holds ``job.json`` (library, draws, threads, seed) and ``events.csv`` (user_id, item_id, timestamp;
oldest first). Training draws settings at random, the library's defaults first, judges each on the newest
tenth of each user's items, and fits the best on everything; it writes ``model.pickle`` and ``facts.json``.

Served is what the libraries' documentation suggests: users who have done nothing since training are answered
by their ids, others are folded in from the items of their histories. Histories are in the memory of the one
process: events are lost when it ends. Users without a history get an empty list.
"""

from __future__ import annotations

import csv
import json
import pickle
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

CUTOFF = 20
HELD_OUT = 0.1
History = dict[str, None]
"""Items in the order in which a user met them."""

Histories = dict[str, History]
Settings = dict[str, Any]


class Library(Protocol):
    """A fitted model of a library."""

    def recommend(self, user: str, history: History, n: int, *, changed: bool) -> list[tuple[str, float]]:
        """The best items that are not in the history, with scores.

        Args:
            user: Whom to recommend to.
            history: What he has done so far.
            n: How many.
            changed: Whether the history is not the one that was trained on.
        """
        ...


class Implicit:
    """Alternating least squares of ``implicit``; weight of an observed pair 1 + alpha.

    Args:
        histories: What to fit on.
        settings: factors, regularization, alpha.
        threads: Threads of fit and recommendation.
        seed: Of the start.
    """

    DEFAULTS: ClassVar[Settings] = {"factors": 100, "regularization": 0.01, "alpha": 1.0}
    ITERATIONS = 15

    def __init__(self, histories: Histories, settings: Settings, threads: int, seed: int) -> None:
        from implicit.als import AlternatingLeastSquares  # type: ignore[import-not-found]  # not in ours
        from scipy.sparse import vstack

        self._items = sorted({item for history in histories.values() for item in history})
        self._rows = {item: row for row, item in enumerate(self._items)}
        self._users = {user: row for row, user in enumerate(histories)}
        self._model = AlternatingLeastSquares(
            **settings, iterations=self.ITERATIONS, num_threads=threads, random_state=seed
        )
        matrix = vstack([self._row(history) for history in histories.values()], format="csr")
        self._model.fit(matrix, show_progress=False)

    @staticmethod
    def draw(generator: np.random.Generator) -> Settings:
        """Settings at random."""
        return {
            "factors": int(generator.choice([16, 32, 64, 128])),
            "regularization": _log_uniform(generator, 0.01, 30.0),
            "alpha": _log_uniform(generator, 1.0, 40.0),
        }

    def recommend(self, user: str, history: History, n: int, *, changed: bool) -> list[tuple[str, float]]:
        """See :class:`Library`."""
        row = self._row(history)
        if not row.nnz:
            return []
        if changed:
            found, scores = self._model.recommend(0, row, N=n, recalculate_user=True)
        else:
            found, scores = self._model.recommend(self._users[user], row, N=n)
        return [(self._items[place], float(score)) for place, score in zip(found, scores, strict=True)]

    def _row(self, history: History) -> Any:
        from scipy.sparse import csr_matrix

        liked = sorted(self._rows[item] for item in history if item in self._rows)
        ones = np.ones(len(liked), dtype=np.float32)
        return csr_matrix((ones, liked, [0, len(liked)]), shape=(1, len(self._items)))


class LensKit:
    """The standard top-N pipeline of LensKit around its ALS for implicit feedback or its item-item kNN.

    Args:
        histories: What to fit on.
        settings: scorer (als or knn), and what that takes.
        threads: Set by the environment, as LensKit's documentation says.
        seed: Of the start.
    """

    DEFAULTS: ClassVar[Settings] = {"scorer": "als"}

    def __init__(self, histories: Histories, settings: Settings, threads: int, seed: int) -> None:
        import pandas as pd  # type: ignore[import-untyped]
        from lenskit.als import ImplicitMFScorer  # type: ignore[import-not-found]  # not in ours
        from lenskit.data import from_interactions_df  # type: ignore[import-not-found]
        from lenskit.knn import ItemKNNScorer  # type: ignore[import-not-found]
        from lenskit.pipeline import topn_pipeline  # type: ignore[import-not-found]
        from lenskit.training import TrainingOptions  # type: ignore[import-not-found]

        self._items = {item for history in histories.values() for item in history}
        pairs = [(user, item) for user, history in histories.items() for item in history]
        data = from_interactions_df(pd.DataFrame(pairs, columns=["user_id", "item_id"]))
        given = {name: value for name, value in settings.items() if name != "scorer"}
        scorer = (
            ImplicitMFScorer(**given)
            if settings["scorer"] == "als"
            else ItemKNNScorer(**given, feedback="implicit")
        )
        self._pipeline = topn_pipeline(scorer)
        self._pipeline.train(data, TrainingOptions(rng=seed))

    @staticmethod
    def draw(generator: np.random.Generator) -> Settings:
        """Settings at random."""
        if generator.random() < 0.25:
            return {"scorer": "knn", "max_nbrs": int(generator.choice([20, 50, 100, 200]))}
        return {
            "scorer": "als",
            "embedding_size": int(generator.choice([16, 32, 64, 128])),
            "regularization": _log_uniform(generator, 0.01, 30.0),
            "weight": _log_uniform(generator, 1.0, 80.0),
        }

    def recommend(self, user: str, history: History, n: int, *, changed: bool) -> list[tuple[str, float]]:
        """See :class:`Library`."""
        from lenskit import recommend  # type: ignore[import-not-found]
        from lenskit.data import ItemList, RecQuery

        # Items that were not trained on are an error there.
        known = [item for item in history if item in self._items]
        if not known:
            return []
        asked = RecQuery(user_id=user, user_items=ItemList(item_ids=known)) if changed else user
        found = recommend(self._pipeline, asked, n=n)
        return list(zip(found.ids().tolist(), found.scores().tolist(), strict=True))


LIBRARIES: dict[str, type[Implicit] | type[LensKit]] = {"implicit": Implicit, "lenskit": LensKit}


class Ask(BaseModel):
    """A request."""

    user_id: str
    n: int = 10


class Told(BaseModel):
    """Events."""

    events: list[dict[str, Any]]


def application(model: Library, histories: Histories) -> FastAPI:
    """The application: recommendations and events.

    Args:
        model: Fitted on the histories.
        histories: Changed by events.
    """
    app = FastAPI()
    changed: set[str] = set()

    # In the event loop: with the threads that FastAPI gives to routes that are not `async` it answers less.
    @app.post("/v1/recommend")
    async def recommend(ask: Ask) -> dict[str, Any]:
        history, moved = histories.get(ask.user_id, {}), ask.user_id in changed
        found = model.recommend(ask.user_id, history, ask.n, changed=moved) if history else []
        return {"items": [{"item_id": item, "score": score} for item, score in found]}

    @app.post("/v1/events")
    async def events(told: Told) -> dict[str, int]:
        for event in told.events:
            histories.setdefault(event["user_id"], {})[event["item_id"]] = None
            changed.add(event["user_id"])
        return {"accepted": len(told.events)}

    return app


def read(path: Path) -> Histories:
    """Histories of a file of events."""
    histories: Histories = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            histories.setdefault(row["user_id"], {})[row["item_id"]] = None
    return histories


def divided(histories: Histories) -> tuple[Histories, dict[str, set[str]]]:
    """Histories without the newest tenth of each, and those; only users with ten items or more lose any."""
    kept: Histories = {}
    held: dict[str, set[str]] = {}
    for user, history in histories.items():
        items = list(history)
        count = int(HELD_OUT * len(items))
        kept[user] = dict.fromkeys(items[: len(items) - count])
        if count:
            held[user] = set(items[len(items) - count :])
    return kept, held


def ndcg(model: Library, kept: Histories, held: dict[str, set[str]]) -> float:
    """Mean nDCG@20 of the held-out items."""
    discounts = 1.0 / np.log2(np.arange(2, CUTOFF + 2))
    found = []
    for user, wanted in held.items():
        items = [item for item, _ in model.recommend(user, kept[user], CUTOFF, changed=False)]
        gain = sum(discounts[rank] for rank, item in enumerate(items) if item in wanted)
        found.append(gain / discounts[: len(wanted)].sum())
    return float(np.mean(found))


def train(folder: Path) -> None:
    """Choose settings, fit, and write model and facts."""
    job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    library = LIBRARIES[job["library"]]
    histories = read(folder / "events.csv")
    started = time.perf_counter()
    kept, held = divided(histories)
    generator = np.random.default_rng(job["seed"])
    tried: list[tuple[float, Settings]] = []
    for number in range(job["draws"]):
        settings = library.draw(generator) if number else library.DEFAULTS
        model = library(kept, settings, job["threads"], job["seed"])
        tried.append((ndcg(model, kept, held), settings))
    score, settings = max(tried, key=lambda one: one[0])
    searched = time.perf_counter() - started
    model = library(histories, settings, job["threads"], job["seed"])
    facts = {
        "version": version(job["library"]),
        "settings": settings,
        "validation_ndcg": score,
        "default_ndcg": tried[0][0],
        "search_s": searched,
        "fit_s": time.perf_counter() - started - searched,
    }
    (folder / "model.pickle").write_bytes(pickle.dumps((model, histories)))
    (folder / "facts.json").write_text(json.dumps(facts), encoding="utf-8")


def serve(folder: Path, port: int) -> None:
    """Answer requests until told to stop."""
    # Our own file of a moment ago, in a folder that nobody else writes.
    model, histories = pickle.loads((folder / "model.pickle").read_bytes())  # noqa: S301
    uvicorn.run(
        application(model, histories), host="127.0.0.1", port=port, access_log=False, log_level="warning"
    )


def _log_uniform(generator: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(generator.uniform(np.log(low), np.log(high))))


def main() -> None:
    """Do what the command line says."""
    if sys.argv[1] == "train":
        train(Path(sys.argv[2]))
    else:
        serve(Path(sys.argv[2]), int(sys.argv[3]))


if __name__ == "__main__":
    main()
