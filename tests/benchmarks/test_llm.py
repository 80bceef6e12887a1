"""What the benchmark of the language model finds by itself in sentences that users would read."""

from __future__ import annotations

from collections import Counter

import pytest
from recserve_llm.explaining.facts import Facts

from benchmarks.llm_parts.sentences import strangers
from benchmarks.whole_answers import WholeAnswers

FACTS = Facts(
    "Akira",
    "Star Wars",
    "rated",
    (
        'The recommended film is "Akira".',
        'You rated "Star Wars".',
        'Its genres: "Action".',
        'Its year: "1988".',
    ),
    shared=False,
)
TITLES = ["Akira", "Star Wars", "The Matrix", "Up", "Red 1988"]
GENRES = frozenset({"action", "drama"})


@pytest.mark.parametrize(
    ("sentence", "found"),
    [
        ("Because you rated Star Wars, you might enjoy Akira, an action film of 1988.", []),
        ("Because you starred 1988 times, you might enjoy Akira.", []),
        ("Because you rated Star Wars, you might enjoy Akira by Otomo.", ["Otomo"]),
        ("Because you rated Star Wars (1977), you might enjoy Akira.", ["1977"]),
        ("Because you rated Star Wars, you might enjoy the drama Akira.", ["drama"]),
        ("Because you rated Star Wars, you might enjoy the matrix.", ["The Matrix"]),
    ],
)
def test_names_numbers_and_attributes_that_the_facts_lack(sentence: str, found: list[str]) -> None:
    assert strangers(sentence, FACTS, GENRES, TITLES) == found


def test_answers_are_summed_up() -> None:
    answers = WholeAnswers([float(n) for n in range(1, 101)], Counter({"reranker:mmr late": 2}))
    assert (answers.median, answers.p99, answers.went_without) == (50, 99, "reranker:mmr late 2")
    assert WholeAnswers([1.0], Counter()).went_without == "none"
