"""The filter ``available``: items within their dates of availability."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from zoneinfo import ZoneInfo

import numpy as np

from recserve import BoolArray, Catalogue, Float64Array, nearest
from recserve_rules.expressions.dates import moments
from recserve_rules.parameters import AvailableParams

logger = logging.getLogger(__name__)


class AvailableFilter:
    """Allows items while they are available: from <= now < until, and now < expiry.

    The mask changes only at the moments that items name, so it is computed once for each interval between two
    of them and is exact at every call. An item whose moment cannot be read is not available: an end date
    that is misspelt must not keep an item on sale.

    Args:
        params: Names of the attributes.
        catalogue: The items.
        clock: Seconds since the epoch.
    """

    ttl_seconds: float = 0.0
    """How long a mask may be cached by whoever calls: not at all, see above."""

    def __init__(
        self, params: AvailableParams, catalogue: Catalogue, clock: Callable[[], float] = time.time
    ) -> None:
        self._clock = clock
        bounds = [(params.start, False), (params.end, True), (params.expiry, True)]
        columns = catalogue.columns(name for name, _ in bounds if name is not None)
        self._warn_of_slips(params, catalogue)
        named = [
            (name, end) for name, end in bounds if name is not None and name in catalogue.attribute_names
        ]
        # Where no item names a moment there is nothing to keep of each.
        size = len(catalogue) if named else 0
        self._starts = np.full(size, -np.inf)
        self._ends = np.full(size, np.inf)
        for name, end in named:
            read, unreadable = moments(columns[name], ZoneInfo(params.timezone), end=end)
            self._narrow(read, end)
            if len(unreadable):
                self._ends[unreadable] = -np.inf
                first = catalogue.item(int(unreadable[0]))
                logger.warning(
                    "filter 'available': %d items are withheld because their %r is no moment, the first is "
                    "%r with %r",
                    len(unreadable),
                    name,
                    first.item_id,
                    first.attributes[name],
                )
        moments_named = np.concatenate([self._starts, self._ends])
        self._changes = np.unique(moments_named[np.isfinite(moments_named)])
        self._always = not len(self._changes) and bool((self._ends > self._starts).all())
        self._current: tuple[int, BoolArray] | None = None

    def allowed(self, argument: None) -> BoolArray | None:
        """The items that are available now.

        Returns:
            bool, shape (n_items,), or None when nothing ever starts or ends.
        """
        if self._always:
            return None
        now = self._clock() * 1000.0
        interval = int(np.searchsorted(self._changes, now, side="right"))
        current = self._current
        if current is None or current[0] != interval:
            current = self._current = (interval, (self._starts <= now) & (now < self._ends))
        return current[1]

    def _narrow(self, read: Float64Array, end: bool) -> None:
        known = ~np.isnan(read)
        if end:
            self._ends[known] = np.minimum(self._ends[known], read[known])
        else:
            self._starts[known] = np.maximum(self._starts[known], read[known])

    @staticmethod
    def _warn_of_slips(params: AvailableParams, catalogue: Catalogue) -> None:
        """An attribute chosen by hand that no item has may be a typing slip, or not there yet."""
        known = catalogue.attribute_names
        for field in sorted(params.model_fields_set & {"start", "end", "expiry"}):
            name = getattr(params, field)
            if name is not None and len(catalogue) and name not in known:
                logger.warning(
                    "filter 'available': no item has an attribute %r%s", name, nearest(name, known)
                )
