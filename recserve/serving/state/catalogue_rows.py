"""Rows of a catalogue that is followed: which must not be returned, and which have newer named vectors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from recserve.data.arrays import BoolArray, FloatArray, Int32Array, Int64Array
from recserve.data.catalogue import Catalogue
from recserve.data.columns.named_vectors import LaterVectors, unit_rows
from recserve.store import SpaceVector


@dataclass(frozen=True)
class Bars:
    """Items that must not be returned.

    Attributes:
        barred: bool, shape (n,); hidden and deleted items.
        expiring: int32, shape (E,); rows of items that expire.
        expiries: int64, shape (E,); when, milliseconds since the epoch.
    """

    barred: BoolArray
    expiring: Int32Array
    expiries: Int64Array

    @classmethod
    def none(cls, size: int) -> Bars:
        """Every item may be returned."""
        barred = np.zeros(size, dtype=np.bool_)
        return cls(barred, np.empty(0, dtype=np.int32), np.empty(0, dtype=np.int64))

    def served(self, now: int) -> BoolArray | None:
        """Which items may be returned, bool, shape (n,); None for all.

        Args:
            now: The present, milliseconds since the epoch.
        """
        expired = self.expiring[self.expiries <= now]
        if not len(expired) and not self.barred.any():
            return None
        served = ~self.barred
        served[expired] = False
        return served


class SpaceSource(Protocol):
    """The part of a store that named vectors are followed by."""

    def space_changes(self, since: int) -> Sequence[SpaceVector]:
        """See :meth:`recserve.store.Store.space_changes`."""
        ...


class NewerVectors:
    """Vectors of a bundle's named spaces that came or changed since it was trained.

    Args:
        base: The bundle's catalogue.
        source: The store.
        fingerprints: Of the item encoders of spaces that have one; vectors of others count only if they were
            given.
    """

    def __init__(self, base: Catalogue, source: SpaceSource, fingerprints: Mapping[str, str]) -> None:
        self._base = base
        self._source = source
        self._fingerprints = fingerprints
        self._by_id: dict[str, dict[str, FloatArray | None]] = {name: {} for name in base.spaces}

    def follow(self, since: int) -> bool:
        """Read what changed after version ``since``; returns whether anything did.

        Raises:
            StoreError: The store cannot be reached.
        """
        if not self._by_id:
            return False
        found = False
        for change in self._source.space_changes(since):
            space = self._base.spaces.get(change.space)
            if space is None or change.fingerprint not in ("", self._fingerprints.get(change.space)):
                continue
            vector = change.vector
            # One of another width was written under another configuration.
            usable = vector if vector is not None and len(vector) == space.shape[1] else None
            self._by_id[change.space][change.item_id] = usable
            found = True
        return found

    def rows(self, row_of: Callable[[str], int]) -> dict[str, LaterVectors]:
        """What is newer than the bundle, by space; those without anything are left out.

        Args:
            row_of: The row of an item by its id, -1 for one that the catalogue does not have.
        """
        made = {}
        for name, by_id in self._by_id.items():
            space = self._base.spaces[name]
            found: dict[int, FloatArray] = {}
            for item_id, vector in by_id.items():
                row = row_of(item_id)
                given = np.zeros(space.shape[1], dtype=np.float32) if vector is None else vector
                unit = unit_rows(given[None])[0]
                known = space[row] if 0 <= row < len(space) else np.zeros_like(unit)
                if row >= 0 and not np.allclose(unit, known, atol=1e-6):
                    found[row] = unit
            if found:
                order = sorted(found)
                vectors = np.array([found[row] for row in order], dtype=np.float32)
                made[name] = LaterVectors(np.array(order, dtype=np.int32), vectors)
        return made


def rows_with_newer(later: Mapping[str, LaterVectors], known: int) -> list[int]:
    """Rows of a bundle's first ``known`` items that have a newer vector in any space, ascending."""
    rows = {row for one in later.values() for row in one.rows.tolist()}
    return sorted(row for row in rows if row < known)
