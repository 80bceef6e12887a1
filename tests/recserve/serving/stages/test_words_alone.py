"""A text that the encoder does not read is answered by its words alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from recserve import Catalogue, Histories, Queries, Retrieved
from recserve.config import PipelineConfig, RetrieverConfig
from recserve.data.arrays import Int32Array
from recserve.serving.scenario import Scenario
from recserve.serving.stages.retrieval import RetrievalStage

CONFIG = PipelineConfig(retrievers=(RetrieverConfig(use="words"), RetrieverConfig(use="habit")))


class Words:
    """Finds item 0 for texts that hold a tea, of the bundle or not."""

    def retrieve(self, queries: Queries, k: int) -> Retrieved:
        items = np.array([[0 if text and "tea" in text else -1] for text in queries.texts], dtype=np.int32)
        return Retrieved.of(items, np.where(items < 0, -np.inf, 1).astype(np.float32))

    def match_words(self, queries: Queries, rows: Int32Array, catalogue: Catalogue, k: int) -> Retrieved:
        raise AssertionError("nothing was written after training")


class Habit:
    """Finds item 1 for everybody."""

    def retrieve(self, queries: Queries, k: int) -> Retrieved:
        items = np.ones((len(queries), 1), dtype=np.int32)
        return Retrieved.of(items, items.astype(np.float32))


def found(queries: Queries) -> list[list[int]]:
    stage = RetrievalStage({"search": Scenario(CONFIG, {"words": Words(), "habit": Habit()}, {})})
    items = stage.retrieve("search", queries).candidates.items
    return [sorted(row[row >= 0].tolist()) for row in items]


def asked(*texts: str | None) -> Queries:
    plain = Queries.of(Histories.empty(len(texts)), np.zeros(len(texts), dtype=np.int64))
    return replace(plain, texts=texts)


def test_what_was_not_read_is_answered_by_words_where_they_match() -> None:
    queries = asked("tea", "tea", "pot", None)
    vectors = np.zeros((4, 2), dtype=np.float32)
    vectors[0, 0] = 1
    read = replace(queries, text_vectors=vectors)
    assert read.unread.tolist() == [False, True, True, False]
    assert found(read) == [[0, 1], [0], [1], [1]]
    # No text of the batch has a vector: the encoder was lost.
    assert found(queries) == [[0], [0], [1], [1]]


def test_queries_without_texts_are_read() -> None:
    assert not asked(None, "").unread.any()
    assert not replace(asked(None), texts=()).unread.any()
