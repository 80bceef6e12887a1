"""Whole evaluations: known answers, chance level, planted cheating, and the report."""

from __future__ import annotations

import io
import json
import math
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from rich.console import Console

from recserve import Catalogue, Dataset, EventType, PluginError, Queries, Retrieved, mask_scores, top_k
from recserve.evaluation import (
    Report,
    RetrieverRecommender,
    Split,
    comparison_table,
    evaluate,
    leave_one_out,
    temporal,
)

TYPES = {"view": EventType()}


def dataset(users, items, n_items, vectors=None, times=None) -> Dataset:
    events = pa.table(
        {
            "user_id": [f"u{user:05d}" for user in users],
            "item_id": [f"i{item}" for item in items],
            "event": ["view"] * len(users),
            "value": pa.array([None] * len(users), pa.float64()),
            "timestamp": pa.array(range(len(users)) if times is None else times, pa.int64()),
        }
    )
    catalogue = Catalogue([f"i{row}" for row in range(n_items)], vectors=vectors)
    return Dataset.from_tables(catalogue, events, TYPES)


class Popular:
    """Retriever: items by their positive events."""

    def __init__(self, training: Dataset) -> None:
        self._scores = training.item_counts.astype(np.float32)

    def retrieve(self, queries: Queries, k: int) -> Retrieved:
        scores = np.tile(self._scores, (len(queries), 1))
        return Retrieved.of(*top_k(mask_scores(scores, queries), k))


class CoOccurrence:
    """Retriever: items that training users had together with those of the history."""

    def __init__(self, training: Dataset) -> None:
        chosen = training.matrix()
        self._together = np.asarray((chosen.T @ chosen).todense(), dtype=np.float32)

    def retrieve(self, queries: Queries, k: int) -> Retrieved:
        scores = np.zeros((len(queries), len(self._together)), dtype=np.float32)
        histories = queries.histories
        np.add.at(scores, histories.owners(), self._together[histories.items])
        return Retrieved.of(*top_k(mask_scores(scores, queries), k))


class Fixed:
    """Recommender that answers from one array, whatever it is asked."""

    def __init__(self, ranked: np.ndarray) -> None:
        self._ranked = ranked
        self._next = 0

    def recommend(self, queries: Queries, k: int) -> np.ndarray:
        start, self._next = self._next, self._next + len(queries)
        return self._ranked[start : self._next, :k]


def clustered(generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """300 users who each choose 8 of the 20 items of their own cluster out of 5."""
    users = np.repeat(np.arange(300), 8)
    items = np.concatenate([generator.choice(20, 8, replace=False) + 20 * (user % 5) for user in range(300)])
    order = generator.permutation(len(users))
    return users[order], items[order]


def test_full_ranking_by_hand():
    # Popularity in training: i0 x3, i1 x2, i2 x1. Then two test events.
    users = [0, 1, 2, 0, 1, 3, 0, 4]
    items = [0, 0, 0, 1, 1, 2, 2, 1]
    data = dataset(users, items, n_items=4)
    split = temporal(data, 0.25)
    report = evaluate(RetrieverRecommender(Popular(split.training)), split, [1, 2], name="popular")
    # u0 has i0 and i1, so i2 comes first. u4 is new: i0 first, the awaited i1 second.
    assert (report.users, report.queries, report.queries_without_history) == (2, 2, 1)
    assert report.metrics["hr@1"].mean == pytest.approx(0.5)
    assert report.metrics["hr@2"].mean == pytest.approx(1.0)
    assert report.metrics["ndcg@2"].mean == pytest.approx((1 + 1 / math.log2(3)) / 2)
    assert report.metrics["mrr@2"].mean == pytest.approx(0.75)
    # The two lists are [i2, i3] and [i0, i1].
    assert report.metrics["coverage@2"].mean == 1.0
    assert report.metrics["coverage@1"].mean == 0.5
    assert report.metrics["gini@2"].mean == pytest.approx(0.0)


def test_users_count_equally_however_many_queries_they_have():
    users = [0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 0, 0, 0, 1]
    items = [0, 1, 0, 1, 9, 9, 9, 9, 9, 9, 2, 3, 4, 5]
    split = temporal(dataset(users, items, n_items=10), 4 / 14)
    assert (split.n_users, len(split)) == (2, 4)
    ranked = np.array([[2, 8], [8, 7], [8, 7], [5, 8]], dtype=np.int32)
    report = evaluate(Fixed(ranked), split, [1], name="fixed")
    assert report.per_user["hr@1"] == pytest.approx([1 / 3, 1.0])
    assert report.metrics["hr@1"].mean == pytest.approx(2 / 3)


def test_an_oracle_gets_everything_right():
    users, items = clustered(np.random.default_rng(0))
    split = leave_one_out(dataset(users, items, 100))
    ranked = np.stack([split.relevant.values, np.full(len(split), -1, np.int32)], axis=1)
    report = evaluate(Fixed(ranked), split, [1, 5], name="oracle")
    for name in ("ndcg", "hr", "recall", "mrr", "map"):
        for k in (1, 5):
            interval = report.metrics[f"{name}@{k}"]
            assert (interval.mean, interval.low, interval.high) == (1.0, 1.0, 1.0)


def test_a_model_of_structure_falls_to_chance_when_the_structure_is_shuffled_away():
    generator = np.random.default_rng(0)
    users, items = clustered(generator)
    real = leave_one_out(dataset(users, items, 100))
    shuffled = leave_one_out(dataset(users, generator.permutation(items), 100))

    def hit_rate(split: Split):
        model = RetrieverRecommender(CoOccurrence(split.training))
        return evaluate(model, split, [10], name="together").metrics["hr@10"]

    chance = 10 / (100 - 7)
    assert hit_rate(real).low > 5 * chance
    assert hit_rate(shuffled).low < chance < hit_rate(shuffled).high


def test_batches_do_not_matter():
    users, items = clustered(np.random.default_rng(3))
    split = temporal(dataset(users, items, 100), 0.2)
    seen: list[tuple[int, int]] = []

    def progress(_: str, done: int, total: int) -> None:
        seen.append((done, total))

    model = RetrieverRecommender(CoOccurrence(split.training))
    whole = evaluate(model, split, name="x", batch=10_000)
    parts = evaluate(model, split, name="x", batch=37, progress=progress)
    assert whole.metrics.keys() == parts.metrics.keys()
    for name, interval in whole.metrics.items():
        assert parts.metrics[name].mean == pytest.approx(interval.mean, rel=1e-9), name
    assert seen[-1] == (len(split), len(split))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([1, 1], "an item twice"),
        ([0, 3], "told to exclude"),
        ([99, 3], "outside the catalogue"),
    ],
)
def test_cheating_models_are_refused(row, message):
    split = temporal(dataset([0, 0, 1, 0], [0, 4, 1, 2], n_items=5), 0.25)
    with pytest.raises(PluginError, match=message):
        evaluate(Fixed(np.array([row], dtype=np.int32)), split, [2], name="cheat")


def test_a_model_with_nothing_to_say_scores_zero():
    split = temporal(dataset([0, 0, 1, 0], [0, 4, 1, 2], n_items=5), 0.25)
    report = evaluate(Fixed(np.full((1, 2), -1, dtype=np.int32)), split, [2], name="mute")
    assert report.unanswered == 1
    assert report.metrics["ndcg@2"].mean == 0
    text = json.dumps(report.to_json(), allow_nan=False)
    metrics = json.loads(text)["metrics"]
    assert metrics["coverage@2"] == {"mean": 0.0, "ci95": [0.0, 0.0]}
    assert metrics["gini@2"] == metrics["novelty@2"] == {"mean": None, "ci95": None}


def test_a_catalogue_smaller_than_k():
    split = temporal(dataset([0, 0, 1, 0], [0, 1, 1, 2], n_items=3), 0.25)
    report = evaluate(RetrieverRecommender(Popular(split.training)), split, [50], name="popular")
    assert report.metrics["hr@50"].mean == 1.0


def test_cut_offs_must_be_positive():
    split = temporal(dataset([0, 0, 1, 0], [0, 1, 1, 2], n_items=3), 0.25)
    with pytest.raises(ValueError, match="at least 1"):
        evaluate(RetrieverRecommender(Popular(split.training)), split, [0], name="popular")


@pytest.fixture
def two_reports() -> tuple[Report, Report]:
    users, items = clustered(np.random.default_rng(5))
    vectors = np.eye(100, dtype=np.float32)
    split = leave_one_out(dataset(users, items, 100, vectors))
    together = evaluate(
        RetrieverRecommender(CoOccurrence(split.training)), split, name="together", fit_seconds=1.5
    )
    return together, evaluate(RetrieverRecommender(Popular(split.training)), split, name="popular")


def test_json_report(two_reports):
    value = json.loads(json.dumps(two_reports[0].to_json(), allow_nan=False))
    assert value["model"] == "together"
    assert value["split"] == "leave-one-out"
    assert (value["users"], value["items"], value["fit_seconds"]) == (300, 100, 1.5)
    assert value["note"].startswith("leaky")
    assert value["k"] == [10, 20]
    assert value["diversity_vectors"] == "text"
    names = ("ndcg", "hr", "recall", "mrr", "map", "novelty", "ild", "coverage", "gini", "lift")
    assert set(value["metrics"]) == {f"{name}@{k}" for name in names for k in (10, 20)}
    ndcg = value["metrics"]["ndcg@10"]
    assert ndcg["ci95"][0] < ndcg["mean"] < ndcg["ci95"][1]
    for name, figure in value["metrics"].items():
        assert figure["ci95"][0] <= figure["mean"] <= figure["ci95"][1], name
    # Orthogonal vectors: every pair is at distance 1.
    assert value["metrics"]["ild@10"]["mean"] == pytest.approx(1.0)


def test_paired_difference_of_reports(two_reports):
    together, popular = two_reports
    difference = together.difference(popular, "ndcg@10")
    assert difference.mean == pytest.approx(
        together.metrics["ndcg@10"].mean - popular.metrics["ndcg@10"].mean
    )
    assert difference.excludes_zero
    other = temporal(dataset([0, 0, 1, 0], [0, 1, 1, 2], n_items=3), 0.25)
    foreign = evaluate(RetrieverRecommender(Popular(other.training)), other, name="popular")
    with pytest.raises(ValueError, match="different splits"):
        together.difference(foreign, "ndcg@10")


def test_table_names_models_figures_and_the_reservation(two_reports):
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(comparison_table(two_reports))
    text = console.export_text()
    assert "together" in text
    assert "popular" in text
    assert "leaky" in text
    assert f"{two_reports[0].metrics['ndcg@10'].mean:.4f}".removeprefix("0") in text


def test_many_models_are_rows_that_fit_a_terminal(two_reports):
    together, popular = two_reports
    models = [replace(together, model=f"model_{number}") for number in range(7)]
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(comparison_table([*models, popular]))
    lines = console.export_text().splitlines()
    shown = next(line for line in lines if line.strip().startswith("model_3"))
    mean = f"{together.metrics['ndcg@10'].mean:.4f}".removeprefix("0")
    assert mean in shown
    assert "…" not in shown
    difference = together.difference(popular, "ndcg@10")
    assert f"{difference.mean:.4f}".removeprefix("0") in shown
    assert any("--report" in line for line in lines)
