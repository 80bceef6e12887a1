"""Rerankers: what they learn from, once, and which of them are evaluated."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recserve.config import parse_config
from recserve.data.arrays import Int32Array
from recserve.data.batches import Candidates, Queries
from recserve.data.catalogue import Catalogue
from recserve.data.dataset import Dataset
from recserve.plugin.protocols import Component, FitContext, NoParams, RankingExamples, Stage
from recserve.plugin.registry import PluginInfo, Registry
from recserve.testing import example_dataset
from recserve.training.fitting import Fitted, fit_all, fit_context, fit_windows


class Student:
    """A reranker that keeps the order and notes what it was taught."""

    def __init__(self, params: NoParams, catalogue: Catalogue) -> None:
        self.taught: list[RankingExamples] = []

    def fit(self, data: Dataset, context: FitContext) -> Mapping[str, Any]:
        return {"before": None if context.previous is None else dict(context.previous)}

    def fit_candidates(self, examples: RankingExamples, context: FitContext) -> Mapping[str, Any]:
        self.taught.append(examples)
        return {"lesson": len(examples.queries)}

    def rerank(self, queries: Queries, ranked: Candidates, n: int) -> Int32Array:
        return np.where(ranked.items >= 0, np.arange(ranked.items.shape[1]), -1).astype(np.int32)

    def save(self, directory: Path) -> None:
        """Nothing is kept."""

    def load(self, directory: Path) -> None:
        """Nothing was kept."""


def test_rerankers_learn_from_candidates_in_the_order_that_they_get() -> None:
    installed = Registry.discover()
    plugin = PluginInfo("test", "test", "1", {Stage.RERANKER: (Component("student", Student),)})
    registry = Registry([*installed.plugins, plugin], installed.manager)
    scenario = {
        "retrievers": [{"use": "popular"}, {"use": "item_knn"}],
        "rerankers": [{"use": "student"}],
    }
    config = parse_config({"encoder": None, "scenarios": {"home": scenario, "again": scenario}})
    resolved, data = registry.resolve(config), example_dataset()

    windows = fit_windows(resolved, data, fit_context(config))
    (examples,) = windows.objects["reranker.student"].taught
    assert windows.facts["reranker.student"] == {"before": None, "lesson": len(examples.queries)}
    items, scores = examples.candidates.items, examples.candidates.scores
    real = items >= 0
    assert (scores[:, 1:] <= scores[:, :-1])[real[:, 1:]].all()
    pipeline = windows.recommender("home")
    queries = examples.queries.part(0, 20)
    np.testing.assert_array_equal(pipeline.stages(queries, 5).ranked, items[:20])
    assert examples.labels.sum() > 0

    final = fit_all(resolved, data, fit_context(config), windows)
    assert final.objects["reranker.student"].taught == []
    assert final.facts["reranker.student"]["before"]["lesson"] == len(examples.queries)


def test_a_reranker_that_asks_a_service_outside_is_not_evaluated(caplog: pytest.LogCaptureFixture) -> None:
    scenario = {"retrievers": [{"use": "popular"}], "rerankers": [{"use": "renew"}, {"use": "discount"}]}
    config = parse_config({"encoder": None, "scenarios": {"home": scenario}}, "test")
    resolved = Registry.discover().resolve(config)
    pipeline = resolved.scenarios["home"]
    first, second = pipeline.rerankers
    outside = replace(first, component=replace(first.component, name="outside", external=True))
    pipeline = replace(pipeline, rerankers=(outside, second))
    resolved = replace(resolved, scenarios={"home": pipeline})
    objects = {component.key: object() for component in pipeline.components()}
    fitted = Fitted(resolved, Catalogue(), objects)
    assert [name for name, _ in fitted.scenario("home").rerankers] == ["discount"]
    with caplog.at_level(logging.WARNING):
        fitted.recommender("home")
    assert "evaluated without outside: it asks a service outside" in caplog.text
