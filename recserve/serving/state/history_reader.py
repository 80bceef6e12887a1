"""Reader of what a batch needs from the store: histories, profiles, impressions, and catalogue changes.

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

from recserve.data.arrays import FloatArray
from recserve.errors import StoreError
from recserve.serving.state.live_catalogue import CatalogueFollower, CatalogueView
from recserve.serving.state.trials import TrialCounts
from recserve.serving.state.user_cache import UNKNOWN_USER, UserCache, UserState
from recserve.store import Changes, EventStore, History, ItemStore, People, Position, Pulse, UserStore

logger = logging.getLogger(__name__)

_THREADS = 4
_PROBE_SECONDS = 0.25
_TRIALS_SECONDS = 1.0
_NO_TRIALS = TrialCounts.none(0)


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
class Reading:
    """What the store knew when a batch was read.

    Attributes:
        states: By user id.
        trials: Trials of new items.
        deletions: Deletions of people that had been followed when this was read.
        store_unavailable: The store could not be read; the rest is what was known last.
    """

    states: Mapping[str, UserState]
    trials: TrialCounts
    deletions: int
    store_unavailable: bool = False

    def state(self, user_id: str | None) -> UserState:
        """The state of a user; a request without an id has the state of an unknown one."""
        return UNKNOWN_USER if user_id is None else self.states[user_id]


class StoreReader:
    """Reader of a store for one pipeline, which does without it when it is down.

    Args:
        store: The store.
        live: Follows its catalogue.
        limit: Newest events of a user that count.
        deadline: Seconds that a read may take.
        users: The user cache; shared by the pipelines of a process.
    """

    def __init__(
        self,
        store: ServingStore,
        live: CatalogueFollower,
        limit: int,
        deadline: float,
        users: UserCache | None = None,
    ) -> None:
        self.store = store
        self.live = live
        self.users = users or UserCache()
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
            if not trials and (cached := self._cached(user_ids)) is not None:
                return cached
            loop = asyncio.get_running_loop()
            work = loop.run_in_executor(self._threads, self._read, user_ids, trials)
            try:
                async with asyncio.timeout(self._deadline):
                    return await work
            except StoreError as error:
                self._mark_down(error.message)
            except TimeoutError:
                self._mark_down(f"no answer within {self._deadline:g} s")
        deletions = self.users.deletions or 0  # first: who is forgotten in between was deleted later
        known_last = {user_id: self.users.get(user_id) for user_id in user_ids}
        return Reading(known_last, self._trials[1], deletions, store_unavailable=True)

    async def text_vectors(self, event_ids: Sequence[str], fingerprint: str) -> Mapping[str, FloatArray]:
        """Vectors of what users wrote, see :meth:`recserve.store.Store.text_vectors`; never fails.

        Without the store there are none.
        """
        if self.down or not event_ids:
            return {}
        loop = asyncio.get_running_loop()
        work = loop.run_in_executor(self._threads, self.store.text_vectors, event_ids, fingerprint)
        try:
            async with asyncio.timeout(self._deadline):
                return await work
        except StoreError as error:
            self._mark_down(error.message)
        except TimeoutError:
            self._mark_down(f"no answer within {self._deadline:g} s")
        return {}

    def _cached(self, user_ids: Sequence[str]) -> Reading | None:
        """The cached states, if nothing was committed since they were read: that takes no thread."""
        if self._version is None or self._version != self.store.version() or self.live.due:
            return None
        deletions, states = self.users.deletions or 0, self.users.current(user_ids)
        return Reading(states, _NO_TRIALS, deletions) if len(states) == len(user_ids) else None

    def _read(self, user_ids: Sequence[str], trials: bool) -> Reading:
        version = self.store.version()  # before the reads: they see all of it, and possibly more
        changes = self.store.changes(self.users.watermark)
        deletions = None if changes is None else changes.pulse.deletions
        states: dict[str, UserState] = {}
        view = self.live.view
        if changes is not None:
            self.users.follow(changes)
            view = self._follow(changes.pulse)
            states = self.users.current(user_ids)
        others = [user_id for user_id in user_ids if user_id not in states]
        if others or changes is None:
            cached = {user_id: self.users.get(user_id) for user_id in others}
            histories = {user_id: state.history for user_id, state in cached.items()}
            found = self.store.people(others, self._limit, histories)
            deletions = found.pulse.deletions if deletions is None else deletions
            view = self._follow(found.pulse)
            read = {
                user_id: cached[user_id].advanced(
                    history, found.users.get(user_id), found.impressions.get(user_id, {})
                )
                for user_id, history in found.histories.items()
            }
            states |= read
            # Otherwise somebody was deleted meanwhile, possibly one of these.
            if self.users.deletions == found.pulse.deletions:
                for user_id, state in read.items():
                    self.users.put(user_id, state, None if changes is None else changes.position)
        self._version = version
        return Reading(states, self._read_trials(view) if trials else _NO_TRIALS, deletions or 0)

    def _follow(self, counters: Pulse) -> CatalogueView:
        """Forget whom the store has forgotten, and catch up with the catalogue."""
        self._follow_deletions(counters.deletions)
        return self.live.at_least(counters.catalogue)

    def _follow_deletions(self, number: int) -> None:
        users = self.users
        if users.deletions is not None and number > users.deletions:
            for deletion in self.store.deletions(users.deletions):
                users.forget(deletion.user_key)
        users.deletions = max(number, users.deletions or 0)

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
