"""Counting of the days that are over by the server itself, so that no report has to."""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
import time
from collections.abc import Callable

from recserve.config import Config
from recserve.data.entities import now_ms
from recserve.errors import RecserveError
from recserve.outcomes.daily.rollup import Rollup
from recserve.store import Store

logger = logging.getLogger(__name__)

_FIRST_SECONDS = (20.0, 40.0)
_EVERY_SECONDS = (800.0, 1000.0)
_LEASE_MS = 3_600_000
_HOUR_MS = 3_600_000


class DayCounting:
    """Looks now and then whether a day is over, and has it counted.

    Of all replicas that look at once one counts: whoever has the store's lease.

    Args:
        store: The store.
        config: Its configuration.
        count: Counts what is due, blocking; returns how many days that were.
    """

    def __init__(self, store: Store, config: Config, count: Callable[[], int]) -> None:
        self._store = store
        self._config = config
        self._count = count
        self._holder = secrets.token_hex(8)

    async def run(self) -> None:
        """Look for ever; a store that is down is looked at again later."""
        if not self._config.outcomes.count_days:
            return
        wait = _FIRST_SECONDS
        while True:
            # Replicas that started together do not look together.
            await asyncio.sleep(random.uniform(*wait))
            wait = _EVERY_SECONDS
            try:
                await asyncio.to_thread(self.look, now_ms())
            except RecserveError as error:
                logger.warning("days cannot be counted now: %s", error)
            except Exception:  # whatever it is, later days are to be counted
                logger.exception("days cannot be counted now")

    def look(self, now: int) -> int:
        """Count what is due; returns how many days that were.

        Args:
            now: The present, milliseconds since the epoch.

        Raises:
            RecserveError: The store failed, or it took too long.
        """
        if not self._config.outcomes.counts_at(now // _HOUR_MS % 24):
            return 0
        if not Rollup(self._store, self._config, now=now).due():
            return 0
        if not self._store.lease("outcomes", self._holder, now + _LEASE_MS, now):
            return 0
        began = time.monotonic()
        counted = self._count()
        logger.info("outcomes of %d days were counted in %.1f s", counted, time.monotonic() - began)
        return counted
