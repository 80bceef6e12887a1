"""content with more items than it scores one by one: nearly the same answers, and full pages."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from recserve_content.parameters import ContentParams
from recserve_content.retriever import ContentRetriever

from recserve import Catalogue, Dataset, FitContext, Queries, Ragged, Vocabulary
from recserve.testing import check_retriever

N_ITEMS, N_USERS, TOPICS, DIMENSION, EVENTS = 6000, 300, 60, 24, 20


@pytest.fixture(scope="module")
def data() -> Dataset:
    """People with two of 60 topics, each with items around a direction in text space."""
    generator = np.random.default_rng(0)
    centres = generator.standard_normal((TOPICS, DIMENSION))
    topics = np.arange(N_ITEMS) % TOPICS
    vectors = centres[topics] + 0.6 * generator.standard_normal((N_ITEMS, DIMENSION))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    users = np.tile(np.arange(N_USERS, dtype=np.int32), EVENTS)
    own = (users * 7 + 13 * generator.integers(0, 2, len(users))) % TOPICS
    items = own + TOPICS * (N_ITEMS // TOPICS * generator.random(len(users)) ** 2).astype(np.int64)
    return Dataset(
        Catalogue([f"i{row}" for row in range(N_ITEMS)], vectors=vectors.astype(np.float32)),
        Vocabulary(f"u{row}" for row in range(N_USERS)),
        users,
        items.astype(np.int32),
        np.zeros(len(users), dtype=np.int16),
        np.ones(len(users), dtype=np.float32),
        np.arange(len(users), dtype=np.int64) * 60_000,
        ("view",),
    )


def fitted(data: Dataset, above: int) -> ContentRetriever:
    retriever = ContentRetriever(ContentParams(approximate_above=above), data.catalogue)
    facts = retriever.fit(data, FitContext(device="cpu", threads=1))
    assert ("index" in facts) == (above < N_ITEMS)
    json.dumps(facts)
    return retriever


@pytest.fixture(scope="module")
def exact(data: Dataset) -> ContentRetriever:
    return fitted(data, N_ITEMS)


@pytest.fixture(scope="module")
def indexed(data: Dataset) -> ContentRetriever:
    return fitted(data, N_ITEMS - 1)


def ask(data: Dataset, count: int = 120) -> Queries:
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


def test_it_finds_what_scoring_every_item_finds(
    data: Dataset, exact: ContentRetriever, indexed: ContentRetriever
) -> None:
    queries = ask(data)
    truth, found = exact.retrieve(queries, 50), indexed.retrieve(queries, 50)
    assert overlap(found.items, truth.items) >= 0.97
    same = found.items == truth.items
    assert same.mean() > 0.5
    np.testing.assert_allclose(found.scores[same], truth.scores[same], rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(found.evidence[same], truth.evidence[same])
    assert (found.evidence[1] >= 0).all()
    for number in range(len(queries)):
        assert len(np.unique(found.items[number])) == 50
        assert not np.isin(found.items[number], queries.barred[number]).any()


def test_filtered_pages_are_full(data: Dataset, exact: ContentRetriever, indexed: ContentRetriever) -> None:
    narrow, wide = np.arange(N_ITEMS) % 97 == 0, np.arange(N_ITEMS) % 3 == 0
    queries = ask(data, 12).with_allowed((narrow, wide, None) * 4)
    truth, found = exact.retrieve(queries, 40), indexed.retrieve(queries, 40)
    assert (found.items >= 0).all()
    assert overlap(found.items, truth.items) >= 0.97
    assert narrow[found.items[::3]].all()
    assert wide[found.items[1::3]].all()


def test_a_text_has_every_item_scored(
    data: Dataset, exact: ContentRetriever, indexed: ContentRetriever
) -> None:
    vectors = data.catalogue.vectors
    assert vectors is not None
    texts = np.zeros((12, DIMENSION), dtype=np.float32)
    texts[5] = vectors[77]
    queries = replace(ask(data, 12), text_vectors=texts)
    found = indexed.retrieve(queries, 40)
    np.testing.assert_array_equal(found.items[5], exact.retrieve(queries, 40).items[5])
    plain = indexed.retrieve(ask(data, 12), 40)
    others = np.arange(12) != 5
    np.testing.assert_array_equal(found.items[others], plain.items[others])


def test_it_comes_back_from_its_files(data: Dataset, indexed: ContentRetriever, tmp_path: Path) -> None:
    indexed.save(tmp_path)
    loaded = ContentRetriever(ContentParams(), data.catalogue)
    loaded.load(tmp_path)
    before, after = indexed.retrieve(ask(data), 30), loaded.retrieve(ask(data), 30)
    np.testing.assert_array_equal(before.items, after.items)
    np.testing.assert_array_equal(before.scores, after.scores)
    np.testing.assert_array_equal(before.evidence, after.evidence)


def test_it_keeps_the_rules_of_a_retriever() -> None:
    check_retriever("content", approximate_above=0)
