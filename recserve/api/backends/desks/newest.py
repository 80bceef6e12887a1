"""The newest items of the catalogue, by a time that is an attribute of theirs."""

from __future__ import annotations

import asyncio
import threading
import time
import weakref
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

import numpy as np

from recserve.api.schemas.recommend_request import parse_timestamp
from recserve.data.arrays import BoolArray, Int64Array
from recserve.data.catalogue import Catalogue
from recserve.data.columns.attributes import AttributeColumn
from recserve.data.entities import now_ms
from recserve.serving.pipeline import Pipeline
from recserve.store import Store

_SHARE = 10
"""An order is kept for at least so many times as long as it took to make it."""


class DatedItem(NamedTuple):
    """One item with its time.

    Attributes:
        item_id: External item id.
        timestamp: Its time, milliseconds since the epoch.
    """

    item_id: str
    timestamp: int


class _Order(NamedTuple):
    """Rows of the items that have a time, newest first, and what they were read from.

    Rows of one bundle never change their meaning, so an order fits later catalogues of it too.
    """

    bundle: str
    attribute: str
    catalogue: weakref.ref[Catalogue]
    rows: Int64Array
    times: Int64Array
    good_until: float


class NewestItems:
    """Finds the newest items that may be returned.

    The order of a catalogue is made once. After a change of the catalogue it is made anew, but a tenth of the
    time at most goes into that; hidden, deleted and expired items are left out at once.

    Args:
        pipeline: The pipeline in service.
        store: Says which version of the catalogue there is.
    """

    def __init__(self, pipeline: Callable[[], Pipeline], store: Store) -> None:
        self._pipeline = pipeline
        self._store = store
        self._lock = threading.Lock()
        self._order: _Order | None = None

    async def find(
        self,
        attribute: str,
        n: int,
        *,
        within: tuple[str, Collection[str]] = ("", ()),
        exclude: Collection[str] = (),
    ) -> Sequence[DatedItem]:
        """The ``n`` newest items, newest first; those without a time are left out.

        Args:
            attribute: Attribute with the time: ISO 8601, or seconds or milliseconds since the epoch.
            n: How many, at most.
            within: An attribute, and values that it must hold, all of them.
            exclude: Ids that are left out.

        Raises:
            NotReadyError: There is no bundle yet.
        """
        return await asyncio.to_thread(self._find, attribute, n, within, frozenset(exclude))

    def _find(
        self, attribute: str, n: int, within: tuple[str, Collection[str]], exclude: frozenset[str]
    ) -> list[DatedItem]:
        pipeline = self._pipeline()
        view = pipeline.live.newest(self._store.pulse().catalogue)
        catalogue = view.catalogue
        order = self._ordered(pipeline.context.bundle, catalogue, attribute)
        keep = np.ones(len(order.rows), dtype=np.bool_)
        served = view.bars.served(now_ms())
        if served is not None:
            keep &= served[order.rows]
        name, values = within
        if values:
            keep &= _holding(catalogue.column(name), values)[order.rows]
        found: list[DatedItem] = []
        for place in np.flatnonzero(keep):
            if len(found) == n:
                break
            item_id = catalogue.ids.ids[int(order.rows[place])]
            if item_id not in exclude:
                found.append(DatedItem(item_id, int(order.times[place])))
        return found

    def _ordered(self, bundle: str, catalogue: Catalogue, attribute: str) -> _Order:
        with self._lock:
            order, started = self._order, time.monotonic()
            if (
                order is not None
                and (order.bundle, order.attribute) == (bundle, attribute)
                and (order.catalogue() is catalogue or started < order.good_until)
            ):
                return order
            times = _times(catalogue.column(attribute))
            rows = np.flatnonzero(times >= 0)
            rows = rows[np.argsort(-times[rows], kind="stable")]
            ended = time.monotonic()
            self._order = _Order(
                bundle,
                attribute,
                weakref.ref(catalogue),
                rows,
                times[rows],
                ended + _SHARE * (ended - started),
            )
            return self._order


def _times(column: AttributeColumn) -> Int64Array:
    """Milliseconds since the epoch of each item, int64, shape (n,); -1 where there is no time."""
    values = np.fromiter((_time(value) for value in column.values), dtype=np.int64, count=len(column.values))
    return np.asarray(values[column.codes], dtype=np.int64)


def _time(value: object) -> int:
    try:
        parsed = parse_timestamp(value)
    except (ValueError, OverflowError):
        return -1
    return parsed if isinstance(parsed, int) else -1


def _holding(column: AttributeColumn, wanted: Collection[str]) -> BoolArray:
    """Which items hold all of some values, as a list or as their only one; bool, shape (n,)."""
    holds = [
        all(value in (held if isinstance(held, list) else [held]) for value in wanted)
        for held in column.values
    ]
    return np.asarray(np.array(holds, dtype=np.bool_)[column.codes], dtype=np.bool_)
