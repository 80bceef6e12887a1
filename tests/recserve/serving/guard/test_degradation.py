"""A batch goes on without what fails with an error of ours, and says so; anything else ends it."""

from __future__ import annotations

import pytest

from recserve.errors import StageError, StageLateError
from recserve.serving.guard.degradation import Degradation


def test_a_late_stage_is_named_and_what_follows_it_runs(caplog: pytest.LogCaptureFixture) -> None:
    degradation, order = Degradation(), "of retrieval"
    with degradation.without("ranking of this test"):
        raise StageLateError("ranking took longer than 2 s")
    assert order == "of retrieval"
    assert degradation.degraded == {"ranking of this test": "late"}
    assert "ranking of this test failed" in caplog.text


def test_losses_keep_their_order_and_nothing_is_lost_where_nothing_fails() -> None:
    degradation = Degradation()
    with degradation.without("retrieval"):
        degradation.left_out({"retriever:mf": "down", "filter:genre": "late"})
    with degradation.without("explaining"):
        raise StageError("no sentences")
    assert list(degradation.degraded.items()) == [
        ("retriever:mf", "down"),
        ("filter:genre", "late"),
        ("explaining", "failed"),
    ]


def test_mistakes_of_our_own_are_not_swallowed() -> None:
    degradation = Degradation()
    with pytest.raises(ZeroDivisionError), degradation.without("ranking"):
        1 / 0  # noqa: B018
    assert degradation.degraded == {}


def test_a_request_without_text_is_not_told_that_its_text_was_lost() -> None:
    degradation = Degradation()
    degradation.left_out({"encoding": "late", "ranking": "failed"})
    assert degradation.of_answer("red shoes", unread=True) == {"encoding": "late", "ranking": "failed"}
    assert degradation.of_answer(None, unread=False) == {"ranking": "failed"}


def test_a_text_that_the_encoder_does_not_know_is_named_in_its_own_answer() -> None:
    degradation = Degradation()
    assert degradation.of_answer("red shoes", unread=False) == {}
    assert degradation.of_answer("红鞋", unread=True) == {"unknown_words": "unread"}
