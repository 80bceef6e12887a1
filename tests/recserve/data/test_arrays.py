"""Positions of ragged rows, against plain loops."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from recserve import flat_ranges, places_within


@given(
    st.lists(st.tuples(st.integers(0, 100), st.integers(0, 6)), max_size=12),
    st.sampled_from([np.int32, np.int64]),
)
def test_ranges_follow_each_other(ranges: list[tuple[int, int]], kind: type[np.signedinteger]) -> None:
    starts = np.array([start for start, _ in ranges], dtype=kind)
    lengths = np.array([length for _, length in ranges], dtype=kind)
    offsets, index = flat_ranges(starts, lengths)
    assert index.dtype == offsets.dtype == np.int64
    expected = [list(range(start, start + length)) for start, length in ranges]
    assert [index[begin:end].tolist() for begin, end in pairwise(offsets)] == expected
    assert len(index) == sum(map(len, expected)) == offsets[-1]
    places = places_within(lengths)
    assert places.dtype == np.int64
    assert places.tolist() == [place for _, length in ranges for place in range(length)]
