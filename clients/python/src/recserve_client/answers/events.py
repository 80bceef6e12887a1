"""Answers about events.

Generated from the OpenAPI document by ``python -m tools.clients``; do not edit.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Events:
    """The events are durable and count in the next recommendation.

    Attributes:
        accepted: Events in the request.
        stored: Events stored; fewer where an `event_id` was known.
        duplicates: Events whose `event_id` was known already.
    """

    accepted: int
    stored: int
    duplicates: int


@dataclass(frozen=True, slots=True)
class EventsDeleted:
    """The events count no more, from the next recommendation on.

    Attributes:
        deleted: Events that were there.
    """

    deleted: int
