"""The retriever ``repeat``: what is played often, lately, and is due again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from recserve_music.parameters import RepeatParams
from recserve_music.repeat import RepeatRetriever

from recserve import Catalogue, Histories, Queries, Ragged

HOUR = 3_600_000
NOW = 1_000 * HOUR
CATALOGUE = Catalogue([f"t{row}" for row in range(5)])


def queries(*plays: tuple[int, float, float]) -> Queries:
    """One query after events: item, hours ago, weight."""
    ordered = sorted(plays, key=lambda play: -play[1])
    histories = Histories(
        np.array([0, len(ordered)]),
        np.array([item for item, _, _ in ordered], np.int32),
        np.zeros(len(ordered), np.int16),
        np.array([weight for _, _, weight in ordered], np.float32),
        np.array([NOW - int(ago * HOUR) for _, ago, _ in ordered], np.int64),
    )
    return Queries.of(histories, np.array([NOW]))


def found(asked: Queries, **params: float) -> list[int]:
    items = RepeatRetriever(RepeatParams(**params), CATALOGUE).retrieve(asked, 5).items[0]
    return items[items >= 0].tolist()


def often(item: int, first: float, every: float, times: int) -> list[tuple[int, float, float]]:
    return [(item, first + every * number, 1.0) for number in range(times)]


def test_the_score_is_activation_and_how_due_an_item_is() -> None:
    asked = queries((0, 50, 1.0), (0, 150, 2.0), (1, 10, 1.0))
    scores = RepeatRetriever(RepeatParams(), CATALOGUE).scores(asked)[0]
    # Played 100 hours apart and 50 hours ago: half of the usual interval has passed.
    assert scores[0] == pytest.approx(np.log(50**-0.5 + 2 * 150**-0.5) + np.log(0.5), abs=1e-5)
    assert np.isneginf(scores[1:]).all(), "played once, or never"


def test_what_is_played_more_often_and_more_lately_comes_first() -> None:
    assert found(queries(*often(0, 30, 20, 3), *often(1, 30, 20, 8))) == [1, 0]
    assert found(queries(*often(0, 300, 20, 4), *often(1, 30, 20, 4))) == [1, 0]


def test_what_has_just_been_played_waits_until_it_is_due() -> None:
    asked = queries(*often(0, 2, 100, 4), *often(1, 100, 100, 4))
    assert found(asked) == [1, 0]
    assert found(asked, due_weight=0) == [0, 1]
    assert found(asked, due_weight=0, rest_hours=3) == [1]


def test_skips_outweigh_plays() -> None:
    plays = often(0, 100, 20, 2)
    assert found(queries(*plays)) == [0]
    assert found(queries(*plays, (0, 99, -3.0))) == []


def test_masks_texts_anchors_and_unknown_items() -> None:
    asked = queries(*often(0, 30, 20, 3), *often(1, 40, 20, 3), *often(9, 5, 20, 3))
    assert found(asked) == [0, 1]
    assert found(replace(asked, excluded=Ragged.of([[0]]))) == [1]
    assert found(asked.with_allowed((np.arange(5) == 0,))) == [0]
    assert found(replace(asked, anchors=np.array([1], np.int32))) == []
    assert found(replace(asked, text_vectors=np.ones((1, 3), np.float32))) == []


def test_many_events_of_one_moment_are_finite_and_a_batch_changes_nothing() -> None:
    one = queries(*[(0, 0.0, 1.0)] * 5, *[(1, 2.0, 1.0)] * 2)
    two = queries(*often(2, 30, 20, 3))
    retriever = RepeatRetriever(RepeatParams(rest_hours=0), CATALOGUE)
    both = Queries.of(
        Histories(
            np.array([0, 7, 10]),
            *(
                np.concatenate([getattr(one.histories, name), getattr(two.histories, name)])
                for name in ("items", "events", "weights", "timestamps")
            ),
        ),
        np.array([NOW, NOW]),
    )
    together = retriever.scores(both)
    np.testing.assert_array_equal(together, np.concatenate([retriever.scores(one), retriever.scores(two)]))
    assert np.isfinite(together[0, :2]).all()
    assert retriever.retrieve(Queries.of(Histories.empty(2), np.array([NOW, NOW])), 3).items.max() == -1
