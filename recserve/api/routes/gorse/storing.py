"""Feedback as events: one for each type, user and item, although events may be many.

The id of an event is made from these three, so that feedback that is sent again is stored once, and holds
the type by Gorse's name. An id whose event was taken back cannot be used again: then the content joins the
id, and if that was used as well, chance.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple, TypeVar

from recserve.api.backends.protocol import Backend
from recserve.data.entities import Event
from recserve.errors import EventRemovedError, UserDeletedError

T = TypeVar("T")

_MARK = "gorse"
_AT_A_TIME = 16


class FeedbackKey(NamedTuple):
    """Names one feedback.

    Attributes:
        kind: Type of the feedback, by Gorse's name.
        user_id: External user id.
        item_id: External item id.
    """

    kind: str
    user_id: str
    item_id: str


def feedback_id(key: FeedbackKey, suffix: str = "") -> str:
    """The id of the event of a feedback."""
    return f"{_MARK}:{_digest(*key)}{suffix}:{key.kind}"


def key_of_feedback(event: Event) -> FeedbackKey:
    """What feedback an event is: of one that was not sent as such, the type is the event's."""
    mark, _, rest = event.event_id.partition(":")
    name = rest.partition(":")[2] if mark == _MARK else ""
    return FeedbackKey(name or event.event, event.user_id, event.item_id)


def newest_of_each(events: Iterable[Event]) -> list[Event]:
    """The newest event of each feedback, by type and item, out of events in the order of time."""
    newest = {key_of_feedback(event): event for event in events if event.item_id}
    return [newest[key] for key in sorted(newest)]


class FeedbackWriter:
    """Stores feedback.

    Args:
        backend: Stores the events.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def insert(self, events: Sequence[Event]) -> int:
        """Store feedback that is not there yet; what is there stays as it is.

        Args:
            events: With the ids of :func:`feedback_id`.

        Returns:
            The number of events stored.

        Raises:
            UserDeletedError: A user was deleted after this; what came before it is stored.
        """
        first: dict[str, Event] = {}
        for event in events:
            first.setdefault(event.event_id, event)
        stored, spent = await self._add(list(first.values()))
        if not spent:
            return stored
        there = await self._there(spent)
        return stored + await self._add_anew(
            [event for event in spent if key_of_feedback(event) not in there]
        )

    async def overwrite(self, events: Sequence[Event]) -> int:
        """Store feedback in the place of what is there; see :meth:`insert`.

        The new event is stored before the old one is taken back, so that a crash loses neither.
        """
        wanted = {event.event_id: event for event in events}
        there = await self._there(list(wanted.values()))
        new: list[Event] = []
        changed: list[Event] = []
        replaced: list[str] = []
        for event in wanted.values():
            known = there.get(key_of_feedback(event), [])
            same = next((old for old in known if _says_the_same(old, event)), None)
            replaced += [old.event_id for old in known if old is not same]
            if same is None:
                (changed if known else new).append(event)
        stored, spent = await self._add(new)
        stored += await self._add_anew([*spent, *changed])
        await self.remove(replaced)
        return stored

    async def remove(self, event_ids: Iterable[str]) -> int:
        """Take events back; returns how many there were."""
        return sum(await _each(self._backend.remove_event, event_ids))

    async def _add(self, events: Sequence[Event]) -> tuple[int, list[Event]]:
        """Store events; returns how many were new, and those whose ids cannot be used again."""
        if not events:
            return 0, []
        added = await self._backend.import_events(events)
        spent = []
        for refused, place in zip(added.refused, added.refused_places, strict=True):
            if isinstance(refused, EventRemovedError):
                spent.append(events[place])
            elif isinstance(refused, UserDeletedError):
                raise UserDeletedError("a user was deleted after this; only what happens later is stored")
            # Else there is other content under the id: that stays.
        return added.stored, spent

    async def _add_anew(self, events: Sequence[Event]) -> int:
        """Store events under other ids than their first ones."""
        stored, spent = await self._add(
            [_renamed(event, f"-{_digest_of_content(event)}") for event in events]
        )
        if not spent:
            return stored
        again, _ = await self._add([_renamed(event, f"-{secrets.token_hex(8)}") for event in spent])
        return stored + again

    async def _there(self, events: Sequence[Event]) -> dict[FeedbackKey, list[Event]]:
        """Events that are there already, by the feedback that they are; nothing for feedback that is not."""
        items: dict[str, list[str]] = {}
        for event in events:
            items.setdefault(event.user_id, []).append(event.item_id)

        async def look_up(user_id: str) -> Sequence[Event]:
            return await self._backend.events_with(user_id, items[user_id])

        found: dict[FeedbackKey, list[Event]] = {}
        for known in await _each(look_up, items):
            for event in known:
                found.setdefault(key_of_feedback(event), []).append(event)
        return found


async def _each(call: Callable[[str], Awaitable[T]], names: Iterable[str]) -> list[T]:
    """Call for each name, some at a time."""
    results: list[T] = []
    listed = list(names)
    for start in range(0, len(listed), _AT_A_TIME):
        results += await asyncio.gather(*map(call, listed[start : start + _AT_A_TIME]))
    return results


def _renamed(event: Event, suffix: str) -> Event:
    return replace(event, event_id=feedback_id(key_of_feedback(event), suffix))


def _says_the_same(stored: Event, event: Event) -> bool:
    """Whether feedback is what is there; one without a time says nothing of when it was."""
    return (stored.value, stored.text) == (event.value, event.text) and (
        not event.timed or stored.timestamp == event.timestamp
    )


def _digest_of_content(event: Event) -> str:
    return _digest(str(event.timestamp if event.timed else ""), str(event.value), event.text or "")[:16]


def _digest(*parts: str) -> str:
    return hashlib.blake2b("\x00".join(parts).encode(), digest_size=16).hexdigest()
