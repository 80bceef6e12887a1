"""List of users: those with a profile, those with events, or both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from recserve.data.entities import Event, User
from recserve.store.browsing.protocol import ActiveUser

Having = Literal["profile", "events", "any"]
"""Which users are listed: with a profile, with events, or with either."""

_EXAMINED = 5_000
"""Users with events that one call looks at while it leaves out those with a profile."""


@dataclass(frozen=True, slots=True)
class ListedUser:
    """One user of a list.

    Attributes:
        user: The user; without attributes where there is no profile.
        profile: Whether there is a profile.
        last_event: Moment of the newest event, milliseconds since the epoch; None without events.
    """

    user: User
    profile: bool
    last_event: int | None


class UserPlace(NamedTuple):
    """Place where a list of users goes on.

    Attributes:
        part: ``profile`` while users with a profile are listed, ``events`` among those with events.
        after: The last user looked at; None at the beginning of the part.
    """

    part: Literal["profile", "events"]
    after: str | None = None


class _People(Protocol):
    """The part of a store that users are listed from."""

    def list_users(self, after: str | None, limit: int) -> list[User]: ...

    def users(self, user_ids: list[str]) -> dict[str, User]: ...

    def histories(self, user_ids: list[str], limit: int) -> dict[str, list[Event]]: ...

    def users_with_events(self, after: str | None, limit: int) -> list[ActiveUser]: ...


def browse_users(
    store: _People, having: Having, place: UserPlace | None, limit: int
) -> tuple[list[ListedUser], UserPlace | None]:
    """The next users of a list.

    Walking through all of them while others write never shows a user twice. Of ``any``, those with a profile
    come first; a user who gets a profile only after they were listed may be left out of that one walk.

    Args:
        store: The store.
        having: Which users.
        place: Where to go on; None starts.
        limit: At most this many. There may be fewer, or none, before the end.

    Returns:
        The users, and the place where the list goes on; None at its end.
    """
    place = place or UserPlace("events" if having == "events" else "profile")
    listed: list[ListedUser] = []
    if place.part == "profile":
        # One more than asked for tells whether there are more.
        found = store.list_users(place.after, limit + 1)
        newest = store.histories([user.user_id for user in found[:limit]], 1)
        for user in found[:limit]:
            events = newest[user.user_id]
            listed.append(ListedUser(user, True, events[-1].timestamp if events else None))
        if len(found) > limit:
            return listed, UserPlace("profile", listed[-1].user.user_id)
        if having == "profile":
            return listed, None
        place = UserPlace("events")
    examined = 0
    while len(listed) < limit and examined < _EXAMINED:
        wanted = limit - len(listed)
        active = store.users_with_events(place.after, wanted)
        profiles = store.users([user_id for user_id, _ in active])
        for user_id, moment in active:
            profile = profiles.get(user_id)
            if having == "events" or profile is None:
                listed.append(ListedUser(profile or User(user_id), profile is not None, moment))
        if len(active) < wanted:
            return listed, None
        examined += wanted
        place = UserPlace("events", active[-1].user_id)
    return listed, place


def find_user(store: _People, user_id: str) -> ListedUser | None:
    """One user as lists show them; None without a profile and events."""
    profile = store.users([user_id]).get(user_id)
    events = store.histories([user_id], 1)[user_id]
    if profile is None and not events:
        return None
    moment = events[-1].timestamp if events else None
    return ListedUser(profile or User(user_id), profile is not None, moment)
