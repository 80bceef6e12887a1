"""Orders out of what models answer: right, sloppy, hostile and nonsense."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recserve_llm.client.completion import Completion
from recserve_llm.client.memory import RefusedError
from recserve_llm.ranking.answer import read_order
from recserve_llm.ranking.prompt import LABELS


def order(text: str, answer: str = "schema", count: int = 4) -> tuple[int, ...]:
    return read_order(Completion(text), answer, count, LABELS)


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        (["D", "C", "B", "A"], (3, 2, 1, 0)),
        (["C"], (2, 0, 1, 3)),
        (["Z", "B", "B", "item-7", 3, None, "B", "A"], (1, 0, 2, 3)),
        (["E", "D"], (3, 0, 1, 2)),
    ],
)
def test_what_was_not_asked_is_left_out_and_what_is_missing_follows(
    named: list[object], expected: tuple[int, ...]
) -> None:
    assert order(json.dumps({"order": named})) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I think A is best",
        "[]",
        '["A", "B"]',
        '{"order": "A"}',
        '{"order": []}',
        '{"order": ["Z"]}',
        '{"order": ["AB"]}',
        '{"order": ' + json.dumps(["A"] * 101) + "}",
        "[" * 3_000,
    ],
)
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(RefusedError):
        order(text)


def test_free_text_counts_where_a_line_holds_labels_alone() -> None:
    assert order("Sure! Here you go:\nC > A > D", "text") == (2, 0, 3, 1)
    assert order('["B", "A"]', "text") == (1, 0, 2, 3)
    for text in ("A good choice is B", "Because", "THE BEST"):
        with pytest.raises(RefusedError):
            order(text, "text")


def test_probabilities_order_the_labels() -> None:
    tokens = [("The", -0.1), (" B", -1.0), ("B", -0.5), ("A", -2.0), ("Z", -0.2)]
    found = read_order(Completion("B", first_tokens=tokens), "logprobs", 3, LABELS)
    assert found == (1, 0, 2)
    with pytest.raises(RefusedError):
        read_order(Completion("B"), "logprobs", 3, LABELS)


@settings(max_examples=40)
@given(
    st.text(max_size=20)
    | st.lists(st.text(max_size=2) | st.none()).map(lambda named: json.dumps({"order": named}))
)
def test_whatever_comes_is_a_permutation_or_refused(text: str) -> None:
    for answer in ("schema", "object", "text"):
        try:
            found = order(text, answer, 7)
        except RefusedError:
            continue
        assert sorted(found) == list(range(7))
