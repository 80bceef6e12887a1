"""What happened to the catalogue since a bundle was trained: new, changed, hidden, deleted and expired items.

Items that a bundle does not know have the rows behind its catalogue, in the order in which the store first
saw them. That order only ever grows at its end, so every replica that follows the same store gives an item
the same row, and a batch carries no more than the version that it was put together with.

Two things are kept apart because they cost differently. What must not be returned takes effect with the
very next batch. The catalogue itself, on which filters and rerankers are built anew, follows within a
fraction of a second.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Protocol

import numpy as np

from recserve.data.arrays import BoolArray, FloatArray, Int32Array
from recserve.data.batches import Queries
from recserve.data.catalogue import Catalogue
from recserve.data.columns.attributes import AttributeColumn
from recserve.data.columns.named_vectors import LaterVectors
from recserve.data.columns.strings import Amended
from recserve.data.entities import Item
from recserve.data.vocabulary import ExtendedVocabulary
from recserve.errors import StoreError
from recserve.serving.state.catalogue_rows import Bars, NewerVectors, SpaceSource, rows_with_newer
from recserve.store import ItemState

logger = logging.getLogger(__name__)

MOST_NEW_ITEMS = 50_000
"""More items than this are not served before they are part of a bundle."""

# The catalogue is put together anew at most this often, and at most this share of the time.
_REBUILD_SECONDS = 0.2
_REBUILD_SHARE = 0.1
_REBUILD_AT_LATEST = 1.0


class ItemSource(SpaceSource, Protocol):
    """The part of a store that is followed."""

    def item_changes(self, since: int, *, barred: bool = False) -> Sequence[ItemState]:
        """See :meth:`recserve.store.Store.item_changes`."""
        ...


class LiveCatalogue(Catalogue):
    """A bundle's catalogue with what changed, and new items in the rows behind it.

    ``vectors`` are the bundle's alone; :meth:`gather` knows those of all rows.

    Args:
        base: The bundle's catalogue.
        changed: Items of the bundle that have other attributes now, by row.
        new: Items that the bundle does not know.
        changed_vectors: Their vectors, by row, where there are any.
        new_vectors: float32, shape (len(new), d); zeros where an item is not encoded yet.
    """

    def __init__(
        self,
        base: Catalogue,
        changed: Mapping[int, Item],
        new: Sequence[Item],
        changed_vectors: Mapping[int, FloatArray],
        new_vectors: FloatArray,
    ) -> None:
        attributes = Amended(
            base.attributes_json,
            [_json(item) for item in new],
            {row: _json(item) for row, item in changed.items()},
        )
        super().__init__(ExtendedVocabulary(base.ids, [item.item_id for item in new]), attributes)
        self.vectors = base.vectors
        self._base = base
        self._overridden = frozenset(changed)
        self._changed_rows = np.fromiter(changed_vectors, dtype=np.int32)
        order = np.argsort(self._changed_rows)
        self._changed_rows = self._changed_rows[order]
        stacked = np.array(list(changed_vectors.values()), dtype=np.float32)
        self._changed_vectors = stacked.reshape(len(order), base.dimension)[order]
        self._new_vectors = new_vectors

    def item(self, row: int) -> Item:
        """The item of a row; those that did not change share the bundle's cache."""
        if row < len(self._base) and row not in self._overridden:
            return self._base.item(row)
        return super().item(row)

    @cached_property
    def attribute_names(self) -> frozenset[str]:
        """Every attribute name that occurs, those that only older versions of items had included."""
        return self._base.attribute_names.union(*(self.item(row).attributes for row in self._own_rows()))

    def columns(self, names: Iterable[str]) -> dict[str, AttributeColumn]:
        """Several attributes of all items: the bundle's, which are read once, and what is different now."""
        own = {row: self.item(row).attributes for row in self._own_rows()}
        return {
            name: column.amended({row: has.get(name) for row, has in own.items()}, len(self))
            for name, column in self._base.columns(names).items()
        }

    def _own_rows(self) -> Iterable[int]:
        return (*self._overridden, *range(len(self._base), len(self)))

    def gather(self, rows: Int32Array, extra: FloatArray | None = None) -> FloatArray:
        """Vectors of rows, those of changed and new items included; ``extra`` is not needed."""
        out = self._base.gather(rows, self._new_vectors)
        if len(self._changed_rows):
            place = np.searchsorted(self._changed_rows, rows).clip(max=len(self._changed_rows) - 1)
            hit = self._changed_rows[place] == rows
            out[hit] = self._changed_vectors[place[hit]]
        return out

    def products(
        self, rows: Int32Array, directions: FloatArray, extra: FloatArray | None = None
    ) -> FloatArray:
        """Inner products of vectors of rows with one direction a query, float32, shape (B, K)."""
        # Those of all items at once would be the bundle's.
        return self._products_one_by_one(rows, directions, extra)


def _json(item: Item) -> str:
    return json.dumps(dict(item.attributes), ensure_ascii=False)


@dataclass(frozen=True)
class CatalogueView:
    """The catalogue as of one version of the store.

    Attributes:
        version: The version; everything that it bars is barred.
        known: Items of the bundle; further rows are new items.
        catalogue: The catalogue, possibly a moment older than ``version``.
        vectors: float32, shape (M, d); vectors of new items, zeros where there is none yet.
        encoded: bool, shape (M,); which of them have one.
        changed: int32, shape (C,); rows of the bundle's items that have a new vector.
        changed_vectors: float32, shape (C, d). They are what they were where only a named vector is new.
        later: Vectors of named spaces that the bundle does not have, by space.
        rewritten: int32, shape (W,); rows of the bundle's items that have other attributes now.
        bars: What of the catalogue must not be returned.
    """

    version: int
    known: int
    catalogue: Catalogue
    vectors: FloatArray
    encoded: BoolArray
    changed: Int32Array
    changed_vectors: FloatArray
    rewritten: Int32Array
    bars: Bars
    later: Mapping[str, LaterVectors] = field(default_factory=dict)

    @classmethod
    def of(cls, catalogue: Catalogue) -> CatalogueView:
        """A bundle's catalogue as it was trained."""
        nothing = np.empty((0, catalogue.dimension), dtype=np.float32)
        return cls(
            version=-1,
            known=len(catalogue),
            catalogue=catalogue,
            vectors=nothing,
            encoded=np.empty(0, dtype=np.bool_),
            changed=np.empty(0, dtype=np.int32),
            changed_vectors=nothing,
            rewritten=np.empty(0, dtype=np.int32),
            bars=Bars.none(len(catalogue)),
        )

    def attach(self, queries: Queries) -> Queries:
        """The batch with the vectors of new items that its rows may name."""
        if self.later:
            queries = replace(queries, later_vectors=self.later)
        return replace(queries, extra_vectors=self.vectors) if len(self.vectors) else queries

    def readable(self, rows: Int32Array) -> BoolArray:
        """Which rows models can read: those of the bundle, and new items with a vector; shape of ``rows``."""
        new = rows >= self.known
        if not new.any():
            return ~new
        return ~new | self.encoded[np.where(new, rows - self.known, 0)]

    def encoded_rows(self) -> tuple[Int32Array, FloatArray]:
        """Rows and vectors, float32 (n, d), of what the bundle has no or another vector of."""
        new = np.flatnonzero(self.encoded)
        rows = np.concatenate([self.changed, new + self.known]).astype(np.int32)
        return rows, np.concatenate([self.changed_vectors, self.vectors[new]])

    def written_rows(self) -> Int32Array:
        """Rows of what the bundle does not hold, or not as it is now, int32."""
        new = np.arange(self.known, len(self.catalogue), dtype=np.int32)
        return np.concatenate([self.rewritten, new])


class CatalogueFollower:
    """Follows a store's catalogue for one bundle. Safe to use from several threads.

    Args:
        catalogue: The bundle's catalogue.
        source: The store.
        since: Catalogue version that the bundle was trained on; -1 if that is not known, and then all
            items of the store are compared with the bundle's.
        fingerprint: The bundle's encoder; vectors of other encoders do not count.
        spaces: Likewise of item encoders, by named space.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        source: ItemSource,
        since: int,
        fingerprint: str | None,
        spaces: Mapping[str, str] | None = None,
    ) -> None:
        self._base = catalogue
        self._source = source
        self._since = since
        self._fingerprint = fingerprint
        self._newer = NewerVectors(catalogue, source, spaces or {})
        self._lock = threading.Lock()
        self._states: dict[str, ItemState] = {}
        self._order: list[str] = []
        self._places: dict[str, int] = {}
        self._barred: set[str] = set()
        self._expiring: dict[str, int] = {}
        self._dirty = False
        self._rebuild_at = 0.0
        self.view = CatalogueView.of(catalogue)
        """The latest view."""

    @property
    def since(self) -> int:
        """Catalogue version that the bundle was trained on."""
        return self._since

    def at_least(self, version: int) -> CatalogueView:
        """A view that shows a version of the store or a later one.

        Raises:
            StoreError: The view is older and the store cannot be reached.
        """
        if self.view.version >= version and not self.due:
            return self.view
        with self._lock:
            if self.view.version < version:
                self._follow(version)
            if self.due:
                self._rebuild()
            return self.view

    def newest(self, version: int) -> CatalogueView:
        """Like :meth:`at_least`, but the view at hand when the store cannot be reached."""
        try:
            return self.at_least(version)
        except StoreError as error:
            logger.warning("the catalogue's changes cannot be read: %s", error)
            return self.view

    @property
    def due(self) -> bool:
        """Whether changes that were read are to be put into the view now, which :meth:`at_least` does."""
        return self._dirty and time.monotonic() >= self._rebuild_at

    def _follow(self, wanted: int) -> None:
        first = self.view.version < 0
        start = self._since if first else self.view.version
        changes = self._source.item_changes(start, barred=first)
        version = max([wanted, self._since, *(state.changed for state in changes)])
        if first and self._since < 0:
            changes = [state for state in changes if self._differs(state)]
        known = self._base.ids
        fresh = [
            state
            for state in changes
            if state.item.item_id not in known and state.item.item_id not in self._places
        ]
        fresh.sort(key=lambda state: (state.created, state.item.item_id))
        room = MOST_NEW_ITEMS - len(self._order)
        if len(fresh) > room:
            logger.warning(
                "%d new items are left out: a bundle is followed by at most %d; train again",
                len(fresh) - room,
                MOST_NEW_ITEMS,
            )
        for state in fresh[:room]:
            self._places[state.item.item_id] = len(self._order)
            self._order.append(state.item.item_id)
        for state in changes:
            self._note(state)
        # After the items: nothing is missed of what was written with them.
        named = self._newer.follow(start)
        self._dirty = self._dirty or bool(changes) or named
        if first:
            self._rebuild_at = 0.0
        # Rows are those of the catalogue at hand: what is not in it yet cannot be returned anyway.
        self.view = replace(self.view, version=version, bars=self.bars(len(self.view.catalogue)))

    def _differs(self, state: ItemState) -> bool:
        """Whether an item is not what the bundle holds."""
        row = self._base.ids.row(state.item.item_id)
        item = state.item
        if row < 0 or state.deleted or item.hidden or item.expires_at is not None:
            return True
        return dict(self._base.item(row).attributes) != dict(item.attributes)

    def _note(self, state: ItemState) -> None:
        item = state.item
        if item.item_id not in self._base.ids and item.item_id not in self._places:
            return
        self._states[item.item_id] = state
        self._barred.discard(item.item_id)
        self._expiring.pop(item.item_id, None)
        if state.deleted or item.hidden:
            self._barred.add(item.item_id)
        elif item.expires_at is not None:
            self._expiring[item.item_id] = item.expires_at

    def _row(self, item_id: str) -> int:
        row = self._base.ids.row(item_id)
        return row if row >= 0 else len(self._base) + self._places[item_id]

    def _known_row(self, item_id: str) -> int:
        """The row of an item, -1 for one that is not followed."""
        place = self._places.get(item_id)
        return self._base.ids.row(item_id) if place is None else len(self._base) + place

    def bars(self, size: int) -> Bars:
        """What must not be returned of the first ``size`` rows."""
        barred = np.zeros(size, dtype=np.bool_)
        rows = np.array([self._row(item_id) for item_id in self._barred], dtype=np.int64)
        barred[rows[rows < size]] = True
        expiring = [(self._row(item_id), moment) for item_id, moment in self._expiring.items()]
        expiring = [(row, moment) for row, moment in expiring if row < size]
        return Bars(
            barred,
            np.array([row for row, _ in expiring], dtype=np.int32),
            np.array([moment for _, moment in expiring], dtype=np.int64),
        )

    def _rebuild(self) -> None:
        """Put the catalogue together anew."""
        started = time.monotonic()
        dimension = self._base.dimension
        vectors = np.zeros((len(self._order), dimension), dtype=np.float32)
        encoded = np.zeros(len(self._order), dtype=np.bool_)
        changed: dict[int, Item] = {}
        changed_vectors: dict[int, FloatArray] = {}
        for item_id, state in self._states.items():
            place = self._places.get(item_id)
            usable = self._vector(state, dimension)
            if place is None:
                row = self._base.ids.row(item_id)
                if not state.deleted:
                    changed[row] = state.item
                    if usable is not None:
                        changed_vectors[row] = usable
            elif usable is not None and not state.deleted:
                vectors[place], encoded[place] = usable, True
        later = self._newer.rows(self._known_row)
        if self._base.vectors is not None:
            for row in rows_with_newer(later, len(self._base)):
                changed_vectors.setdefault(row, np.asarray(self._base.vectors[row], dtype=np.float32))
        catalogue = LiveCatalogue(
            self._base,
            changed,
            [self._states[item_id].item for item_id in self._order],
            changed_vectors,
            vectors,
        )
        rows = np.fromiter(changed_vectors, dtype=np.int32)
        self.view = replace(
            self.view,
            catalogue=catalogue,
            vectors=vectors,
            encoded=encoded,
            changed=rows,
            changed_vectors=np.array(list(changed_vectors.values()), dtype=np.float32).reshape(
                len(rows), dimension
            ),
            rewritten=np.fromiter(changed, dtype=np.int32),
            bars=self.bars(len(catalogue)),
            later=later,
        )
        self._dirty = False
        took = time.monotonic() - started
        pause = min(max(_REBUILD_SECONDS, took / _REBUILD_SHARE), _REBUILD_AT_LATEST)
        self._rebuild_at = time.monotonic() + pause

    def _vector(self, state: ItemState, dimension: int) -> FloatArray | None:
        if state.vector is None or state.fingerprint != self._fingerprint or len(state.vector) != dimension:
            return None
        return state.vector
