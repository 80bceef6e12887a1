"""Items of exposures as columns, read from their JSON without an object for each."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recserve.data.arrays import BoolArray, Float64Array, Int32Array, Int64Array

Bytes = NDArray[np.uint8]

_QUOTE, _COMMA, _OPEN, _CLOSE, _ESCAPE, _OBJECT, _SPACE = b'",[]\\{ '


@dataclass(frozen=True, slots=True)
class ShownItems:
    """What E exposures showed, N items in all, in the order of the exposures and of their places.

    Attributes:
        bounds: int64, shape (E + 1,): items of exposure e are those from bounds[e] to bounds[e + 1].
        items: Dictionary of the item ids, shape (N,).
        sources: Likewise of the first retriever of each; null where none is known.
        arms: Arm of an interleaved page that an item belongs to; null elsewhere.
        propensities: float64, NaN where chance did not decide.
    """

    bounds: Int64Array
    items: pa.DictionaryArray
    sources: pa.DictionaryArray
    arms: pa.StringArray
    propensities: Float64Array

    @property
    def rows(self) -> Int32Array:
        """int32, shape (N,): the exposure that each item belongs to."""
        return np.repeat(np.arange(len(self.bounds) - 1, dtype=np.int32), np.diff(self.bounds))

    @property
    def positions(self) -> Int32Array:
        """int32, shape (N,): the place of each item on its page, 0 for the first."""
        begins = np.repeat(self.bounds[:-1], np.diff(self.bounds))
        return (np.arange(self.bounds[-1]) - begins).astype(np.int32)


def shown_items(column: pa.ChunkedArray | pa.StringArray) -> ShownItems:
    """Read the items of exposures.

    Each text is what the store writes, such as ``[["a",0.5,["mf"],{"arm":"b"}],...]``. All quotes of such
    texts are looked at together; texts with an escape in them, whose quotes mean something else, are read
    by themselves.

    Args:
        column: The texts, at most 2 GiB.
    """
    texts = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if not len(texts):
        return _one_by_one([])
    offsets, data = _content(texts)
    if not _is_unusual(data) or not (odd := _rows_with(offsets, _unusual(data))).any():
        return _with_extras(texts, offsets, data, *_plain(texts, offsets, data))
    parsed = [json.loads(texts[row].as_py()) for row in np.flatnonzero(odd).tolist()]
    quick = shown_items(texts.filter(pa.array(~odd)))
    return _interleaved(odd, quick, _one_by_one(parsed))


def _content(texts: pa.StringArray) -> tuple[Int64Array, Bytes]:
    """Offsets of texts, and their bytes."""
    start = texts.offset
    _, offsets_buffer, data_buffer = texts.buffers()
    offsets = np.frombuffer(offsets_buffer, np.int32, len(texts) + 1 + start)[start:].astype(np.int64)
    if data_buffer is None:
        return offsets, np.empty(0, np.uint8)
    return offsets, np.frombuffer(data_buffer, np.uint8)[: offsets[-1]]


def _is_unusual(data: Bytes) -> bool:
    """Whether :func:`_unusual` finds anything, which is seldom and found out quickly."""
    raw = data.tobytes()
    return b"\\" in raw or b", " in raw


def _unusual(data: Bytes) -> Int64Array:
    """Where something stands that the quick way does not understand: an escape, or a space after a comma."""
    spaced = (data[:-1] == _COMMA) & (data[1:] == _SPACE)
    return np.concatenate([np.flatnonzero(data == _ESCAPE), np.flatnonzero(spaced)])


def _rows_with(offsets: Int64Array, places: Int64Array) -> BoolArray:
    """Which texts hold any of some places."""
    found = np.zeros(len(offsets) - 1, np.bool_)
    places = places[places >= offsets[0]]
    found[np.searchsorted(offsets, places, "right") - 1] = True
    return found


def _plain(
    texts: pa.StringArray, offsets: Int64Array, data: Bytes
) -> tuple[Int64Array, pa.DictionaryArray, pa.DictionaryArray]:
    """Bounds, items and sources of texts without escapes, in which every second quote closes."""
    quotes = np.flatnonzero(data[offsets[0] :] == _QUOTE) + offsets[0]
    opening, closing = quotes[0::2], quotes[1::2]
    listed = data[opening - 1] == _OPEN
    before, further = data[opening - 2], data[opening - 3]
    # A page begins with [[", the next item comes after ],[" and a list of sources after a number.
    is_item = listed & ((before == _OPEN) | ((before == _COMMA) & (further == _CLOSE)))
    items = np.flatnonzero(is_item)
    after = np.minimum(items + 1, len(opening) - 1)
    has_source = listed[after] & ~is_item[after] & (after > items)
    sources = after[has_source]
    codes = np.full(len(items), -1, np.int32)
    named = _strings(texts, opening[sources], closing[sources]).dictionary_encode()
    codes[has_source] = named.indices.to_numpy()
    return (
        np.searchsorted(opening[items], offsets),
        _strings(texts, opening[items], closing[items]).dictionary_encode(),
        pa.DictionaryArray.from_arrays(pa.array(codes, mask=codes < 0), named.dictionary),
    )


def _strings(texts: pa.StringArray, opening: Int64Array, closing: Int64Array) -> pa.StringArray:
    """What stands between pairs of quotes."""
    if not len(opening):
        return pa.array([], pa.string())
    # As strings of the same bytes, what is between the pairs takes turns with what is not.
    turns = np.empty(2 * len(opening), np.int32)
    turns[0::2], turns[1::2] = opening + 1, closing
    every = pa.StringArray.from_buffers(len(turns) - 1, pa.py_buffer(turns), texts.buffers()[2])
    return every.take(pa.array(np.arange(0, len(every), 2, dtype=np.int32)))


def _with_extras(
    texts: pa.StringArray,
    offsets: Int64Array,
    data: Bytes,
    bounds: Int64Array,
    items: pa.DictionaryArray,
    sources: pa.DictionaryArray,
) -> ShownItems:
    """Add arms and propensities, which few pages have."""
    arms: list[str | None] | None = None
    propensities = np.full(len(items), np.nan)
    further = np.flatnonzero(data == _OBJECT) if b"{" in data.tobytes() else np.empty(0, np.int64)
    for row in np.flatnonzero(_rows_with(offsets, further)).tolist():
        arms = arms or [None] * len(items)
        for place, shown in enumerate(json.loads(texts[row].as_py()), int(bounds[row])):
            arms[place], propensities[place] = _extras(shown)
    named = pa.nulls(len(items), pa.string()) if arms is None else pa.array(arms, pa.string())
    return ShownItems(bounds, items, sources, named, propensities)


def _extras(shown: list[object]) -> tuple[str | None, float]:
    further = shown[3] if len(shown) > 3 else None
    if not isinstance(further, dict):
        return None, np.nan
    propensity = further.get("propensity")
    return further.get("arm"), np.nan if propensity is None else float(propensity)


def _one_by_one(pages: list[list[list[object]]]) -> ShownItems:
    """The same of pages that were parsed."""
    items = [shown for page in pages for shown in page]
    extras = [_extras(shown) for shown in items]
    sources = [next(iter(shown[2]), None) for shown in items]  # type: ignore[call-overload]
    return ShownItems(
        np.cumsum([0, *map(len, pages)], dtype=np.int64),
        pa.array([shown[0] for shown in items], pa.string()).dictionary_encode(),
        pa.array(sources, pa.string()).dictionary_encode(),
        pa.array([arm for arm, _ in extras], pa.string()),
        np.array([propensity for _, propensity in extras], np.float64),
    )


def _interleaved(odd: BoolArray, quick: ShownItems, slow: ShownItems) -> ShownItems:
    """Exposures of two sets in the order in which they were; ``odd`` says which are of the second."""
    counts = np.zeros(len(odd), np.int64)
    counts[~odd], counts[odd] = np.diff(quick.bounds), np.diff(slow.bounds)
    rows = np.concatenate([np.flatnonzero(~odd)[quick.rows], np.flatnonzero(odd)[slow.rows]])
    order = pa.array(np.argsort(rows, kind="stable"))

    def both(first: pa.Array, second: pa.Array) -> pa.Array:
        joined = pa.chunked_array([first, second]).unify_dictionaries().combine_chunks()
        return joined.take(order)

    return ShownItems(
        np.concatenate([[0], np.cumsum(counts)]),
        both(quick.items, slow.items),
        both(quick.sources, slow.sources),
        pa.concat_arrays([quick.arms, slow.arms]).take(order),
        np.concatenate([quick.propensities, slow.propensities])[order.to_numpy()],
    )
