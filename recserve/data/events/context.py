"""Contexts of events and answers, such as device and place: as stored texts, and as columns of codes."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from recserve.data.arrays import BoolArray, Int32Array, Int64Array
from recserve.data.columns.codes import encoded

MAX_CONTEXT_KEYS = 32
"""Most keys of a context that is stored."""

MAX_CONTEXT_KEY = 100
"""Longest key, in characters."""

MAX_CONTEXT_BYTES = 2_000
"""Longest stored text of a context, in bytes of UTF-8."""

NOTHING: Mapping[str, Any] = {}


def context_text(context: Mapping[str, Any]) -> str | None:
    """A context as it is stored: the JSON text of a flat object, keys sorted; None for an empty one.

    Args:
        context: Strings, numbers and booleans by key.

    Raises:
        ValueError: It is not flat, or beyond a bound; nothing of its values is in the message.
    """
    if not context:
        return None
    if len(context) > MAX_CONTEXT_KEYS:
        raise ValueError(f"must not have more than {MAX_CONTEXT_KEYS} keys (it has {len(context):,})")
    for key, value in context.items():
        if not isinstance(key, str) or not 0 < len(key) <= MAX_CONTEXT_KEY:
            raise ValueError(f"must have keys of 1 to {MAX_CONTEXT_KEY} characters")
        if not _is_plain(value):
            raise ValueError(f"must hold strings, finite numbers and booleans alone; {key!r} is none of them")
    text = json.dumps(dict(context), ensure_ascii=False, sort_keys=True)
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise ValueError("holds half of a surrogate pair, which is not valid Unicode") from None
    if size > MAX_CONTEXT_BYTES:
        raise ValueError(f"must not be longer than {MAX_CONTEXT_BYTES:,} bytes as JSON (it has {size:,})")
    return text


def plain_part(context: Mapping[str, Any]) -> dict[str, Any]:
    """Entries of a request's context that can be stored: strings, finite numbers and booleans."""
    return {key: value for key, value in context.items() if _is_plain(value)}


def context_of(text: str | None) -> dict[str, Any]:
    """The context of a stored text; empty where there is none."""
    return {} if text is None else dict(orjson.loads(text))


def _is_plain(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    # What reads them back, whatever it is, has numbers of 64 bits.
    return isinstance(value, str | bool) or (isinstance(value, int) and -(2**63) <= value < 2**63)


@dataclass(frozen=True, slots=True)
class Contexts:
    """Contexts of N events or queries: four bytes each, and every distinct text once.

    Attributes:
        codes: int32, shape (N,); -1 where nothing was said.
        texts: Distinct stored texts, sorted.
    """

    codes: Int32Array
    texts: pa.Array

    @classmethod
    def of(cls, column: pa.ChunkedArray) -> Self | None:
        """Those of a column of stored texts; None where nobody said anything.

        Args:
            column: Strings or a dictionary of strings, null or empty for none.
        """
        if column.null_count == len(column):
            return None
        if column.null_count:
            column = column.cast(pa.string()).fill_null("")
        texts, codes = encoded(column)
        order = pc.sort_indices(texts).to_numpy()
        said = texts.take(pa.array(order))
        empty = int(len(said) > 0 and said[0].as_py() == "")
        if len(said) == empty:
            return None
        rank = np.empty(len(order), dtype=np.int32)
        rank[order] = np.arange(len(order), dtype=np.int32) - empty
        return cls(rank[codes], said.slice(empty))

    def __len__(self) -> int:
        """N."""
        return len(self.codes)

    def said(self) -> Iterator[str | None]:
        """The stored text of each, in order."""
        return (None if code < 0 else self.texts[code].as_py() for code in self.codes.tolist())

    def take(self, chosen: Int64Array | BoolArray | slice) -> Contexts:
        """Those of some events, by their places."""
        return Contexts(self.codes[chosen], self.texts)

    def mappings(self) -> tuple[Mapping[str, Any], ...]:
        """Each as plugins get it, equal ones being one object."""
        distinct, places = np.unique(self.codes, return_inverse=True)
        read = [NOTHING if code < 0 else context_of(self.texts[code].as_py()) for code in distinct.tolist()]
        return tuple(read[place] for place in places.tolist())
