"""Films in words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recserve_movielens.wording import MovieExplainer, MovieText

from recserve import Item, Reason
from recserve.testing import check_explainer, check_item_text

FILM, SEEN = Item("1", {"title": "Heat"}), Item("2", {"title": "Ronin"})


def sentence(**reason: object) -> str:
    (found,) = MovieExplainer().explain([Reason(**{"item": FILM, "sources": ("mf",), **reason})])
    return found


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ({"query_text": " space   opera "}, "Found for “space opera”"),
        ({"query_text": "heat", "sources": ("content", "lexical")}, "Matches “heat”"),
        ({"sources": ("explore", "mf")}, "New in the catalogue"),
        ({"evidence": SEEN, "evidence_event": "rating"}, "Because you rated Ronin"),
        (
            {"evidence": SEEN, "evidence_event": "play", "sources": ("content",)},
            "Similar to Ronin, which you watched",
        ),
        ({"evidence": SEEN, "evidence_event": "teleport"}, "Similar to Ronin"),
        ({"evidence": SEEN}, "Similar to Ronin"),
        ({"interests": "old trains"}, "Fits your interests: old trains"),
        ({}, "Loved by viewers with your taste"),
        # A count of all times says nothing of what is popular now.
        ({"sources": ("popular",)}, "Popular with viewers"),
        ({"sources": ("unheard-of",)}, "Picked for you"),
        ({"sources": ()}, "Picked for you"),
        ({"sources": (), "language": "zh-CN"}, "为您推荐"),
        ({"evidence": SEEN, "evidence_event": "rating", "language": "zh"}, "因为您评价过《Ronin》"),
        (
            {"evidence": SEEN, "evidence_event": "play", "sources": ("content",), "language": "zh"},
            "与您看过的《Ronin》相似",
        ),
        ({"evidence": SEEN, "language": "zh"}, "与《Ronin》相似"),
        ({"evidence": SEEN, "language": "xx"}, "Similar to Ronin"),
    ],
)
def test_the_strongest_reason_is_said(reason: dict[str, object], expected: str) -> None:
    assert sentence(**reason) == expected


@given(st.text(min_size=1, max_size=400).filter(str.strip))
def test_a_long_text_is_cut_to_one_line(text: str) -> None:
    shown = sentence(query_text=text).removeprefix("Found for “").removesuffix("”")
    line = " ".join(text.split())
    assert len(shown) <= 80
    assert shown == line or (shown.endswith("…") and line.startswith(shown[:-1]))


@pytest.mark.parametrize(
    ("attributes", "text"),
    [
        ({"title": "Heat", "year": 1995, "genres": ["Action", "Crime"]}, "Heat (1995). Action, Crime"),
        ({"title": " Heat "}, "Heat"),
        ({"year": 1995, "genres": ["Crime"]}, "Crime"),
        ({"title": None, "genres": None}, ""),
    ],
)
def test_a_film_as_text(attributes: dict[str, object], text: str) -> None:
    assert MovieText().text(Item("1", attributes)) == text


def test_contract() -> None:
    assert len(check_explainer("movielens")) == 6
    check_item_text("movielens")
