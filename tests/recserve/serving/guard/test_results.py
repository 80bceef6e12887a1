"""What plugins return is checked where it enters the graph, and told in one short line."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest

from recserve import Retrieved
from recserve.data.batches import RECENT_TEXTS
from recserve.errors import StageError
from recserve.serving.guard.failures import FailureLog, as_stage_error
from recserve.serving.guard.results import (
    check_mask,
    check_positions,
    check_retrieved,
    check_scores,
    check_sentences,
)

ITEMS = np.array([[3, 1, -1], [0, 2, 4]], dtype=np.int32)
SCORES = np.array([[2, 1, -np.inf], [3, 2, 1]], dtype=np.float32)
NONE = np.full((2, 3), -1, dtype=np.int32)


def test_what_keeps_the_contract_passes_as_it_is() -> None:
    found = Retrieved(ITEMS, SCORES, NONE)
    assert check_retrieved(found, 2, 3, 5) is found
    assert check_retrieved(Retrieved(ITEMS.astype(np.int64), SCORES, NONE), 2, 3, 5)
    empty = Retrieved.of(np.empty((2, 0), np.int32), np.empty((2, 0), np.float32))
    assert check_retrieved(empty, 2, 3, 5) is empty
    real = ITEMS >= 0
    assert check_scores(SCORES, real) is SCORES
    assert check_positions(ITEMS, 2, 5).tolist() == ITEMS.tolist()
    mask = np.ones(5, dtype=np.bool_)
    assert check_mask(mask, (5,)) is mask
    assert check_mask(None, (5,)) is None
    assert check_sentences(("a", "b"), 2) == ["a", "b"]


def other(array: Any, place: tuple[int, int], value: float) -> Any:
    changed = array.copy()
    changed[place] = value
    return changed


@pytest.mark.parametrize(
    ("found", "problem"),
    [
        (None, "a NoneType, not Retrieved"),
        (Retrieved(ITEMS[0], SCORES[0], NONE[0]), "for 2 queries"),
        (Retrieved(ITEMS[:1], SCORES[:1], NONE[:1]), "for 2 queries"),
        (Retrieved(ITEMS, SCORES[:, :2], NONE), "of shapes"),
        (Retrieved(ITEMS.astype(np.float32), SCORES, NONE), "items of dtype float32"),
        (Retrieved(ITEMS, SCORES.astype(object), NONE), "scores of dtype object"),
        (Retrieved(ITEMS.tolist(), SCORES, NONE), "items as a list"),  # type: ignore[arg-type]
        (Retrieved(other(ITEMS, (0, 0), 5), SCORES, NONE), "items outside of -1..4"),
        (Retrieved(other(ITEMS, (0, 0), -7), SCORES, NONE), "items outside"),
        (Retrieved(other(ITEMS, (0, 1), 3), SCORES, NONE), "item twice"),
        (Retrieved(ITEMS, other(SCORES, (0, 0), np.nan), NONE), "not finite"),
        (Retrieved(ITEMS, other(SCORES, (1, 2), np.inf), NONE), "not finite"),
        (Retrieved(ITEMS, SCORES, other(NONE, (0, 0), -2 - RECENT_TEXTS)), "evidence outside"),
        (
            Retrieved(np.zeros((2, 4), np.int32), np.zeros((2, 4), np.float32), np.zeros((2, 4), np.int32)),
            "4 items",
        ),
    ],
)
def test_wrong_answers_of_a_retriever_are_named(found: Any, problem: str) -> None:
    with pytest.raises(StageError, match=problem):
        check_retrieved(found, 2, 3, 5)


@pytest.mark.parametrize(
    "scores",
    [None, SCORES[0], SCORES[:, :2], ITEMS, other(SCORES, (0, 0), np.nan), [[1.0] * 3] * 2],
)
def test_wrong_scores_are_refused(scores: Any) -> None:
    with pytest.raises(StageError):
        check_scores(scores, ITEMS >= 0)


@pytest.mark.parametrize(
    "positions", [None, ITEMS[0], ITEMS[:1], SCORES, other(ITEMS, (0, 0), 5), other(ITEMS, (0, 1), 3)]
)
def test_wrong_positions_are_refused(positions: Any) -> None:
    with pytest.raises(StageError):
        check_positions(positions, 2, 5)


@pytest.mark.parametrize(
    "mask", [np.ones(4, np.bool_), np.ones((5, 1), np.bool_), np.ones(5), [True] * 5, True]
)
def test_wrong_masks_are_refused(mask: Any) -> None:
    with pytest.raises(StageError):
        check_mask(mask, (5,))


@pytest.mark.parametrize("sentences", [None, "ab", ["a"], ["a", None], iter("ab")])
def test_wrong_sentences_are_refused(sentences: Any) -> None:
    with pytest.raises(StageError):
        check_sentences(sentences, 2)


def test_messages_are_short_whatever_they_are_about() -> None:
    error = as_stage_error(ValueError(np.arange(100_000).tolist()))
    assert len(error.message) < 300
    with pytest.raises(StageError) as raised:
        check_scores(np.zeros((500, 500)), ITEMS >= 0)
    assert len(raised.value.message) < 200


def test_failures_are_logged_once_a_kind_with_class_and_traceback(caplog: pytest.LogCaptureFixture) -> None:
    log = FailureLog()

    def fail(kind: type[Exception]) -> None:
        try:
            raise kind("boom")
        except Exception as error:
            log.note("retriever:mf", as_stage_error(error))

    with caplog.at_level(logging.WARNING):
        for _ in range(50):
            fail(ValueError)
        fail(KeyError)
    assert [record.message.split(":")[2].strip() for record in caplog.records] == ["ValueError", "KeyError"]
    for _ in range(3):
        log.note("retriever:mf", StageError("took longer than 5 s"))
        log.note("retriever:mf", StageError("took longer than 6 s"))
        log.note("retriever:mf", StageError("returned an item twice"))
    assert len(caplog.records) == 4, "what we say of a plugin is a kind each, whatever the numbers"
    assert "in fail" in caplog.text, "where it was raised"
    assert "boom" in caplog.text
