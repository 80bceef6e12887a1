"""Examples of a training: what is liked next, and what else would have been proposed."""

from __future__ import annotations

import numpy as np
import pytest
from recserve_cross_encoder.pairs import PairTexts
from recserve_cross_encoder.parameters import CrossEncoderParams
from recserve_cross_encoder.training import PairExamples, correlation

from recserve import Dataset


@pytest.fixture(scope="module")
def pair_texts(tiny, texts) -> PairTexts:
    from transformers import AutoTokenizer

    return PairTexts.tokenised(texts, AutoTokenizer.from_pretrained(str(tiny)), 64, 4, 4)


def rows_of(pair_texts: PairTexts, pair) -> tuple[list[int], int]:
    """Rows of the liked items, newest first, and of the candidate: texts of 40 items differ."""
    of_text = {tuple(pair_texts.items[row].tolist()): row for row in range(40)}
    separator = pair_texts.template.separator
    middle = len(pair_texts.template.middle)
    head = pair.tokens[1 : pair.first - middle]
    tail = pair.tokens[pair.first : -1]
    parts, current = [], []
    for token in head:
        if (token,) == separator:
            parts.append(tuple(current))
            current = []
        else:
            current.append(token)
    parts.append(tuple(current))
    return [of_text[part] for part in parts], of_text[tuple(tail)]


def test_a_group_is_the_next_item_and_items_that_were_never_met(behaviour, pair_texts):
    params = CrossEncoderParams(history=3, negatives=4, examples=50)
    examples = PairExamples(behaviour, pair_texts, params, seed=3)
    assert len(examples) == 50
    by_user = [behaviour.items[behaviour.users == user].tolist() for user in range(behaviour.n_users)]
    groups = [group for batch in examples.epoch() for group in batch]
    assert len(groups) == 50
    for group in groups:
        liked, target = rows_of(pair_texts, group[0])
        owners = [
            items
            for items in by_user
            for place in range(1, len(items))
            if items[place] == target and items[max(place - 3, 0) : place][::-1] == liked
        ]
        assert owners, "nobody liked this after that"
        for wrong in group[1:]:
            again, candidate = rows_of(pair_texts, wrong)
            assert again == liked
            assert any(candidate not in items for items in owners)


def test_only_items_that_would_have_been_proposed_are_learnt_from(behaviour, pair_texts):
    """Half of the events on anything: what is unlike the history is no example."""
    random = np.random.default_rng(0)
    anything = random.random(len(behaviour.items)) < 0.5
    items = np.where(anything, random.integers(0, 40, len(anything)), behaviour.items).astype(np.int32)
    given = behaviour
    mixed = Dataset(
        given.catalogue,
        given.user_ids,
        given.users,
        items,
        given.events,
        given.weights,
        given.timestamps,
        ("view",),
    )
    params = CrossEncoderParams(history=3, examples=1000, negatives_among=5)
    some, most = (
        PairExamples(mixed, pair_texts, params.model_copy(update={"negatives_among": among}), seed=3)
        for among in (5, 20)
    )
    assert 0 < len(some) < len(most)

    def within(examples: PairExamples) -> float:
        rows = [rows_of(pair_texts, group[0]) for batch in examples.epoch() for group in batch]
        return float(np.mean([np.mean([liked % 4 == target % 4 for liked in head]) for head, target in rows]))

    assert within(some) > within(most)


def test_equal_seeds_draw_equal_groups(behaviour, pair_texts):
    params = CrossEncoderParams(examples=30)

    def drawn(seed: int) -> list:
        return [*PairExamples(behaviour, pair_texts, params, seed).epoch()]

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


def test_correlation_of_what_does_not_vary():
    flat, rising = np.ones(4, dtype=np.float32), np.arange(4, dtype=np.float32)
    assert correlation(flat, flat) == 1
    assert correlation(flat, rising) == 0
    assert correlation(rising, 2 * rising + 1) == pytest.approx(1)
