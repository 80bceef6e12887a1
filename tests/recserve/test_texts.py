"""Sequences of text stand for the lists that they are made from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recserve import texts as sequences
from recserve.texts import Amended, Texts

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)


@given(
    base=st.lists(texts, max_size=10),
    behind=st.lists(texts, max_size=5),
    replaced=st.dictionaries(st.integers(0, 9), texts, max_size=4),
    part=st.slices(15),
)
def test_an_amended_sequence_is_the_list_it_stands_for(
    base: list[str], behind: list[str], replaced: dict[int, str], part: slice
) -> None:
    replaced = {place: text for place, text in replaced.items() if place < len(base)}
    expected = [replaced.get(place, text) for place, text in enumerate(base)] + behind
    for first in (base, Texts.of(base)):
        amended: Sequence[str] = Amended(first, behind, replaced)
        assert list(amended) == expected
        assert len(amended) == len(expected)
        assert list(amended[part]) == expected[part]
        for place in range(-len(expected), len(expected)):
            assert amended[place] == expected[place]
        for beyond in (len(expected), -len(expected) - 1):
            with pytest.raises(IndexError):
                amended[beyond]


def test_texts_of_several_pieces_and_of_more_than_one_piece_can_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    pieces = [pa.array(["a", "é"]), pa.array([], pa.string()), pa.array(["", "ccc"])]
    for largest, kind in ((2**31 - 1, pa.string()), (5, pa.large_string())):
        monkeypatch.setattr(sequences, "_LARGEST", largest)
        joined = Texts(pa.chunked_array(pieces))
        assert list(joined) == ["a", "é", "", "ccc"]
        assert joined.take(np.array([3, 0], dtype=np.int32)) == ["ccc", "a"]
        assert list(joined[1:3]) == ["é", ""]
        assert pa.array(joined).type == kind
        assert pa.array(joined, pa.string()).to_pylist() == list(joined)
    assert list(Texts(pa.chunked_array([], pa.string()))) == []
