"""The catalogue of one bundle: which items there are, in which row, with which vectors."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property

import numpy as np

from recserve.data.arrays import FloatArray, Int32Array
from recserve.data.columns.attributes import AttributeColumn, ColumnBuilder
from recserve.data.columns.named_vectors import LaterVectors, NamedVectors, vectors_in
from recserve.data.entities import Item
from recserve.data.system.compilation import KERNELS, compiled
from recserve.data.system.memory import give_back
from recserve.data.vocabulary import COMPACT_FROM, Vocabulary

PARSED_ITEMS = 50_000


class Catalogue:
    """Items of a bundle in row order.

    Args:
        ids: External item ids; row = position.
        attributes_json: A JSON object (text) for each item, parsed only when asked for.
        vectors: float32, shape (n_items, d), unit rows, possibly memory-mapped; None without an
            encoder.
        spaces: Vectors of named spaces beside those of texts, such as ``image``: float32, shape
            (n_items, d) with a d of each space, possibly memory-mapped; unit rows, zeros where an item has
            no vector.

    Raises:
        ValueError: Lengths differ or an id occurs twice.
    """

    def __init__(
        self,
        ids: Sequence[str] | Vocabulary = (),
        attributes_json: Sequence[str] | None = None,
        vectors: FloatArray | None = None,
        spaces: Mapping[str, FloatArray] | None = None,
    ) -> None:
        self.ids = ids if isinstance(ids, Vocabulary) else Vocabulary(ids)
        self._json = ["{}"] * len(self.ids) if attributes_json is None else attributes_json
        self.vectors = vectors
        self.spaces: Mapping[str, FloatArray] = {} if spaces is None else dict(spaces)
        self._parsed: dict[int, Item] = {}
        self._columns: dict[str, AttributeColumn] = {}
        self._names: frozenset[str] | None = None
        if len(self._json) != len(self.ids):
            raise ValueError(f"{len(self.ids)} ids but {len(self._json)} attribute objects")
        if vectors is not None and len(vectors) != len(self.ids):
            raise ValueError(f"{len(self.ids)} ids but {len(vectors)} vectors")
        for name, space in self.spaces.items():
            if len(space) != len(self.ids):
                raise ValueError(f"{len(self.ids)} ids but {len(space)} vectors of the space {name}")

    @classmethod
    def of(cls, items: Iterable[Item], vectors: FloatArray | None = None) -> Catalogue:
        """Build a catalogue from items, row = position."""
        listed = list(items)
        return cls(
            [item.item_id for item in listed],
            [json.dumps(dict(item.attributes), ensure_ascii=False) for item in listed],
            vectors,
        )

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def attributes_json(self) -> Sequence[str]:
        """The attributes of each item as JSON text, row order."""
        return self._json

    @property
    def dimension(self) -> int:
        """Length d of a vector, 0 without vectors."""
        return 0 if self.vectors is None else int(self.vectors.shape[1])

    def item(self, row: int) -> Item:
        """The item of a row, attributes parsed; the most wanted ones are kept parsed."""
        item = self._parsed.get(row)
        if item is None:
            item = Item(self.ids.ids[row], json.loads(self._json[row]))
            if len(self._parsed) >= PARSED_ITEMS:
                self._parsed.clear()
            self._parsed[row] = item
        return item

    def items(self) -> Iterator[Item]:
        """All items in row order."""
        return (
            Item(external, json.loads(attributes))
            for external, attributes in zip(self.ids, self._json, strict=True)
        )

    @cached_property
    def attribute_names(self) -> frozenset[str]:
        """Every attribute name that occurs."""
        self.columns(())
        assert self._names is not None
        return self._names

    def column(self, name: str) -> AttributeColumn:
        """One attribute of all items, None where an item lacks it."""
        return self.columns((name,))[name]

    def columns(self, names: Iterable[str]) -> dict[str, AttributeColumn]:
        """Several attributes of all items, read in one pass; those that were read before cost nothing."""
        wanted = list(dict.fromkeys(names))
        missing = [name for name in wanted if name not in self._columns]
        if self._names is None or not self._names.isdisjoint(missing):
            self._read_columns(missing)
        nothing = AttributeColumn.missing(len(self))
        return {name: self._columns.get(name, nothing) for name in wanted}

    def _read_columns(self, names: Sequence[str]) -> None:
        found: set[str] = set()
        builders = {name: ColumnBuilder() for name in names}
        for text in self._json:
            attributes = json.loads(text)
            found.update(attributes)
            for name, builder in builders.items():
                builder.append(attributes.get(name))
        # Threads that read the same column at once each read it, and any of the results will do.
        self._columns.update({name: built.column() for name, built in builders.items() if name in found})
        self._names = frozenset(found)
        if len(self) >= COMPACT_FROM:
            give_back()

    def with_vectors(self, vectors: FloatArray) -> Catalogue:
        """The same items with other vectors of their texts."""
        return Catalogue(self.ids, self._json, vectors, self.spaces)

    def with_spaces(self, spaces: Mapping[str, FloatArray]) -> Catalogue:
        """The same items with other named spaces."""
        return Catalogue(self.ids, self._json, self.vectors, spaces)

    def with_named(self, vectors: Mapping[str, NamedVectors]) -> Catalogue:
        """The same items with vectors that were given of some of them as their named spaces."""
        return self.with_spaces({name: named.over(self.ids) for name, named in vectors.items()})

    def gather_space(
        self, name: str, rows: Int32Array, later: Mapping[str, LaterVectors] | None = None
    ) -> FloatArray:
        """Vectors of rows in a named space.

        Args:
            name: One of :attr:`spaces`.
            rows: int32, any shape.
            later: What came after the bundle was trained, from :attr:`recserve.Queries.later_vectors`.

        Returns:
            float32, shape ``rows.shape + (d,)``; zeros where there is no vector.
        """
        return vectors_in(self.spaces[name], name, rows, later or {})

    def gather(self, rows: Int32Array, extra: FloatArray | None = None) -> FloatArray:
        """Vectors of rows, including live-encoded ones.

        Args:
            rows: int32, any shape; rows >= n_items read ``extra[row - n_items]``, negative rows and
                rows beyond both give zeros.
            extra: float32, shape (M, d), from ``Queries.extra_vectors``.

        Returns:
            float32, shape ``rows.shape + (d,)``.
        """
        if self.vectors is None:
            raise ValueError("this catalogue has no vectors")
        n_items = len(self)
        if rows.size and rows.min() >= 0 and rows.max() < n_items:
            return np.asarray(self.vectors[rows], dtype=np.float32)
        out = np.zeros((*rows.shape, self.dimension), dtype=np.float32)
        inside = (rows >= 0) & (rows < n_items)
        out[inside] = self.vectors[rows[inside]]
        if extra is not None and len(extra):
            live = (rows >= n_items) & (rows < n_items + len(extra))
            out[live] = extra[rows[live] - n_items]
        return out

    def products(
        self, rows: Int32Array, directions: FloatArray, extra: FloatArray | None = None
    ) -> FloatArray:
        """Inner products of vectors of rows with one direction a query.

        Args:
            rows: int32, shape (B, K); read as :meth:`gather` does.
            directions: float32, shape (B, d).
            extra: As for :meth:`gather`.

        Returns:
            float32, shape (B, K).
        """
        vectors = self.vectors
        kernels = compiled(KERNELS)
        if kernels is not None and vectors is not None and vectors.dtype == np.float32:
            out = np.zeros(rows.shape, dtype=np.float32)
            new = np.empty((0, self.dimension), dtype=np.float32) if extra is None else extra
            kernels.products(*map(np.ascontiguousarray, (vectors, new, rows, directions)), out)
            return out
        if vectors is not None and rows.size >= len(self) and rows.max(initial=-1) < len(self):
            # One product with every item reads less than so many rows, and in their order.
            found = np.take_along_axis(directions @ vectors.T, np.maximum(rows, 0), axis=1)
            return np.where(rows >= 0, found, np.float32(0))
        return self._products_one_by_one(rows, directions, extra)

    def _products_one_by_one(
        self, rows: Int32Array, directions: FloatArray, extra: FloatArray | None
    ) -> FloatArray:
        return np.asarray(np.matmul(self.gather(rows, extra), directions[:, :, None])[:, :, 0], np.float32)
