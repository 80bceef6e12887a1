"""Sequences of text that take less memory than a list of strings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from operator import index as whole
from typing import Any, TypeVar, overload

import numpy as np
import pyarrow as pa

from recserve.data.arrays import Int32Array

T = TypeVar("T")

PART = 8192
"""How many texts to have as strings at a time."""

# Larger blocks are a little smaller together, and take longer to unpack.
_BLOCK = 64
_NUL = "\0"
# What one Arrow array of text holds with offsets of 32 bits.
_LARGEST = 2**31 - 1


class Texts(Sequence[str]):
    """Sequence of texts in an Arrow array; an entry becomes a string at each access.

    Args:
        values: An Arrow array of text, in one piece or several.
    """

    def __init__(self, values: Any) -> None:
        if isinstance(values, pa.ChunkedArray):
            # In one piece, because pieces would have to be searched for each entry.
            values = values.cast(pa.large_string()) if values.nbytes > _LARGEST else values
            values = values.combine_chunks()
        self._values = values

    @classmethod
    def of(cls, texts: Iterable[str]) -> Texts:
        """Texts that are strings now.

        Raises:
            ValueError: One of them cannot be written as UTF-8.
        """
        return texts if isinstance(texts, Texts) else cls(pa.array(texts, pa.string()))

    def __len__(self) -> int:
        return len(self._values)

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> Texts: ...

    def __getitem__(self, index: int | slice) -> str | Texts:
        if isinstance(index, slice):
            return Texts(self._values[index])
        text: str = self._values[index].as_py()
        return text

    def __iter__(self) -> Iterator[str]:
        for part in self.parts():
            yield from part

    def parts(self) -> Iterator[list[str]]:
        """All of them, some thousands at a time."""
        for start in range(0, len(self), PART):
            yield self._values.slice(start, PART).to_pylist()

    def take(self, places: Int32Array) -> list[str]:
        """Those at some places."""
        # Not `pa.array`: that imports pandas where it is installed, and it takes 30 MB.
        memory = pa.py_buffer(np.ascontiguousarray(places, dtype=np.int32))
        wanted = pa.Array.from_buffers(pa.int32(), len(places), [None, memory])
        taken: list[str] = self._values.take(wanted).to_pylist()
        return taken

    def __arrow_array__(self, type: Any = None) -> Any:
        return self._values if type is None else self._values.cast(type)


class ReadOnlySequence(Sequence[T]):
    """Base class of read-only sequences; subclasses implement access by index."""

    @overload
    def __getitem__(self, index: int) -> T: ...

    @overload
    def __getitem__(self, index: slice) -> list[T]: ...

    def __getitem__(self, index: int | slice) -> T | list[T]:
        if isinstance(index, slice):
            return [self._at(place) for place in range(*index.indices(len(self)))]
        place = whole(index)
        if place < 0:
            place += len(self)
        if not 0 <= place < len(self):
            raise IndexError(f"no entry {index} among {len(self)}")
        return self._at(place)

    def _at(self, place: int) -> T:
        """The entry of a place from 0 on that there is."""
        raise NotImplementedError


class PackedTexts(ReadOnlySequence[str]):
    """Sequence of texts in LZ4 blocks; reading one unpacks its block, which takes some microseconds.

    Args:
        texts: Texts that hold no NUL, as no JSON does.

    Raises:
        ValueError: One holds a NUL, or cannot be written as UTF-8.
    """

    # One call each, without a state that threads would have to share.
    _codec = pa.Codec("lz4_raw")

    def __init__(self, texts: Iterable[str]) -> None:
        blocks: list[bytes] = []
        lengths: list[int] = []
        self._size = 0
        self._latest: tuple[int, list[str]] = (-1, [])
        rest = iter(texts)
        while block := list(islice(rest, _BLOCK)):
            raw = _NUL.join(block).encode()
            if raw.count(0) != len(block) - 1:
                raise ValueError("a text holds a NUL")
            blocks.append(self._codec.compress(raw, asbytes=True))
            lengths.append(len(raw))
            self._size += len(block)
        # One piece: thousands of small ones leave holes between them.
        self._packed = memoryview(b"".join(blocks))
        self._ends = np.cumsum([0, *map(len, blocks)])
        self._lengths = np.array(lengths, dtype=np.int64)

    def __len__(self) -> int:
        return self._size

    def _at(self, place: int) -> str:
        number, place = divmod(place, _BLOCK)
        latest = self._latest
        if latest[0] != number:
            latest = self._latest = (number, self._unpacked(number))
        return latest[1][place]

    def __iter__(self) -> Iterator[str]:
        for number in range(len(self._lengths)):
            yield from self._unpacked(number)

    def _unpacked(self, number: int) -> list[str]:
        packed = self._packed[self._ends[number] : self._ends[number + 1]]
        raw = self._codec.decompress(packed, int(self._lengths[number]))
        return str(raw, "utf-8").split(_NUL)


class Amended(ReadOnlySequence[str]):
    """View of a sequence with some entries replaced and further ones behind it, without a copy.

    Args:
        base: The other sequence.
        behind: The further entries.
        replaced: Other entries by place in ``base``.
    """

    def __init__(
        self, base: Sequence[str], behind: Sequence[str], replaced: Mapping[int, str] | None = None
    ) -> None:
        self._base = base
        self._behind = behind
        self._replaced = replaced or {}

    def __len__(self) -> int:
        return len(self._base) + len(self._behind)

    def _at(self, place: int) -> str:
        if place >= len(self._base):
            return self._behind[place - len(self._base)]
        replaced = self._replaced.get(place)
        return self._base[place] if replaced is None else replaced

    def __iter__(self) -> Iterator[str]:
        if self._replaced:
            get = self._replaced.get
            for place, text in enumerate(self._base):
                yield get(place, text)
        else:
            yield from self._base
        yield from self._behind
