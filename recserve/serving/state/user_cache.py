"""What a process remembers of recently served users, to read less and to go on when the store is down."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from cachetools import LRUCache

from recserve.data.catalogue import Catalogue
from recserve.data.entities import EventType, User
from recserve.serving.state.live_catalogue import CatalogueView
from recserve.serving.state.result_cache import ResultCache
from recserve.serving.state.user_events import UserEvents
from recserve.store import Changes, History, Position, key_of

REMEMBERED_EVENTS = 200_000
"""Events of recently served users that are remembered."""


@dataclass(slots=True)
class UserState:
    """What is known of a user.

    Attributes:
        history: The newest events.
        user: The profile, if there is one.
    """

    history: History = field(default_factory=History)
    user: User | None = None
    _made: _Made | None = field(default=None, repr=False)
    _held: int = field(default=0, repr=False, compare=False)  # generation it is current in, 0 for none

    def now(self, history: History, user: User | None) -> UserState:
        """The same person a moment later; what was looked up stays where events only came on top."""
        if history is self.history and user == self.user:
            return self
        made, old = self._made, self.history.numbers
        grown = made is not None and history.numbers[: len(old)] == old
        return UserState(history, user, made if grown else None)

    def steps(self, view: CatalogueView, types: Mapping[str, EventType]) -> UserEvents:
        """The history with rows of a catalogue; what is known of it is not looked up again.

        Args:
            view: Of the catalogue.
            types: Configured event types by name, in code order; the same in every call.
        """
        events, made = self.history.events, self._made
        if made is None or made.catalogue is not view.catalogue:
            made = _Made(view.catalogue, 0, UserEvents.none())
        if made.events < len(events):
            later = UserEvents.of(events[made.events :], view.catalogue, types)
            made = _Made(view.catalogue, len(events), made.steps.then(later))
        self._made = made
        return made.steps


@dataclass(frozen=True, slots=True)
class _Made:
    """User events of the oldest part of a history, with the catalogue whose rows they have."""

    catalogue: Catalogue
    events: int
    steps: UserEvents


UNKNOWN_USER = UserState()
"""Who has done nothing and has no profile."""


class UserCache:
    """Recently served users, bounded by the number of their events. Safe to use from several threads.

    Args:
        repeats: What they were answered.
        budget: Events kept at most.
    """

    def __init__(self, repeats: ResultCache | None = None, budget: int = REMEMBERED_EVENTS) -> None:
        self.repeats = repeats or ResultCache()
        self._people: LRUCache[bytes, UserState] = LRUCache(
            budget, lambda person: 1 + len(person.history.events)
        )
        self._lock = threading.RLock()
        self._position: Position | None = None
        self._generation = 1
        self.deletions: int | None = None
        """Number of the last deletion that was followed."""

    @property
    def position(self) -> Position | None:
        """Up to where changes were followed."""
        return self._position

    def follow(self, changes: Changes) -> None:
        """Take note of whose history or profile may no longer be what is known of it.

        Args:
            changes: Since :attr:`position`, or since an earlier one.
        """
        with self._lock:
            if changes.users is None:
                self._generation += 1
            else:
                for user_id in changes.users:
                    self.get(user_id)._held = 0
            self._position = max(changes.position, self._position or changes.position)

    def current(self, user_ids: Sequence[str]) -> dict[str, UserState]:
        """Those of whom all is known that had happened at :attr:`position`."""
        people = {user_id: self.get(user_id) for user_id in user_ids}
        return {
            user_id: person
            for user_id, person in people.items()
            if person._held == self._generation and person is not UNKNOWN_USER
        }

    def put(self, user_id: str, person: UserState, position: Position | None = None) -> None:
        """Remember a user; whoever was not served for longest is forgotten in return.

        Args:
            user_id: The user.
            person: What was read.
            position: Up to where, at least; None if that is not known.
        """
        with self._lock:
            if person is UNKNOWN_USER:
                person = UserState()
            # If others followed further meanwhile, this one may be among those who changed.
            person._held = self._generation if position is not None and position == self._position else 0
            key = key_of(user_id)
            self._people.pop(key, None)
            with suppress(ValueError):  # of a user with more events than the whole budget
                self._people[key] = person

    def get(self, user_id: str) -> UserState:
        """What is known of a user."""
        key = key_of(user_id)
        with self._lock:
            return self._people.get(key) or UNKNOWN_USER

    def forget(self, user_key: bytes) -> None:
        """Remove a user, given as the digest of the id."""
        with self._lock:
            self._people.pop(user_key, None)
        self.repeats.forget(user_key)
