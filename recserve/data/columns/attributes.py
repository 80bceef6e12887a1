"""One attribute of all items, each value kept once."""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from recserve.data.arrays import Int32Array
from recserve.data.columns.strings import Amended, PackedTexts, ReadOnlySequence
from recserve.data.vocabulary import COMPACT_FROM


class AttributeColumn(ReadOnlySequence[Any]):
    """One attribute of all items, dictionary-encoded as in Arrow: a sequence of JSON values.

    A million items have few categories, tags or prices. What is worked out for each entry of :attr:`values`
    holds for all items by one gather, ``worked_out[column.codes]``, which is much faster than a loop over
    the items and takes four bytes an item.

    Attributes:
        codes: int32, shape (n,): where in ``values`` the value of each item is; 0 for items without one.
        values: Values that occur, None first. Where items have changed since the bundle was trained, equal
            values may be two entries, and an entry may be what no item has any more.
    """

    def __init__(self, codes: Int32Array, values: Sequence[Any]) -> None:
        self.codes = codes
        self.values = values

    @classmethod
    def of(cls, values: Iterable[Any]) -> AttributeColumn:
        """The column of the JSON value of each item, None where it has none."""
        builder = ColumnBuilder()
        for value in values:
            builder.append(value)
        return builder.column()

    @classmethod
    def missing(cls, size: int) -> AttributeColumn:
        """The column of an attribute that none of so many items has; takes no memory."""
        return cls(np.broadcast_to(np.int32(0), size), (None,))

    def amended(self, replaced: Mapping[int, Any], size: int) -> AttributeColumn:
        """This column with other values in some rows.

        Args:
            replaced: The other values by row.
            size: Items of the new column, at least as many; new rows that are not in ``replaced`` have no
                value.
        """
        other = AttributeColumn.of(replaced.values())
        codes = np.zeros(size, dtype=np.int32)
        codes[: len(self)] = self.codes
        rows = np.fromiter(replaced, dtype=np.int64, count=len(replaced))
        # Code 0 stays that of nothing; the others follow those that are there.
        codes[rows] = np.where(other.codes > 0, other.codes + np.int32(len(self.values) - 1), 0)
        return AttributeColumn(codes, _joined(self.values, other.values[1:]))

    def __len__(self) -> int:
        return len(self.codes)

    def _at(self, place: int) -> Any:
        return self.values[int(self.codes[place])]

    def __iter__(self) -> Iterator[Any]:
        return map(list(self.values).__getitem__, self.codes.tolist())


class ColumnBuilder:
    """Builder of a column: encodes values one by one."""

    def __init__(self) -> None:
        self._codes = array("i")
        self._known: dict[Any, int] = {None: 0}
        self._values: list[Any] = [None]

    def append(self, value: Any) -> None:
        """Add the JSON value of the next item, None if it has none."""
        code = self._known.setdefault(_key(value), len(self._values))
        if code == len(self._values):
            self._values.append(value)
        self._codes.append(code)

    def column(self) -> AttributeColumn:
        """What was added so far."""
        values = self._values
        return AttributeColumn(
            np.array(self._codes, dtype=np.int32),
            _Packed(PackedTexts(map(json.dumps, values))) if len(values) >= COMPACT_FROM else tuple(values),
        )


class _Packed(ReadOnlySequence[Any]):
    """Packed values of a column with very many different ones: parsed at each access.

    Args:
        texts: The values as JSON.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = texts

    def __len__(self) -> int:
        return len(self.texts)

    def _at(self, place: int) -> Any:
        return json.loads(self.texts[place])

    def __iter__(self) -> Iterator[Any]:
        return map(json.loads, self.texts)


def _joined(values: Sequence[Any], further: Sequence[Any]) -> Sequence[Any]:
    if isinstance(values, _Packed):
        return _Packed(Amended(values.texts, list(map(json.dumps, further))))
    return (*values, *further)


def _key(value: Any) -> Any:
    """What two JSON values have in common that are alike; true is not 1, and 1 is not 1.0."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, list):
        return (list, *map(_key, value))
    if isinstance(value, dict):
        return (dict, json.dumps(value))
    # 0.0 equals -0.0.
    return (type(value), value, str(value)) if value == 0 else (type(value), value)
