"""Reads for each batch what the store knows: histories, profiles, and what happened to the catalogue.

A store that fails or is late is not asked again until it answers a ping. Meanwhile batches go on with what
was read last: histories of recently served users, and the catalogue as it was.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from recserve.data.arrays import Int64Array
from recserve.errors import StoreError
from recserve.serving.state.live_catalogue import CatalogueFollower, CatalogueView
from recserve.serving.state.user_cache import UNKNOWN_USER, UserCache, UserState
from recserve.store import Changes, EventStore, History, ItemStore, People, Position, Pulse, UserStore

logger = logging.getLogger(__name__)

_THREADS = 4
_PROBE_SECONDS = 0.25
_TRIALS_SECONDS = 1.0


class ServingStore(EventStore, ItemStore, UserStore, Protocol):
    """The part of a :class:`recserve.store.Store` that serving needs."""

    def people(
        self, user_ids: Sequence[str], limit: int, known: Mapping[str, History] | None = None
    ) -> People:
        """See :meth:`recserve.store.Store.people`."""
        ...

    def version(self) -> int | None:
        """See :meth:`recserve.store.Store.version`."""
        ...

    def changes(self, since: Position | None = None) -> Changes | None:
        """See :meth:`recserve.store.Store.changes`."""
        ...

    def ping(self) -> None:
        """See :meth:`recserve.store.Store.ping`."""
        ...


@dataclass(frozen=True)
class TrialCounts:
    """Trials of the new items of a view.

    Attributes:
        shown: int64, shape (M,).
        clicked: int64, shape (M,).
    """

    shown: Int64Array
    clicked: Int64Array

    @classmethod
    def none(cls, size: int) -> TrialCounts:
        """No trials of ``size`` new items."""
        return cls(np.zeros(size, dtype=np.int64), np.zeros(size, dtype=np.int64))

    def over(self, size: int) -> TrialCounts:
        """These counts for ``size`` new items: further ones have none."""
        missing = (0, max(size - len(self.shown), 0))
        return TrialCounts(np.pad(self.shown, missing)[:size], np.pad(self.clicked, missing)[:size])


@dataclass(frozen=True)
class Reading:
    """What a batch goes by.

    Attributes:
        people: What is known of each user.
        trials: Trials of new items.
        deletions: Deletions of people that had been followed when this was read.
        lost: The store could not be read; the rest is what was known last.
    """

    people: Mapping[str, UserState]
    trials: TrialCounts
    deletions: int
    lost: bool = False

    def person(self, user_id: str | None) -> UserState:
        """Who asks; a stranger without an id."""
        return UNKNOWN_USER if user_id is None else self.people[user_id]


class StoreReader:
    """Reads a store for one pipeline, and does without it when it is down.

    Args:
        store: The store.
        live: Follows its catalogue.
        limit: Newest events of a user that count.
        deadline: Seconds that a read may take.
        known: What was known last; shared by the pipelines of a process.
    """

    def __init__(
        self,
        store: ServingStore,
        live: CatalogueFollower,
        limit: int,
        deadline: float,
        known: UserCache | None = None,
    ) -> None:
        self.store = store
        self.live = live
        self.known = known or UserCache()
        self._limit = limit
        self._deadline = deadline
        # Threads of its own: a store that hangs must not take those that stages need.
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="store-reader")
        self._trials: tuple[float, TrialCounts] = (0.0, TrialCounts.none(0))
        self._version: int | None = None
        self._probe: asyncio.Task[None] | None = None

    @property
    def down(self) -> bool:
        """Whether the store is being waited for."""
        return self._probe is not None and not self._probe.done()

    async def read(self, user_ids: Sequence[str], *, trials: bool = False) -> Reading:
        """Read for a batch of users; never fails.

        Args:
            user_ids: Distinct users.
            trials: Also the trials of new items.
        """
        if not self.down:
            if not trials and (at_hand := self._at_hand(user_ids)) is not None:
                return at_hand
            loop = asyncio.get_running_loop()
            work = loop.run_in_executor(self._threads, self._read, user_ids, trials)
            try:
                async with asyncio.timeout(self._deadline):
                    return await work
            except StoreError as error:
                self._mark_down(error.message)
            except TimeoutError:
                self._mark_down(f"no answer within {self._deadline:g} s")
        deletions = self.known.deletions or 0  # first: who is forgotten in between was deleted later
        remembered = {user_id: self.known.get(user_id) for user_id in user_ids}
        return Reading(remembered, self._trials[1], deletions, lost=True)

    def _at_hand(self, user_ids: Sequence[str]) -> Reading | None:
        """What is known, if nothing was committed since it was read: no thread and no query is needed."""
        if self._version is None or self._version != self.store.version() or self.live.due:
            return None
        deletions, people = self.known.deletions or 0, self.known.current(user_ids)
        return Reading(people, TrialCounts.none(0), deletions) if len(people) == len(user_ids) else None

    def _read(self, user_ids: Sequence[str], trials: bool) -> Reading:
        version = self.store.version()  # before the reads: they see all of it, and possibly more
        changes = self.store.changes(self.known.position)
        deletions = None if changes is None else changes.pulse.deletions
        people: dict[str, UserState] = {}
        view = self.live.view
        if changes is not None:
            self.known.follow(changes)
            view = self._follow(changes.pulse)
            people = self.known.current(user_ids)
        others = [user_id for user_id in user_ids if user_id not in people]
        if others or changes is None:
            known = {user_id: self.known.get(user_id) for user_id in others}
            histories = {user_id: person.history for user_id, person in known.items()}
            found = self.store.people(others, self._limit, histories)
            deletions = found.pulse.deletions if deletions is None else deletions
            view = self._follow(found.pulse)
            read = {
                user_id: known[user_id].now(history, found.users.get(user_id))
                for user_id, history in found.histories.items()
            }
            people |= read
            # Otherwise somebody was deleted meanwhile, possibly one of these.
            if self.known.deletions == found.pulse.deletions:
                for user_id, person in read.items():
                    self.known.put(user_id, person, None if changes is None else changes.position)
        self._version = version
        counts = self._read_trials(view) if trials else TrialCounts.none(0)
        return Reading(people, counts, deletions or 0)

    def _follow(self, pulse: Pulse) -> CatalogueView:
        """Forget whom the store has forgotten, and catch up with the catalogue."""
        self._follow_deletions(pulse.deletions)
        return self.live.at_least(pulse.catalogue)

    def _follow_deletions(self, number: int) -> None:
        known = self.known
        if known.deletions is not None and number > known.deletions:
            for deletion in self.store.deletions(known.deletions):
                known.forget(deletion.user_key)
        known.deletions = max(number, known.deletions or 0)

    def _read_trials(self, view: CatalogueView) -> TrialCounts:
        due, counts = self._trials
        new = len(view.encoded)
        if time.monotonic() < due and len(counts.shown) == new:
            return counts
        counts = TrialCounts.none(new)
        if new:
            ids = view.catalogue.ids.ids[view.known :]
            places = {item_id: place for place, item_id in enumerate(ids)}
            for item_id, trial in self.store.trials(ids).items():
                counts.shown[places[item_id]] = trial.shown
                counts.clicked[places[item_id]] = trial.clicked
        self._trials = (time.monotonic() + _TRIALS_SECONDS, counts)
        return counts

    def _mark_down(self, reason: str) -> None:
        if not self.down:
            logger.error("the store is down, going on with what is known: %s", reason)
            self._probe = asyncio.get_running_loop().create_task(self._wait_for_store())

    async def _wait_for_store(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_PROBE_SECONDS)
            try:
                await loop.run_in_executor(self._threads, self.store.ping)
            except StoreError:
                continue
            logger.info("the store answers again")
            return
