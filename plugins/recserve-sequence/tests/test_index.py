"""bert_lstm with more items than it scores one by one: nearly the same answers, and full pages."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from recserve_bert_lstm.model import BertLstm
from recserve_bert_lstm.parameters import BertLstmParams

from recserve import Catalogue, Dataset, FitContext, Histories, Queries, Ragged, RecentTexts, Vocabulary
from recserve.testing import check_retriever

N_ITEMS, N_USERS, TOPICS, DIMENSION, EVENTS = 4000, 250, 40, 16, 12


@pytest.fixture(scope="module")
def data() -> Dataset:
    """People who stay with one of 40 topics, each with items around a direction in text space."""
    generator = np.random.default_rng(0)
    centres = generator.standard_normal((TOPICS, DIMENSION))
    vectors = centres[np.arange(N_ITEMS) % TOPICS] + 0.6 * generator.standard_normal((N_ITEMS, DIMENSION))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    users = np.tile(np.arange(N_USERS, dtype=np.int32), EVENTS)
    places = (N_ITEMS // TOPICS * generator.random(len(users)) ** 2).astype(np.int64)
    return Dataset(
        Catalogue([f"i{row}" for row in range(N_ITEMS)], vectors=vectors.astype(np.float32)),
        Vocabulary(f"u{row}" for row in range(N_USERS)),
        users,
        (users % TOPICS + TOPICS * places).astype(np.int32),
        np.zeros(len(users), dtype=np.int16),
        np.ones(len(users), dtype=np.float32),
        np.arange(len(users), dtype=np.int64) * 60_000,
        ("view",),
    )


def fitted(data: Dataset, above: int) -> BertLstm:
    model = BertLstm(BertLstmParams(width=16, epochs=2, approximate_above=above), data.catalogue)
    facts = model.fit(data, FitContext(device="cpu", threads=1))
    assert ("index" in facts) == (above < N_ITEMS)
    json.dumps(facts)
    return model


@pytest.fixture(scope="module")
def exact(data: Dataset) -> BertLstm:
    return fitted(data, N_ITEMS)


@pytest.fixture(scope="module")
def indexed(data: Dataset) -> BertLstm:
    return fitted(data, N_ITEMS - 1)


def ask(data: Dataset, count: int = 100) -> Queries:
    histories = data.histories.select(np.arange(count, dtype=np.int64))
    return Queries.of(
        histories,
        np.full(count, 10**9, dtype=np.int64),
        anchors=np.where(np.arange(count) % 4 == 0, np.arange(count) * 31, -1).astype(np.int32),
        excluded=Ragged(histories.offsets, histories.items),
    )


def overlap(found: np.ndarray, truth: np.ndarray) -> float:
    pairs = zip(found.tolist(), truth.tolist(), strict=True)
    return float(np.mean([len(set(a) & set(b) - {-1}) / max(len(set(b) - {-1}), 1) for a, b in pairs]))


def test_it_finds_what_scoring_every_item_finds(data: Dataset, exact: BertLstm, indexed: BertLstm) -> None:
    queries = ask(data)
    truth, found = exact.retrieve(queries, 50), indexed.retrieve(queries, 50)
    assert overlap(found.items, truth.items) >= 0.97
    same = found.items == truth.items
    assert same.mean() > 0.5
    np.testing.assert_allclose(found.scores[same], truth.scores[same], rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(found.evidence[same], truth.evidence[same])
    for number in range(len(queries)):
        assert len(np.unique(found.items[number])) == 50
        assert not np.isin(found.items[number], queries.barred[number]).any()


def test_filtered_pages_are_full(data: Dataset, exact: BertLstm, indexed: BertLstm) -> None:
    narrow, wide = np.arange(N_ITEMS) % 79 == 0, np.arange(N_ITEMS) % 3 == 0
    queries = ask(data, 12).with_allowed((narrow, wide, None) * 4)
    truth, found = exact.retrieve(queries, 40), indexed.retrieve(queries, 40)
    assert (found.items >= 0).all()
    assert overlap(found.items, truth.items) >= 0.97
    assert narrow[found.items[::3]].all()
    assert wide[found.items[1::3]].all()


def test_it_comes_back_from_its_files(data: Dataset, indexed: BertLstm, tmp_path: Path) -> None:
    indexed.save(tmp_path)
    loaded = BertLstm(BertLstmParams(width=16), data.catalogue)
    loaded.load(tmp_path)
    before, after = indexed.retrieve(ask(data), 30), loaded.retrieve(ask(data), 30)
    np.testing.assert_array_equal(before.items, after.items)
    np.testing.assert_array_equal(before.scores, after.scores)


def test_it_keeps_the_rules_of_a_retriever() -> None:
    check_retriever("bert_lstm", width=8, epochs=2, approximate_above=0)


def test_what_a_user_wrote_is_a_step_of_the_sequence(data: Dataset, exact: BertLstm) -> None:
    vectors = data.catalogue.vectors
    assert vectors is not None
    texts = vectors[[7, 7 + TOPICS, 7 + 2 * TOPICS]]
    count = len(texts)
    written = RecentTexts(
        np.array([0, count, count]),
        texts,
        np.zeros(count, dtype=np.int16),
        np.ones(count, dtype=np.float32),
        np.arange(count) * 60_000,
    )
    queries = Queries.of(Histories.empty(2), np.full(2, count * 60_000))
    found = exact.retrieve(replace(queries, recent_texts=written), 50)
    # Chance is one in 40.
    assert (found.items[0] % TOPICS == 7).mean() > 3 / TOPICS
    assert (found.items[1] == -1).all()
    assert (exact.retrieve(queries, 20).items == -1).all()
