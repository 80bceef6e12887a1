"""Evaluation in parts: models and figures that went through pickle are equal to the last bit."""

from __future__ import annotations

import json
import logging
import threading
from pathlib import Path

import numpy as np
import pytest

from recserve import Catalogue
from recserve.bundles.catalogue_vectors import encode_catalogue
from recserve.bundles.embedding_cache import VectorCache
from recserve.config import parse_config
from recserve.evaluation import Report, RetrieverRecommender, evaluate, temporal
from recserve.plugin.protocols import FitContext
from recserve.plugin.registry import Registry
from recserve.testing import example_dataset
from recserve.training.fitting import fit_all
from tests.support.travelling import Travelling

RETRIEVERS = ("popular", "trending", "item_knn", "user_knn", "ease", "content", "mf")


def figures(report: Report) -> dict[str, object]:
    found = report.to_json()
    return {name: value for name, value in found.items() if not name.endswith(("_seconds", "cost"))}


@pytest.mark.parametrize("name", RETRIEVERS)
def test_every_retriever_is_measured_alike_on_workers(name: str) -> None:
    config = {"scenarios": {"home": {"retrievers": [{"use": name}]}}}
    resolved = Registry.discover().resolve(parse_config(config))
    split = temporal(example_dataset())
    fitted = fit_all(resolved, split.training, FitContext(threads=1))
    model = RetrieverRecommender(fitted.objects[f"retriever.{name}"])
    executor = Travelling()
    here = evaluate(model, split, name=name, batch=16, detailed=True)
    there = evaluate(model, split, name=name, batch=16, detailed=True, executor=executor)
    assert executor.parts > 2
    assert figures(there) == figures(here)
    for metric, values in here.per_user.items():
        assert np.array_equal(values, there.per_user[metric], equal_nan=True)


def test_a_pipeline_of_every_stage_is_measured_alike_on_workers() -> None:
    scenario = {
        "retrievers": [{"use": "mf", "params": {"dimension": 8, "iterations": 2}}, {"use": "popular"}],
        "ranker": {"use": "bert_lstm", "params": {"width": 16, "epochs": 1}},
        "rerankers": [{"use": "mmr"}],
        "filters": [{"use": "where"}],
    }
    resolved = Registry.discover().resolve(parse_config({"scenarios": {"home": scenario}}))
    split = temporal(example_dataset())
    model = fit_all(resolved, split.training, FitContext(threads=1)).recommender("home")
    executor = Travelling()
    here = evaluate(model, split, name="pipeline", batch=16, detailed=True)
    there = evaluate(model, split, name="pipeline", batch=16, detailed=True, executor=executor)
    assert executor.parts > 2
    assert here.stages
    assert figures(there) == figures(here)


class Stubborn:
    """A model that cannot be pickled."""

    def __init__(self, model: RetrieverRecommender) -> None:
        self._model = model
        self._lock = threading.Lock()

    def recommend(self, queries, k):
        return self._model.recommend(queries, k)


def test_a_model_that_cannot_travel_is_measured_here_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    split = temporal(example_dataset())
    resolved = Registry.discover().resolve(
        parse_config({"scenarios": {"home": {"retrievers": [{"use": "popular"}]}}})
    )
    fitted = fit_all(resolved, split.training, FitContext(threads=1))
    model = Stubborn(RetrieverRecommender(fitted.objects["retriever.popular"]))
    executor = Travelling()
    with caplog.at_level(logging.WARNING):
        report = evaluate(model, split, name="stubborn", executor=executor)
    assert executor.parts == 0
    assert report.users == split.n_users
    assert "stubborn is measured in this process" in caplog.text


def test_workers_encode_what_the_cache_lacks(tmp_path: Path) -> None:
    resolved = Registry.discover().resolve(parse_config({}))
    ids = [f"i{row:03d}" for row in range(100)]
    catalogue = Catalogue(ids, [json.dumps({"title": f"Title of item {row % 90}"}) for row in range(100)])
    here, fingerprint = encode_catalogue(resolved, catalogue, tmp_path / "here")
    executor = Travelling()
    there, other = encode_catalogue(resolved, catalogue, tmp_path / "there", executor=executor)
    assert executor.parts == 1
    assert fingerprint == other
    assert here.vectors is not None
    assert np.array_equal(here.vectors, there.vectors)
    cache = VectorCache(tmp_path / "there" / "cache" / "vectors", str(fingerprint), here.vectors.shape[1])
    assert len(cache) == 90
    encode_catalogue(resolved, catalogue, tmp_path / "there", executor=executor)
    assert executor.parts == 1, "nothing is encoded twice"
