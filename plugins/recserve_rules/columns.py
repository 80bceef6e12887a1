"""Catalogue attributes as typed arrays, read once and shared by all rules of a catalogue."""

from __future__ import annotations

import difflib
import math
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from functools import cached_property
from threading import RLock
from typing import Any, ClassVar, Literal
from weakref import WeakKeyDictionary, ref

import numpy as np
from numpy.typing import NDArray

from recserve import Catalogue, ConfigError

BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]

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
    inside a list is present but equals nothing.

    Args:
        name: Name of the attribute.
        values: The JSON value of each item, None where it has none.
    """

    def __init__(self, name: str, values: Sequence[Any]) -> None:
        count = len(values)
        self.name = name
        self.present: BoolArray = np.zeros(count, dtype=np.bool_)
        self.numbers: NDArray[np.float64] = np.full(count, np.nan)
        self.flags: NDArray[np.int8] = np.full(count, -1, dtype=np.int8)
        self.is_list: BoolArray = np.zeros(count, dtype=np.bool_)
        self._text_codes: NDArray[np.int32] = np.full(count, -1, dtype=np.int32)
        self._codes: dict[tuple[Kind, Scalar], int] = {}
        lengths = np.zeros(count, dtype=np.int64)
        flat = array("i")
        for row, value in enumerate(values):
            if value is None or value != value:
                continue
            self.present[row] = True
            if isinstance(value, list):
                self.is_list[row] = True
                codes = dict.fromkeys(self._encode(one) for one in value if _is_scalar(one))
                flat.extend(codes)
                lengths[row] = len(codes)
            elif _is_scalar(value):
                code = self._encode(value)
                self._set_scalar(row, value, code)
                flat.append(code)
                lengths[row] = 1
        self.offsets: IntArray = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        self.members: NDArray[np.int32] = np.array(flat, dtype=np.int32)

    def _encode(self, value: Scalar) -> int:
        return self._codes.setdefault((kind_of(value), value), len(self._codes))

    def _set_scalar(self, row: int, value: Scalar, code: int) -> None:
        if isinstance(value, str):
            self._text_codes[row] = code
        elif isinstance(value, bool):
            self.flags[row] = value
        else:
            self.numbers[row] = _as_float(value)

    def __len__(self) -> int:
        return len(self.present)

    @cached_property
    def kinds(self) -> frozenset[Kind]:
        """Kinds of value that occur, of an item or inside its list."""
        found: set[Kind] = {kind for kind, _ in self._codes}
        return frozenset(found | {"lists"}) if self.is_list.any() else frozenset(found)

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
        """Distinct strings in order, and the place of each item's, -1 where it has none."""
        used = frozenset(np.unique(self._text_codes).tolist())
        texts = sorted(
            (value, code)
            for (_, value), code in self._codes.items()
            if code in used and isinstance(value, str)
        )
        # The last entry is that of items without a string.
        places = np.full(len(self._codes) + 1, -1, dtype=np.int64)
        places[[code for _, code in texts]] = np.arange(len(texts))
        return [text for text, _ in texts], places[self._text_codes]

    def compare_text(self, text: str) -> tuple[NDArray[np.int8], BoolArray]:
        """How each item's string sorts against ``text``.

        Returns:
            int8, shape (n,): negative if it sorts before, 0 if equal, positive if after; and whether the
            item has a string at all, bool, shape (n,).
        """
        distinct, places = self._sorted_texts
        place = bisect_left(distinct, text)
        equal = place < len(distinct) and distinct[place] == text
        order = np.where(places < place, -1, np.where((places == place) & equal, 0, 1))
        return order.astype(np.int8), places >= 0

    @property
    def categories(self) -> int:
        """How many distinct values there are, list elements counted one by one."""
        return len(self._codes)

    def code(self, value: Scalar) -> int:
        """Code of a value in :attr:`members`, -1 if no item has it."""
        return self._codes.get((kind_of(value), value), -1)

    def having(self, values: Iterable[Scalar]) -> BoolArray:
        """Items that equal one of these values or hold one in their list, bool, shape (n,)."""
        codes = [code for code in map(self.code, values) if code >= 0]
        hits = np.concatenate([[0], np.cumsum(np.isin(self.members, codes))])
        return np.asarray(hits[self.offsets[1:]] > hits[self.offsets[:-1]])

    def padded(self, rows: NDArray[np.int32]) -> IntArray:
        """Codes of the values of many items.

        Args:
            rows: int32, any shape; rows outside of the catalogue have no values.

        Returns:
            int64, shape ``rows.shape + (V,)`` where V is the most values one of them has (at least 1);
            -1 pads.
        """
        inside = (rows >= 0) & (rows < len(self))
        safe = np.where(inside, rows, 0) if len(self) else np.zeros_like(rows)
        offsets = self.offsets if len(self) else np.zeros(2, dtype=np.int64)
        lengths = np.where(inside, offsets[safe + 1] - offsets[safe], 0)
        width = max(1, int(lengths.max(initial=0)))
        spread = np.arange(width)
        index = np.minimum(offsets[safe][..., None] + spread, max(len(self.members) - 1, 0))
        codes = self.members[index].astype(np.int64) if len(self.members) else np.zeros_like(index)
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
                self._columns.update({name: Column(name, values) for name, values in read.items()})

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


def nearest(name: str, valid: Iterable[str]) -> str:
    """A hint such as ``; did you mean 'genres'? (known: genres, title, year)``, of bounded length."""
    known = sorted(valid)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    shown = ", ".join(known[:20]) + (", ..." if len(known) > 20 else "")
    return f"{hint} (known: {shown})" if known else hint
