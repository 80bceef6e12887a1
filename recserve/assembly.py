"""Turns requests with external ids into a batch of queries with rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from recserve.config import ColdStartConfig
from recserve.domain import Event, EventType, FloatArray, Histories, Queries, Ragged, User
from recserve.live import LiveView
from recserve.requests import Request

Step = tuple[int, int, float | None, int]
"""Row, event type code, value and time of one event."""


@dataclass(frozen=True)
class Assembled:
    """A batch whose ids are resolved but whose texts are not encoded yet.

    Attributes:
        base: The queries without vectors of their texts.
        interests: What each user says to like, where that is what the query's text is; else None.
        missing: For each request an anchor item id that nobody knows, None if all is well.
        event_names: Event types in code order.
    """

    base: Queries
    interests: tuple[str | None, ...]
    missing: tuple[str | None, ...]
    event_names: tuple[str, ...]

    def queries(self, text_vectors: FloatArray | None = None) -> Queries:
        """The batch with vectors of the non-empty texts, in order; without them texts do not count."""
        if text_vectors is None or not len(text_vectors):
            return self.base
        by_query = np.zeros((len(self.base), text_vectors.shape[1]), dtype=np.float32)
        by_query[[index for index, text in enumerate(self.base.texts) if text]] = text_vectors
        return replace(self.base, text_vectors=by_query)

    def last_events(self, query: int) -> dict[int, str]:
        """What the user last did with each item of his history, by row."""
        histories = self.base.histories
        span = slice(histories.offsets[query], histories.offsets[query + 1])
        rows, events = histories.items[span].tolist(), histories.events[span].tolist()
        return {row: self.event_names[event] for row, event in zip(rows, events, strict=True)}


def assemble(
    requests: Sequence[Request],
    view: LiveView,
    event_types: Mapping[str, EventType],
    histories: Mapping[str, Sequence[Event]],
    users: Mapping[str, User],
    cold_start: ColdStartConfig,
    *,
    now: int,
    seen: Sequence[str],
) -> Assembled:
    """Resolve ids, join stored history and session, and collect what must not be returned.

    Args:
        requests: The batch.
        view: The catalogue. New items count in histories once they have a vector.
        event_types: Configured event types by name, in code order.
        histories: Stored events by user id, oldest first.
        users: Profiles by user id.
        cold_start: When stated interests count.
        now: The present, milliseconds.
        seen: Policy of each request for items of the history; ``exclude`` bars them.
    """
    row = view.catalogue.ids.row
    codes = {name: code for code, name in enumerate(event_types)}
    types = list(event_types.values())
    lists: list[list[Step]] = []
    excluded: list[list[int]] = []
    interests: list[str | None] = []
    for request, policy in zip(requests, seen, strict=True):
        known = [
            (found, codes[event.event], event.value, event.timestamp)
            for event in _steps(request, histories.get(request.user_id or "", ()), now)
            if event.event in codes and (found := row(event.item_id)) >= 0
        ]
        barred = [step[0] for step in known] if policy == "exclude" else []
        barred.extend(row(item_id) for item_id in request.exclude)
        excluded.append(barred)
        usable = [step for step in known if step[0] < view.known or view.encoded[step[0] - view.known]]
        lists.append(usable)
        liked = sum(types[step[1]].weight > 0 for step in usable)
        cold = request.query is None and liked < cold_start.until_events
        interests.append(_interests(users.get(request.user_id or ""), cold_start) if cold else None)

    anchors = [-1 if request.item_id is None else row(request.item_id) for request in requests]
    return Assembled(
        base=Queries(
            user_ids=tuple(request.user_id for request in requests),
            histories=_pack(lists, types),
            times=np.full(len(requests), now, dtype=np.int64),
            anchors=np.array(anchors, dtype=np.int32),
            excluded=Ragged.of(excluded),
            texts=tuple(request.query or stated for request, stated in zip(requests, interests, strict=True)),
            allowed=(None,) * len(requests),
            filters=tuple(request.filter for request in requests),
            contexts=tuple(request.context for request in requests),
            live_version=view.version,
        ),
        interests=tuple(interests),
        missing=tuple(
            request.item_id if request.item_id is not None and anchor < 0 else None
            for request, anchor in zip(requests, anchors, strict=True)
        ),
        event_names=tuple(event_types),
    )


def _interests(user: User | None, config: ColdStartConfig) -> str | None:
    """What a user says to like, as one text."""
    if user is None:
        return None
    parts: list[str] = []
    for name in config.attributes:
        value = user.attributes.get(name)
        listed = value if isinstance(value, (list, tuple)) else [value]
        parts.extend(one.strip() for one in listed if isinstance(one, str) and one.strip())
    return ", ".join(parts) or None


def _steps(request: Request, stored: Sequence[Event], now: int) -> list[Event]:
    """Stored events and the session's, oldest first; what the session brings counts as newest."""
    session = [
        Event(
            user_id=request.user_id or "",
            item_id=step.item_id,
            event=step.event,
            timestamp=now if step.timestamp is None else step.timestamp,
            value=step.value,
        )
        for step in request.session
    ]
    session.sort(key=lambda event: event.timestamp)
    return [*stored, *session]


def _pack(lists: Sequence[Sequence[Step]], types: Sequence[EventType]) -> Histories:
    offsets = np.zeros(len(lists) + 1, dtype=np.int64)
    np.cumsum([len(steps) for steps in lists], out=offsets[1:])
    flat = [step for steps in lists for step in steps]
    events = np.array([step[1] for step in flat], dtype=np.int16)
    values = np.array([np.nan if step[2] is None else step[2] for step in flat], dtype=np.float64)
    weights = np.zeros(len(flat), dtype=np.float32)
    for code in np.unique(events):
        chosen = events == code
        weights[chosen] = types[code].confidence(values[chosen])
    return Histories(
        offsets=offsets,
        items=np.array([step[0] for step in flat], dtype=np.int32),
        events=events,
        weights=weights,
        timestamps=np.array([step[3] for step in flat], dtype=np.int64),
    )
