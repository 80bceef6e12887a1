"""Sequences of text stand for the lists that they are made from."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recserve.data.columns import strings as sequences
from recserve.data.columns.strings import Amended, PackedTexts, Texts

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6)


@given(
    base=st.lists(texts, max_size=10),
    behind=st.lists(texts, max_size=5),
    replaced=st.dictionaries(st.integers(0, 9), texts, max_size=4),
    part=st.slices(15),
)
@settings(deadline=None)
def test_an_amended_sequence_is_the_list_it_stands_for(
    base: list[str], behind: list[str], replaced: dict[int, str], part: slice
) -> None:
    replaced = {place: text for place, text in replaced.items() if place < len(base)}
    expected = [replaced.get(place, text) for place, text in enumerate(base)] + behind
    for first in (base, Texts.of(base), PackedTexts(base)):
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


@given(st.lists(texts, max_size=200), st.slices(200))
@settings(deadline=None)
def test_packed_texts_are_the_list_that_they_were_made_from(expected: list[str], part: slice) -> None:
    packed = PackedTexts(iter(expected))
    assert len(packed) == len(expected)
    assert list(packed) == expected
    assert list(packed[part]) == expected[part]
    for place in [*range(-len(expected), len(expected)), *range(0, len(expected), 67)]:
        assert packed[place] == expected[place]
    for beyond in (len(expected), -len(expected) - 1):
        with pytest.raises(IndexError):
            packed[beyond]
    assert pa.array(packed, pa.string()).to_pylist() == expected


def test_packed_texts_are_small_and_refuse_what_they_cannot_tell_apart() -> None:
    texts = [f'{{"title": "Number {row}", "genres": ["Drama"]}}' for row in range(20_000)]
    packed = PackedTexts(texts)
    assert len(packed._packed) < sum(map(len, texts)) / 2
    for wrong in (["a", "b\0c"], ["\0"], ["a"] * 64 + ["\0"], ["\ud800"]):
        with pytest.raises(ValueError, match=r"NUL|surrogates"):
            PackedTexts(wrong)


def test_threads_may_read_packed_texts_at_the_same_time() -> None:
    texts = [str(row) * 5 for row in range(5_000)]
    packed = PackedTexts(texts)

    def read(seed: int) -> bool:
        rows = np.random.default_rng(seed).integers(0, len(texts), 20_000).tolist()
        return all(packed[row] == texts[row] for row in rows)

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(read, range(4)))
