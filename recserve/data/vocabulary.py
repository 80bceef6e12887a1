"""Vocabularies: ids by row and rows by id.

A million strings and a dict that finds them take 150 MB in every process. From :data:`COMPACT_FROM` ids on a
vocabulary keeps its ids as Arrow does, one after the other, and finds them by their hashes: 28 bytes an id
of 12 characters. Looking one up takes a microsecond or two instead of a quarter of one (many at once are as
fast), so small vocabularies keep the dict.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from recserve.data.arrays import Int32Array, Int64Array
from recserve.data.columns.strings import PART, Amended, Texts

COMPACT_FROM = 100_000
"""Vocabularies of fewer ids are a dict."""

# So many ids are found faster one by one.
_FEW = 8


class _Index(Protocol):
    """Protocol of an index: the row of an id."""

    def row(self, external: str) -> int:
        """The row of an id, -1 if unknown."""
        ...

    def rows(self, externals: Iterable[str]) -> Int32Array:
        """Rows of many ids, int32, -1 where unknown."""
        ...


class DictIndex:
    """Hash index of ids in a dict.

    Args:
        ids: Distinct ids.

    Raises:
        ValueError: An id occurs twice.
    """

    def __init__(self, ids: Sequence[str]) -> None:
        self._rows = {external: row for row, external in enumerate(ids)}
        if len(self._rows) != len(ids):
            raise _twice()

    def row(self, external: str) -> int:
        """The row of an id, -1 if unknown."""
        return self._rows.get(external, -1)

    def rows(self, externals: Iterable[str]) -> Int32Array:
        """Rows of many ids, int32, -1 where unknown."""
        get = self._rows.get
        return np.fromiter((get(external, -1) for external in externals), dtype=np.int32)


class HashIndex:
    """Sorted index of 64-bit hashes; an id that is found is compared with the id itself.

    Args:
        ids: Distinct ids.
        hashed: The hash, 64 bits. Python's own differs from process to process, so an index that is sent to
            another one is made anew there.

    Raises:
        ValueError: An id occurs twice.
    """

    def __init__(self, ids: Texts, hashed: Callable[[str], int] = hash) -> None:
        self._ids = ids
        self._hashed = hashed
        hashes = np.concatenate([self._hashes_of(part) for part in ids.parts()] or [self._hashes_of([])])
        order = np.argsort(hashes, kind="stable")
        self._hashes = hashes[order]
        self._rows = order.astype(np.int32)
        equal = np.flatnonzero(self._hashes[1:] == self._hashes[:-1])
        suspects = self._ids.take(self._rows[np.union1d(equal, equal + 1)])
        if len(set(suspects)) != len(suspects):
            raise _twice()

    def row(self, external: str) -> int:
        """The row of an id, -1 if unknown."""
        wanted = self._hashed(external)
        place = int(self._hashes.searchsorted(wanted))
        while place < len(self._hashes) and self._hashes[place] == wanted:
            row = int(self._rows[place])
            if self._ids[row] == external:
                return row
            place += 1
        return -1

    def rows(self, externals: Iterable[str]) -> Int32Array:
        """Rows of many ids, int32, -1 where unknown."""
        asked = list(externals)
        if len(asked) <= _FEW:
            return np.fromiter(map(self.row, asked), dtype=np.int32, count=len(asked))
        found = np.full(len(asked), -1, dtype=np.int32)
        for start in range(0, len(asked) if len(self._ids) else 0, PART):
            part = asked[start : start + PART]
            wanted = self._hashes_of(part)
            places = self._hashes.searchsorted(wanted).clip(max=len(self._hashes) - 1)
            hits = np.flatnonzero(self._hashes[places] == wanted)
            rows = self._rows[places[hits]]
            # The first of several ids of one hash need not be the right one: then each is compared.
            found[start + hits] = [
                row if known == part[hit] else self.row(part[hit])
                for hit, row, known in zip(hits.tolist(), rows.tolist(), self._ids.take(rows), strict=True)
            ]
        return found

    def _hashes_of(self, texts: Sequence[str]) -> Int64Array:
        return np.fromiter(map(self._hashed, texts), dtype=np.int64, count=len(texts))

    def __reduce__(self) -> tuple[Any, ...]:
        return HashIndex, (self._ids, self._hashed)


def _twice() -> ValueError:
    return ValueError("a vocabulary cannot hold the same id twice")


class Vocabulary:
    """A fixed two-way map between external ids and dense int32 rows.

    Args:
        ids: Distinct ids; the row of an id is its position.
        compact: Take little memory rather than little time; None does so from :data:`COMPACT_FROM` ids on.

    Attributes:
        ids: The ids in row order.

    Raises:
        ValueError: An id occurs twice, or one that is kept compactly cannot be written as UTF-8.
    """

    ids: Sequence[str]
    _index: _Index

    def __init__(self, ids: Iterable[str], *, compact: bool | None = None) -> None:
        known = ids if isinstance(ids, Texts) else tuple(ids)
        if len(known) >= COMPACT_FROM if compact is None else compact:
            self.ids = texts = Texts.of(known)
            self._index = HashIndex(texts)
        else:
            self.ids = strings = tuple(known)
            self._index = DictIndex(strings)

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[str]:
        return iter(self.ids)

    def __contains__(self, external: object) -> bool:
        return isinstance(external, str) and self.row(external) >= 0

    def row(self, external: str) -> int:
        """The row of an id, -1 if unknown."""
        return self._index.row(external)

    def rows(self, externals: Iterable[str]) -> Int32Array:
        """Rows of many ids, int32, -1 where unknown."""
        return self._index.rows(externals)


class ExtendedVocabulary(Vocabulary):
    """View of a vocabulary with further ids behind it, without a copy.

    Args:
        base: The vocabulary.
        new: Further distinct ids, none of them in ``base``.
    """

    def __init__(self, base: Vocabulary, new: Sequence[str]) -> None:
        self._base = base
        self._new = Vocabulary(new)
        self.ids = Amended(base.ids, self._new.ids)

    def row(self, external: str) -> int:
        """The row of an id, -1 if unknown."""
        row = self._base.row(external)
        if row < 0:
            behind = self._new.row(external)
            row = behind if behind < 0 else len(self._base) + behind
        return row

    def rows(self, externals: Iterable[str]) -> Int32Array:
        """Rows of many ids, int32, -1 where unknown."""
        asked = list(externals)
        rows = self._base.rows(asked)
        for place in np.flatnonzero(rows < 0).tolist():
            rows[place] = self.row(asked[place])
        return rows
