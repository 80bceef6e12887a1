"""Events on their way to the server: each has an id before it is first sent."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Sequence
from typing import cast

from recserve_client.answers import Events
from recserve_client.core.decoding import encode
from recserve_client.core.errors import ClientError, EventsNotRecordedError
from recserve_client.core.sending import Call
from recserve_client.params import EventParam

MOST_EVENTS = 10_000
"""What the server takes in one call."""

MOST_BYTES = 4_000_000
"""No batch of several events is longer; a server accepts 20 MB unless it is configured otherwise."""

NONE = Events(accepted=0, stored=0, duplicates=0)


def with_id(event: EventParam) -> EventParam:
    """An event with an ``event_id``: its own, else a random one, so that a retry never counts twice."""
    if event.get("event_id"):
        return event
    return cast(EventParam, {**event, "event_id": uuid.uuid4().hex})


def batches(events: Iterable[EventParam], most: int) -> Iterator[list[EventParam]]:
    """Events with ids, in batches for one call each.

    Args:
        events: The events; read as far as they are needed.
        most: Events of a batch.

    Raises:
        ValueError: ``most`` is more than a call may hold, or less than one.
    """
    if not 1 <= most <= MOST_EVENTS:
        raise ValueError(f"a batch has 1 to {MOST_EVENTS:,} events, not {most}")
    return _batches(events, most)


def _batches(events: Iterable[EventParam], most: int) -> Iterator[list[EventParam]]:
    batch: list[EventParam] = []
    size = 0
    for event in map(with_id, events):
        length = len(encode(event)) + 1
        if batch and (len(batch) == most or size + length > MOST_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(event)
        size += length
    if batch:
        yield batch


def recording(events: Sequence[EventParam]) -> Call[Events]:
    """The call that records a batch."""
    return Call("POST", "/v1/events", Events, repeatable=True, body={"events": events})


def total(one: Events, other: Events) -> Events:
    """What two calls recorded."""
    return Events(
        accepted=one.accepted + other.accepted,
        stored=one.stored + other.stored,
        duplicates=one.duplicates + other.duplicates,
    )


def not_recorded(
    cause: ClientError, batch: Sequence[EventParam], others: Iterable[Sequence[EventParam]], before: Events
) -> EventsNotRecordedError:
    """The error of a batch that failed; what follows it is read to its end, so that nothing is lost."""
    return EventsNotRecordedError(
        cause, [*batch, *(event for more in others for event in more)], before.accepted
    )
