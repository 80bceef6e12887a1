"""Metrics against ir-measures, against brute force, and against numbers worked out by hand."""

from __future__ import annotations

import math

import ir_measures
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ir_measures import AP, RR, R, Success, nDCG

from recserve import Catalogue, Dataset, EventType, Ragged
from recserve.evaluation.metrics import accuracy as metrics

KS = (1, 3, 10)
THEIRS = {"ndcg": nDCG, "hr": Success, "recall": R, "mrr": RR, "map": AP}


@st.composite
def runs(draw):
    """Rankings with pads and relevant sets that need not be among the ranked items."""
    n_items = draw(st.integers(2, 40))
    rows, relevant = [], []
    for _ in range(draw(st.integers(1, 6))):
        order = draw(st.permutations(range(n_items)))
        rows.append(order[: draw(st.integers(0, min(12, n_items)))])
        relevant.append(sorted(draw(st.sets(st.integers(0, n_items + 5), min_size=1, max_size=15))))
    width = max(map(len, rows))
    ranked = np.full((len(rows), width), -1, dtype=np.int32)
    for row, items in enumerate(rows):
        ranked[row, : len(items)] = items
    return ranked, relevant


@settings(max_examples=60, deadline=None)
@given(runs())
def test_accuracy_agrees_with_ir_measures(run):
    ranked, relevant = run
    ours = metrics.accuracy(ranked, Ragged.of(relevant), KS)
    qrels = {f"q{q}": {f"d{item}": 1 for item in items} for q, items in enumerate(relevant)}
    # trec_eval has no notion of rank: scores that fall with the rank give it ours.
    theirs_run = {
        f"q{q}": {f"d{item}": 100.0 - rank for rank, item in enumerate(row) if item >= 0}
        for q, row in enumerate(ranked)
    }
    wanted = [THEIRS[name] @ k for name in THEIRS for k in KS]
    theirs = {
        (str(one.measure), one.query_id): one.value
        for one in ir_measures.iter_calc(wanted, qrels, theirs_run)
    }
    for name, measure in THEIRS.items():
        for k in KS:
            values = ours[f"{name}@{k}"]
            for q in range(len(ranked)):
                # Queries without any answer are missing from their output.
                expected = theirs.get((str(measure @ k), f"q{q}"), 0.0)
                assert values[q] == pytest.approx(expected, abs=1e-6), (name, k, q)


def test_accuracy_by_hand():
    ranked = np.array([[7, 2, 5, 9], [1, 0, -1, -1]], dtype=np.int32)
    relevant = Ragged.of([[2, 9, 30], [4]])
    values = metrics.accuracy(ranked, relevant, [2, 4])
    ideal_2 = 1 + 1 / math.log2(3)
    ideal_4 = ideal_2 + 1 / math.log2(4)
    assert values["ndcg@2"] == pytest.approx([(1 / math.log2(3)) / ideal_2, 0])
    assert values["ndcg@4"] == pytest.approx([(1 / math.log2(3) + 1 / math.log2(5)) / ideal_4, 0])
    assert values["hr@2"] == pytest.approx([1, 0])
    assert values["recall@2"] == pytest.approx([1 / 3, 0])
    assert values["recall@4"] == pytest.approx([2 / 3, 0])
    assert values["mrr@4"] == pytest.approx([1 / 2, 0])
    # Precision is 1/2 at rank 2 and 2/4 at rank 4; the denominator is all three relevant items.
    assert values["map@4"] == pytest.approx([(1 / 2 + 2 / 4) / 3, 0])


def test_accuracy_beyond_the_width_of_the_ranking_counts_as_misses():
    ranked = np.array([[3]], dtype=np.int32)
    values = metrics.accuracy(ranked, Ragged.of([[3, 4]]), [5])
    assert values["recall@5"][0] == pytest.approx(0.5)
    nothing = metrics.accuracy(np.empty((1, 0), dtype=np.int32), Ragged.of([[3]]), [5])
    assert nothing["hr@5"][0] == 0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(0, 20), max_size=8), min_size=1, max_size=5), st.integers(0, 9))
def test_contained_is_set_membership(sets, seed):
    rows = np.random.default_rng(seed).integers(-1, 25, size=(len(sets), 6)).astype(np.int32)
    found = metrics.contained(rows, Ragged.of(sets))
    assert found.tolist() == [
        [item in chosen for item in row] for row, chosen in zip(rows, sets, strict=True)
    ]


def test_diversity_is_the_mean_pairwise_cosine_distance():
    generator = np.random.default_rng(1)
    vectors = generator.normal(size=(30, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[5] = 0
    ranked = np.array([[1, 5, 2, 9, 4], [3, 8, -1, -1, -1], [6, -1, -1, -1, -1]], dtype=np.int32)
    values = metrics.intra_list_diversity(ranked, vectors, [5, 2])
    for k in (2, 5):
        for row in (0, 1):
            items = [item for item in ranked[row, :k] if item >= 0]
            pairs = [1 - float(vectors[a] @ vectors[b]) for i, a in enumerate(items) for b in items[i + 1 :]]
            assert values[f"ild@{k}"][row] == pytest.approx(np.mean(pairs), abs=1e-6)
        assert math.isnan(values[f"ild@{k}"][2])


def dataset(pairs: list[tuple[str, str]], n_items: int) -> Dataset:
    events = pa.table(
        {
            "user_id": [user for user, _ in pairs],
            "item_id": [item for _, item in pairs],
            "event": ["view"] * len(pairs),
            "value": pa.array([None] * len(pairs), pa.float64()),
            "timestamp": pa.array(range(len(pairs)), pa.int64()),
        }
    )
    catalogue = Catalogue([f"i{row}" for row in range(n_items)])
    return Dataset.from_tables(catalogue, events, {"view": EventType()})


def test_novelty_is_self_information_over_distinct_users():
    # i0 by all four users (twice by one), i1 by one user, i2 by nobody.
    training = dataset([("a", "i0"), ("b", "i0"), ("c", "i0"), ("d", "i0"), ("a", "i0"), ("a", "i1")], 3)
    information = metrics.self_information(training)
    assert information == pytest.approx([0.0, 2.0, 2.0])
    ranked = np.array([[0, 1], [-1, -1]], dtype=np.int32)
    values = metrics.novelty(ranked, information, [1, 2])
    assert values["novelty@1"][0] == 0
    assert values["novelty@2"][0] == pytest.approx(1.0)
    assert np.isnan(values["novelty@2"][1])


def test_interaction_vectors_estimate_the_cosine_of_users_sets():
    generator = np.random.default_rng(3)
    chosen = generator.random((400, 6)) < [0.5, 0.5, 0.3, 0.2, 0.1, 0.0]
    chosen[:, 1] = chosen[:, 0]
    pairs = [(f"u{u}", f"i{i}") for u, i in zip(*np.nonzero(chosen), strict=True)]
    vectors = metrics.interaction_vectors(dataset(pairs, 6), dimension=4096, seed=0)
    columns = chosen.astype(float)
    norms = np.maximum(np.linalg.norm(columns, axis=0), 1e-12)
    exact = (columns.T @ columns) / norms[:, None] / norms[None, :]
    assert vectors @ vectors.T == pytest.approx(exact, abs=0.08)
    assert (vectors @ vectors.T)[0, 1] == pytest.approx(1.0, abs=1e-5)
    assert not vectors[5].any()


def test_gini_and_coverage():
    assert metrics.gini(np.array([2.0, 2.0, 2.0])) == pytest.approx(0.0)
    assert metrics.gini(np.array([0.0, 0.0, 0.0, 8.0])) == pytest.approx(0.75)
    # Mean absolute difference over twice the mean, by definition.
    values = np.array([1.0, 3.0, 0.0, 6.0, 2.0])
    differences = np.abs(values[:, None] - values[None, :]).mean()
    assert metrics.gini(values) == pytest.approx(differences / (2 * values.mean()))
    assert math.isnan(metrics.gini(np.zeros(4)))
    assert metrics.coverage(np.array([0.0, 0.5, 2.0, 0.0])) == 0.5
