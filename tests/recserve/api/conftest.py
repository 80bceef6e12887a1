"""A small but real server in one process: store, pipeline, two retrievers, a ranker, a filter."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import uvicorn
from pydantic import BaseModel, ConfigDict, TypeAdapter

from recserve import Candidates, Catalogue, Item, Queries, Retrieved, hookimpl, mask_scores, top_k
from recserve.api import ApiSettings, LocalBackend, create_app
from recserve.builtins import FieldsParams, FieldsText, TemplateExplainer
from recserve.config import ComponentConfig, PipelineConfig, RetrieverConfig
from recserve.domain import DEFAULT_EVENT_TYPES, FloatArray
from recserve.errors import BundleError
from recserve.graph import RankingStage, RetrievalResult, RetrievalStage, Scenario
from recserve.pipeline import Edge, Pipeline
from recserve.registry import Registry
from recserve.store import Store, open_store

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
    ("a/b \"c\" ☃/history", "Slashes, quotes and a snowman", 2020, ["Comedy"]),
]


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

    def retrieve(self, queries: Queries, k: int) -> Retrieved:
        known = queries.histories.known(len(self._genres))
        profile = np.zeros((len(queries), self._genres.shape[1]), dtype=np.float32)
        np.add.at(profile, known.owners(), self._genres[known.items] * known.weights[:, None])
        anchored = queries.anchors >= 0
        profile[anchored] += 3 * self._genres[queries.anchors[anchored]]
        scores = profile @ self._genres.T
        scores[scores <= 0] = -np.inf
        items, best = top_k(mask_scores(scores.astype(np.float32), queries), k)
        seeds = np.full(items.shape, -1, dtype=np.int32)
        for query in range(len(queries)):
            history = known.items[known.offsets[query] : known.offsets[query + 1]]
            if len(history):
                nearest = (self._genres[np.maximum(items[query], 0)] @ self._genres[history].T).argmax(axis=1)
                seeds[query] = np.where(items[query] >= 0, history[nearest], -1)
        return Retrieved(items, best, seeds)


class Fused:
    """Ranks by the fused retrieval score."""

    def score(self, queries: Queries, candidates: Candidates) -> FloatArray:
        return candidates.scores


class YearFilter:
    """Keeps items from a year on."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._years = np.array([item.attributes["year"] for item in catalogue.items()])

    def allowed(self, argument: Any) -> np.ndarray | None:
        return None if argument is None else self._years >= argument["from"]


class YearArgument(BaseModel):
    model_config = ConfigDict(extra="forbid", populate_by_name=True)
    since: int

    def __init__(self, **data: Any) -> None:
        super().__init__(since=data.pop("from"), **data)


class DirectClient:
    """Calls the stages in threads of this process."""

    def __init__(self, scenarios: dict[str, Scenario]) -> None:
        self._retrieval = RetrievalStage(scenarios)
        self._ranking = RankingStage(scenarios)

    async def retrieve(self, bundle: str, scenario: str, queries: Queries, n: int) -> RetrievalResult:
        return await asyncio.to_thread(self._retrieval.retrieve, scenario, queries, n)

    async def rank(self, bundle: str, scenario: str, queries: Queries, candidates: Candidates) -> FloatArray:
        return await asyncio.to_thread(self._ranking.score, scenario, queries, candidates)

    async def encode(self, bundle: str, texts: Sequence[str]) -> FloatArray:
        raise BundleError("no encoder is configured")
