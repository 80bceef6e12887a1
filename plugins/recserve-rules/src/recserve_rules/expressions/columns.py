"""Catalogue attributes as typed arrays, read once and shared by all rules of a catalogue."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections.abc import Iterable
from functools import cached_property
from threading import RLock
from typing import Any, ClassVar, Literal
from weakref import WeakKeyDictionary, ref

import numpy as np
from numpy.typing import NDArray

from recserve import AttributeColumn, BoolArray, Catalogue, ConfigError, Int64Array, nearest

Scalar = str | float | bool
Kind = Literal["text", "numbers", "booleans", "lists"]


def kind_of(value: Scalar) -> Kind:
    """Which kind of value this is; a boolean is no number."""
    if isinstance(value, str):
        return "text"
    return "booleans" if isinstance(value, bool) else "numbers"


class Column:
    """One attribute of all items.

    Strings, numbers (NaN counts as missing), booleans and lists of these are understood; an object or a list
    inside a list is present but equals nothing. What can be asked is worked out for each distinct value, V of
    them; :meth:`of_items` makes it one entry an item.

    Args:
        name: Name of the attribute.
        column: What the catalogue says of it.

    Attributes:
        present: bool, shape (V,).
        numbers: float64, shape (V,); NaN for what is no number.
        flags: int8, shape (V,); 1 for true, 0 for false, -1 for what is no boolean.
    """

    def __init__(self, name: str, column: AttributeColumn) -> None:
        count = len(column.values)
        self.name = name
        self._codes = column.codes
        self.present: BoolArray = np.zeros(count, dtype=np.bool_)
        self.numbers: NDArray[np.float64] = np.full(count, np.nan)
        self.flags: NDArray[np.int8] = np.full(count, -1, dtype=np.int8)
        self._lists = False
        self._text_codes: NDArray[np.int32] = np.full(count, -1, dtype=np.int32)
        self._categories: dict[tuple[Kind, Scalar], int] = {}
        lengths = np.zeros(count, dtype=np.int64)
        flat = array("i")
        for place, value in enumerate(column.values):
            if value is None or value != value:
                continue
            self.present[place] = True
            if isinstance(value, list):
                self._lists = True
                members = dict.fromkeys(self._encode(member) for member in value if _is_scalar(member))
                flat.extend(members)
                lengths[place] = len(members)
            elif _is_scalar(value):
                category = self._encode(value)
                self._set_scalar(place, value, category)
                flat.append(category)
                lengths[place] = 1
        self._offsets: Int64Array = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        self._members: NDArray[np.int32] = np.array(flat, dtype=np.int32)

    def of_items(self, worked_out: NDArray[Any]) -> NDArray[Any]:
        """What was worked out for each value, shape (V,), for each item, shape (n,)."""
        return worked_out[self._codes]

    def _encode(self, value: Scalar) -> int:
        return self._categories.setdefault((kind_of(value), value), len(self._categories))

    def _set_scalar(self, place: int, value: Scalar, category: int) -> None:
        if isinstance(value, str):
            self._text_codes[place] = category
        elif isinstance(value, bool):
            self.flags[place] = value
        else:
            self.numbers[place] = _as_float(value)

    def __len__(self) -> int:
        return len(self._codes)

    @cached_property
    def kinds(self) -> frozenset[Kind]:
        """Kinds of value that occur, of an item or inside its list."""
        found: set[Kind] = {kind for kind, _ in self._categories}
        return frozenset(found | {"lists"}) if self._lists else frozenset(found)

    @cached_property
    def scalar_kinds(self) -> frozenset[Kind]:
        """Kinds of value that occur outside of lists."""
        occurs: dict[Kind, bool] = {
            "text": bool((self._text_codes >= 0).any()),
            "numbers": not bool(np.isnan(self.numbers).all()),
            "booleans": bool((self.flags >= 0).any()),
        }
        return frozenset(kind for kind, some in occurs.items() if some)

    @cached_property
    def _sorted_texts(self) -> tuple[list[str], NDArray[np.int64]]:
        """Distinct strings in order, and the place of each value among them, -1 where it is none."""
        used = frozenset(np.unique(self._text_codes).tolist())
        texts = sorted(
            (value, category)
            for (_, value), category in self._categories.items()
            if category in used and isinstance(value, str)
        )
        # The last entry is that of values that are no string.
        places = np.full(len(self._categories) + 1, -1, dtype=np.int64)
        places[[category for _, category in texts]] = np.arange(len(texts))
        return [text for text, _ in texts], places[self._text_codes]

    def compare_text(self, text: str) -> tuple[NDArray[np.int8], BoolArray]:
        """How each value sorts against ``text``.

        Returns:
            int8, shape (V,): negative if it sorts before, 0 if equal, positive if after; and whether it is
            a string at all, bool, shape (V,).
        """
        distinct, places = self._sorted_texts
        place = bisect_left(distinct, text)
        equal = place < len(distinct) and distinct[place] == text
        order = np.where(places < place, -1, np.where((places == place) & equal, 0, 1))
        return order.astype(np.int8), places >= 0

    @property
    def categories(self) -> int:
        """How many distinct values there are, list elements counted one by one."""
        return len(self._categories)

    def code(self, value: Scalar) -> int:
        """Code of a value in :meth:`padded`, -1 if no item has it."""
        return self._categories.get((kind_of(value), value), -1)

    def having(self, values: Iterable[Scalar]) -> BoolArray:
        """Which values equal one of these or hold one in their list, bool, shape (V,)."""
        codes = [code for code in map(self.code, values) if code >= 0]
        hits = np.concatenate([[0], np.cumsum(np.isin(self._members, codes))])
        return np.asarray(hits[self._offsets[1:]] > hits[self._offsets[:-1]])

    def padded(self, rows: NDArray[np.int32]) -> Int64Array:
        """Codes of the values of many items.

        Args:
            rows: int32, any shape; rows outside of the catalogue have no values.

        Returns:
            int64, shape ``rows.shape + (W,)`` where W is the most values one of them has (at least 1);
            -1 pads.
        """
        inside = (rows >= 0) & (rows < len(self))
        # The first value is that of items without one.
        places = np.where(inside, self._codes[np.where(inside, rows, 0)], 0) if len(self) else 0 * rows
        starts = self._offsets[places]
        lengths = self._offsets[places + 1] - starts
        width = max(1, int(lengths.max(initial=0)))
        spread = np.arange(width)
        index = np.minimum(starts[..., None] + spread, max(len(self._members) - 1, 0))
        codes = self._members[index].astype(np.int64) if len(self._members) else np.zeros_like(index)
        return np.where(spread < lengths[..., None], codes, -1)


def _is_scalar(value: Any) -> bool:
    return isinstance(value, (str, int, float)) and value == value


def _as_float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:  # JSON knows no limit on integers
        return math.inf if value > 0 else -math.inf


class Columns:
    """The attributes of one catalogue, each read when first asked for; safe to share between threads.

    Args:
        catalogue: The catalogue.
    """

    _shared: ClassVar[WeakKeyDictionary[Catalogue, Columns]] = WeakKeyDictionary()
    _shared_lock: ClassVar = RLock()

    def __init__(self, catalogue: Catalogue) -> None:
        # Columns are kept as long as their catalogue, which they must not keep alive.
        self._catalogue = ref(catalogue)
        self._size = len(catalogue)
        self._columns: dict[str, Column] = {}
        self._lock = RLock()

    @classmethod
    def of(cls, catalogue: Catalogue) -> Columns:
        """The columns of a catalogue, the same object each time."""
        with cls._shared_lock:
            known = cls._shared.get(catalogue)
            if known is None:
                known = cls._shared[catalogue] = cls(catalogue)
            return known

    def __len__(self) -> int:
        return self._size

    def __reduce__(self) -> tuple[object, ...]:
        """In another process, the columns of the catalogue there."""
        return Columns.of, (self._read(),)

    @property
    def names(self) -> frozenset[str]:
        """Every attribute name that occurs."""
        return self._read().attribute_names

    def load(self, names: Iterable[str]) -> None:
        """Read several columns in one pass over the catalogue; those already read cost nothing."""
        with self._lock:
            wanted = [name for name in dict.fromkeys(names) if name not in self._columns]
            if wanted:
                read = self._read().columns(wanted)
                self._columns.update({name: Column(name, column) for name, column in read.items()})

    def _read(self) -> Catalogue:
        catalogue = self._catalogue()
        if catalogue is None:
            raise RuntimeError("the catalogue of these columns is gone")
        return catalogue

    def __getitem__(self, name: str) -> Column:
        """The column of an attribute, of missing values only if no item has it."""
        known = self._columns.get(name)
        if known is None:
            self.load((name,))
            known = self._columns[name]
        return known

    def required(self, name: str, where: str) -> Column:
        """The column of an attribute that a standing rule names.

        Args:
            name: The attribute.
            where: The rule, for the message.

        Raises:
            ConfigError: No item has it (an empty catalogue has nothing to check against).
        """
        if len(self) and name not in self.names:
            raise ConfigError(f"{where}: no item has an attribute {name!r}{nearest(name, self.names)}")
        return self[name]
