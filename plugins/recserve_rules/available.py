"""The filter ``available``."""

from __future__ import annotations

import logging
import time
from bisect import bisect_right
from collections.abc import Callable
from zoneinfo import ZoneInfo

import numpy as np

from recserve import Catalogue
from recserve_rules import AvailableParams
from recserve_rules.columns import BoolArray, nearest
from recserve_rules.dates import FloatArray, moments

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
        self._starts = np.full(len(catalogue), -np.inf)
        self._ends = np.full(len(catalogue), np.inf)
        zone = ZoneInfo(params.timezone)
        for name, end in ((params.start, False), (params.end, True), (params.expiry, True)):
            if name is None:
                continue
            read, unreadable = moments(catalogue.column(name), zone, end=end)
            self._narrow(read, end)
            if unreadable:
                self._ends[unreadable] = -np.inf
                first = catalogue.item(unreadable[0])
                logger.warning(
                    "filter 'available': %d items are withheld because their %r is no moment, the first is "
                    "%r with %r",
                    len(unreadable),
                    name,
                    first.item_id,
                    first.attributes[name],
                )
        self._warn_of_slips(params, catalogue)
        named = np.concatenate([self._starts, self._ends])
        self._changes: list[float] = np.unique(named[np.isfinite(named)]).tolist()
        self._always = not self._changes and bool((self._ends > self._starts).all())
        self._current: tuple[int, BoolArray] | None = None

    def allowed(self, argument: None) -> BoolArray | None:
        """The items that are available now.

        Returns:
            bool, shape (n_items,), or None when nothing ever starts or ends.
        """
        if self._always:
            return None
        now = self._clock() * 1000.0
        interval = bisect_right(self._changes, now)
        current = self._current
        if current is None or current[0] != interval:
            current = self._current = (interval, (self._starts <= now) & (now < self._ends))
        return current[1]

    def _narrow(self, read: FloatArray, end: bool) -> None:
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
