"""User cache: what a process knows of recently served users, to read less and to go on without the store."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol
from weakref import WeakSet

from cachetools import LRUCache

from recserve.data.arrays import FloatArray
from recserve.data.batches import RECENT_TEXTS
from recserve.data.catalogue import Catalogue
from recserve.data.entities import Event, EventType, User
from recserve.serving.state.live_catalogue import CatalogueView
from recserve.serving.state.user_events import UserEvents
from recserve.store import Changes, History, ImpressionTimes, Position, key_of

REMEMBERED_EVENTS = 200_000
"""Events of recently served users that are remembered."""

_EVENT_CHARACTERS = 200
"""Characters of a text that take as much memory as an event."""


@dataclass(frozen=True, slots=True)
class RowLookup:
    """The oldest events of a history with their rows in a catalogue.

    Attributes:
        catalogue: The catalogue.
        count: Events of the history that were looked up.
        events: Those that the catalogue and the configuration know.
        texts: The newest of them with a text of the user's, those on no item included.
    """

    catalogue: Catalogue
    count: int
    events: UserEvents
    texts: tuple[Event, ...] = ()


@dataclass(frozen=True, slots=True)
class TextVectors:
    """Vectors of what a user wrote.

    Attributes:
        fingerprint: The encoder's.
        by_id: float32, shape (d,), by the ``event_id`` of the text's event.
    """

    fingerprint: str
    by_id: Mapping[str, FloatArray]


@dataclass(frozen=True, slots=True)
class UserState:
    """What the store holds of a user, as of one moment.

    Attributes:
        history: The newest events.
        user: The profile, if there is one.
        impressions: What the user was shown lately, as far as it is counted.
        lookup: Rows of the history, as far as they were looked up.
        vectors: Of what the user wrote, as far as they are known.
    """

    history: History = field(default_factory=History)
    user: User | None = None
    impressions: ImpressionTimes = field(default_factory=dict)
    lookup: RowLookup | None = field(default=None, repr=False, compare=False)
    vectors: TextVectors | None = field(default=None, repr=False, compare=False)

    def advanced(
        self, history: History, user: User | None, impressions: ImpressionTimes | None = None
    ) -> UserState:
        """The state a moment later; rows that were looked up stay where events only came on top."""
        shown = impressions or {}
        if history is self.history and user == self.user and shown == self.impressions:
            return self
        old = self.history.numbers
        grown = history.numbers[: len(old)] == old
        return UserState(history, user, shown, self.lookup if grown else None, self.vectors)

    def resolved(self, view: CatalogueView, types: Mapping[str, EventType]) -> UserState:
        """The state with rows for all of its history; itself if it has them already.

        Args:
            view: Of the catalogue.
            types: Configured event types by name, in code order; the same in every call.
        """
        events, found = self.history.events, self.lookup
        if found is None or found.catalogue is not view.catalogue:
            found = RowLookup(view.catalogue, 0, UserEvents.none())
        if found is self.lookup and found.count == len(events):
            return self
        new = events[found.count :]
        later = UserEvents.of(new, view.catalogue, types)
        texts = (*found.texts, *recent_texts(new, types))[-RECENT_TEXTS:]
        return replace(self, lookup=RowLookup(view.catalogue, len(events), found.events.then(later), texts))

    @property
    def events(self) -> UserEvents:
        """The history with rows; :meth:`resolved` comes first."""
        return UserEvents.none() if self.lookup is None else self.lookup.events

    @property
    def texts(self) -> tuple[Event, ...]:
        """The newest events with a text of the user's, oldest first; :meth:`resolved` comes first."""
        return () if self.lookup is None else self.lookup.texts

    @property
    def size(self) -> int:
        """Memory in events: a text counts by its length, a vector as three, an item that was shown as one."""
        written = sum(len(event.text) for event in self.history.events if event.text is not None)
        known = 0 if self.vectors is None else len(self.vectors.by_id)
        events = len(self.history.events) + written // _EVENT_CHARACTERS
        return 1 + events + len(self.impressions) + 3 * known


def recent_texts(events: Sequence[Event], types: Mapping[str, EventType]) -> tuple[Event, ...]:
    """The newest events with a text, of known types, oldest first."""
    written = [event for event in events if event.text is not None and event.event in types]
    return tuple(written[-RECENT_TEXTS:])


UNKNOWN_USER = UserState()
"""The state of a user without events and without a profile."""


class ForgetsUsers(Protocol):
    """Whatever else remembers users, such as a cache of their answers."""

    def forget(self, user_key: bytes) -> None:
        """Forget a user, given as the digest of the id."""
        ...


class _Entry(NamedTuple):
    """A state in the cache, and the generation in which it is current; 0 for none."""

    state: UserState
    generation: int


class UserCache:
    """LRU cache of user states, bounded by the number of their events. Safe to use from several threads.

    Args:
        budget: Events kept at most.

    Attributes:
        hits: States of users that were current when they were asked for.
        misses: States that had to be read, or read again.
    """

    def __init__(self, budget: int = REMEMBERED_EVENTS) -> None:
        self._entries: LRUCache[bytes, _Entry] = LRUCache(budget, lambda entry: entry.state.size)
        self._lock = threading.RLock()
        self._watermark: Position | None = None
        self._generation = 1
        self._listeners: WeakSet[ForgetsUsers] = WeakSet()
        self.hits = 0
        self.misses = 0
        self.deletions: int | None = None
        """Number of the last deletion that was followed."""

    @property
    def watermark(self) -> Position | None:
        """Up to where the store's changes were followed."""
        return self._watermark

    def follow(self, changes: Changes) -> None:
        """Take note of whose history, profile or impressions may no longer be what is cached.

        Args:
            changes: Since :attr:`watermark`, or since an earlier one.
        """
        with self._lock:
            if changes.users is None:
                self._generation += 1
            else:
                for user_id in changes.users:
                    key = key_of(user_id)
                    entry = self._entries.get(key)
                    if entry is not None:
                        self._entries[key] = entry._replace(generation=0)
            self._watermark = max(changes.position, self._watermark or changes.position)

    def current(self, user_ids: Sequence[str]) -> dict[str, UserState]:
        """The states that hold everything which had happened at :attr:`watermark`."""
        with self._lock:
            entries = {user_id: self._entries.get(key_of(user_id)) for user_id in user_ids}
            found = {
                user_id: entry.state
                for user_id, entry in entries.items()
                if entry is not None and entry.generation == self._generation
            }
            self.hits += len(found)
            self.misses += len(user_ids) - len(found)
            return found

    def put(self, user_id: str, state: UserState, watermark: Position | None = None) -> None:
        """Cache a state; users who were not served for longest make room.

        Args:
            user_id: The user.
            state: What was read.
            watermark: Up to where, at least; None if that is not known.
        """
        with self._lock:
            # If others followed further meanwhile, this user may be among those who changed.
            current = watermark is not None and watermark == self._watermark
            key = key_of(user_id)
            self._entries.pop(key, None)
            with suppress(ValueError):  # of a user with more events than the whole budget
                self._entries[key] = _Entry(state, self._generation if current else 0)

    def advance(self, user_id: str, state: UserState, later: UserState) -> None:
        """Put ``later`` in the place of a state, unless another one has taken it meanwhile."""
        key = key_of(user_id)
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None and entry.state is state:
                with suppress(ValueError):  # it has grown beyond the whole budget
                    self._entries[key] = entry._replace(state=later)

    def get(self, user_id: str) -> UserState:
        """The state that was cached last, current or not."""
        with self._lock:
            entry = self._entries.get(key_of(user_id))
        return UNKNOWN_USER if entry is None else entry.state

    def tell(self, listener: ForgetsUsers) -> None:
        """Have somebody else told, as long as it lives, of users who are to be forgotten."""
        self._listeners.add(listener)

    def forget(self, user_key: bytes) -> None:
        """Remove a user, given as the digest of the id."""
        with self._lock:
            self._entries.pop(user_key, None)
        for listener in list(self._listeners):
            listener.forget(user_key)
