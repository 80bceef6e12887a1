"""What users wrote speaks beside the items of their histories, and is named as evidence."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from recserve_content import content_retriever
from recserve_content.parameters import ContentParams

from recserve import Catalogue, FloatArray, Histories, Item, Queries, Ragged, RecentTexts, Retriever

TOPICS, PER_TOPIC, DIMENSION = 5, 20, 16


def vectors_of(topics: list[int], seed: int) -> FloatArray:
    centres = np.random.default_rng(0).normal(size=(TOPICS, DIMENSION))
    rows = centres[topics] + 0.3 * np.random.default_rng(seed).normal(size=(len(topics), DIMENSION))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    topics = [row % TOPICS for row in range(TOPICS * PER_TOPIC)]
    return Catalogue.of([Item(str(row)) for row in range(len(topics))], vectors_of(topics, 1))


@pytest.fixture(scope="module", params=[50_000, 0], ids=["every item scored", "by an index"])
def retriever(request: pytest.FixtureRequest, catalogue: Catalogue) -> Retriever:
    return content_retriever(ContentParams(approximate_above=request.param), catalogue)


def queries_of(histories: list[list[int]], texts: list[list[int]], weight: float = 0.5) -> Queries:
    """Users with the items of their histories, and texts about topics, which came last."""
    items, topics = Ragged.of(histories), Ragged.of(texts)
    rows, written = len(items.values), len(topics.values)
    plain = Histories(
        items.offsets,
        items.values,
        np.zeros(rows, dtype=np.int16),
        np.ones(rows, dtype=np.float32),
        np.arange(rows, dtype=np.int64),
    )
    recent = RecentTexts(
        topics.offsets,
        vectors_of(topics.values.tolist(), 2),
        np.ones(written, dtype=np.int16),
        np.full(written, weight, dtype=np.float32),
        np.full(written, 1_000, dtype=np.int64),
    )
    excluded = Ragged.of(histories)
    queries = Queries.of(plain, np.full(len(histories), 2_000, dtype=np.int64), excluded=excluded)
    return replace(queries, recent_texts=recent)


def test_three_searches_alone_are_an_interest(retriever: Retriever) -> None:
    found = retriever.retrieve(queries_of([[], []], [[3, 3, 3], []]), 10)
    assert set(found.items[0] % TOPICS) == {3}
    assert set(found.evidence[0].tolist()) <= {-2, -3, -4}
    assert (found.items[1] == -1).all()


def test_items_and_texts_are_interests_together(retriever: Retriever) -> None:
    found = retriever.retrieve(queries_of([[0, 5, 10]], [[2, 2, 2]]), 20)
    topics = found.items[0] % TOPICS
    assert {0, 2} <= set(topics.tolist())
    # Each is explained by what it is like.
    assert set(found.evidence[0][topics == 2].tolist()) <= {-2, -3, -4}
    assert set(found.evidence[0][topics == 0].tolist()) <= {0, 5, 10}


def test_a_disliked_text_attracts_nothing(retriever: Retriever) -> None:
    found = retriever.retrieve(queries_of([[]], [[2]], weight=-1.0), 10)
    assert (found.items == -1).all()


def test_a_query_alone_finds_what_it_finds_in_a_batch(retriever: Retriever) -> None:
    queries = queries_of([[0], [], [1, 2]], [[4], [3, 3], []])
    together = retriever.retrieve(queries, 8)
    for query in range(3):
        alone = retriever.retrieve(queries.part(query, query + 1), 8)
        assert np.array_equal(alone.items[0], together.items[query])
        assert np.array_equal(alone.evidence[0], together.evidence[query])


def test_new_items_are_found_by_texts(catalogue: Catalogue) -> None:
    retriever = content_retriever(ContentParams(), catalogue)
    queries = replace(queries_of([[]], [[3, 3]]), extra_vectors=vectors_of([1, 3], 5))
    rows = np.arange(100, 102, dtype=np.int32)
    found = retriever.retrieve_among(queries, rows, vectors_of([1, 3], 5), 2)
    assert found.items[0, 0] == 101
    assert found.evidence[0, 0] in (-2, -3)
