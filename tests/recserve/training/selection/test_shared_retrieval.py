"""Scenarios with the same retriever ask it once about a batch, and learn what they would learn alone."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from recserve.config import parse_config
from recserve.data.batches import Queries, Retrieved
from recserve.plugin.protocols import FitContext, Retriever
from recserve.plugin.registry import Registry
from recserve.serving.stages.retrieval import ask_retriever
from recserve.training import fitting
from recserve.training.fitting import fit_windows
from recserve.training.selection import shared_retrieval
from tests.support.interactions import made_up_data

MF = {"use": "mf", "params": {"dimension": 8, "iterations": 2, "regularization": 0.004}}
KNN = {"use": "item_knn", "params": {"weighting": "bm25", "shrink": 10, "neighbours": 50}}
SCENARIOS: dict[str, Any] = {
    "home": {"retrievers": [MF, KNN, {"use": "popular", "candidates": 100}]},
    "similar": {"retrievers": [KNN, {**MF, "weight": 0.5}]},
    "narrow": {"retrievers": [{**KNN, "candidates": 50}, {"use": "popular", "candidates": 100}]},
    "again": {"retrievers": [MF, KNN], "seen": "allow"},
}


def test_a_retriever_is_asked_once_about_a_batch_and_orders_stay_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = {"scenarios": SCENARIOS, "train": {"threads": 1}}
    resolved = Registry.discover().resolve(parse_config(settings))
    data = made_up_data(500, 150, 12, times="drifting")
    context = FitContext(event_types=data.event_types, threads=1)
    asked: Counter[tuple[int, int, bytes, bool]] = Counter()

    def counted(retriever: Retriever, queries: Queries, k: int, view: None = None) -> Retrieved:
        asked[id(retriever), k, queries.times.tobytes(), bool(queries.excluded.values.size)] += 1
        return ask_retriever(retriever, queries, k, view)

    monkeypatch.setattr(shared_retrieval, "ask_retriever", counted)
    together = fit_windows(resolved, data, context)
    assert set(asked.values()) == {1}
    seldom = {(retriever, k) for retriever, k, _, excluding in asked if excluding}
    repeating = {(retriever, k) for retriever, k, _, excluding in asked if not excluding}
    # home asks three, similar none anew, narrow one for fewer items; again is asked other queries.
    assert (len(seldom), len(repeating)) == (4, 2)

    monkeypatch.setattr(fitting, "SharedRetrieval", lambda scenarios: ask_retriever)
    alone = fit_windows(resolved, data, context)
    assert together.orders.keys() == SCENARIOS.keys()
    assert together.orders == alone.orders
