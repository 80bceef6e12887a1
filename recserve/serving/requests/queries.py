"""Query building: from requests with external ids to a batch of queries with rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from recserve.config import ColdStartConfig, FrequencyCapConfig
from recserve.data.arrays import FloatArray, Int32Array
from recserve.data.batches import Queries, Ragged, RecentTexts
from recserve.data.entities import Event, EventType, User
from recserve.data.events.impressions import Impressions
from recserve.serving.requests.request import Request
from recserve.serving.state.live_catalogue import CatalogueView
from recserve.serving.state.user_cache import UserState
from recserve.serving.state.user_events import UserEvents, pack

_HOUR_MS = 3_600_000


@dataclass(frozen=True)
class BuiltQueries:
    """Queries whose ids are resolved, before and after their texts are encoded.

    Attributes:
        base: The queries.
        interests: What each user says to like, where that is what the query's text is; else None.
        missing: For each request its anchor's id where no item has it, else None.
        event_names: Event types in code order.
        written: The events behind each query's :attr:`Queries.recent_texts`.
    """

    base: Queries
    interests: tuple[str | None, ...]
    missing: tuple[str | None, ...]
    event_names: tuple[str, ...]
    written: tuple[tuple[Event, ...], ...] = ()

    def with_vectors(
        self,
        text_vectors: FloatArray | None,
        written: tuple[tuple[Event, ...], ...] = (),
        recent: RecentTexts | None = None,
    ) -> BuiltQueries:
        """The batch with vectors of the non-empty texts, in order, and of what the users wrote.

        Texts without a vector do not count.
        """
        base = replace(self.base, recent_texts=recent)
        if text_vectors is not None and len(text_vectors):
            by_query = np.zeros((len(base), text_vectors.shape[1]), dtype=np.float32)
            by_query[[index for index, text in enumerate(base.texts) if text]] = text_vectors
            base = replace(base, text_vectors=by_query)
        return replace(self, base=base, written=written)

    def text_behind(self, query: int, evidence: int) -> Event | None:
        """The event whose text is the evidence of an item, None if it is none; see ``Retrieved.evidence``."""
        own = self.written[query] if self.written else ()
        place = -2 - evidence
        return own[place] if 0 <= place < len(own) else None

    def last_events(self, query: int) -> dict[int, int]:
        """Code of the user's last event with each item of the history, by row."""
        histories = self.base.histories
        span = slice(histories.offsets[query], histories.offsets[query + 1])
        return dict(zip(histories.items[span].tolist(), histories.events[span].tolist(), strict=True))


def build_queries(
    requests: Sequence[Request],
    view: CatalogueView,
    event_types: Mapping[str, EventType],
    states: Sequence[UserState],
    cold_start: ColdStartConfig,
    *,
    now: int,
    seen: Sequence[str],
    impressions: bool = False,
    cap: FrequencyCapConfig | None = None,
) -> BuiltQueries:
    """Resolve ids, join stored history and session, and collect what must not be returned.

    Args:
        requests: The batch.
        view: The catalogue. New items count in histories once they have a vector.
        event_types: Configured event types by name, in code order.
        states: The user of each request, with the rows of the history.
        cold_start: When stated interests count.
        now: The present, milliseconds.
        seen: Policy of each request for items of the history; ``exclude`` bars them.
        impressions: Whether the queries carry what users were shown.
        cap: Bars items that were shown too often.
    """
    row = view.catalogue.ids.row
    shown = None if cap is None and not impressions else _impressions(states, view)
    positive = np.array([kind.weight > 0 for kind in event_types.values()])
    lists: list[UserEvents] = []
    excluded: list[Int32Array] = []
    capped = _capped(shown, cap, now, len(requests))
    interests: list[str | None] = []
    for request, state, policy, too_often in zip(requests, states, seen, capped, strict=True):
        events = state.events.then(_session(request, view, event_types, now))
        barred = np.array([row(item_id) for item_id in request.exclude], dtype=np.int32)
        barred = np.concatenate([barred, too_often])
        excluded.append(np.concatenate([events.rows, barred]) if policy == "exclude" else barred)
        usable = events.where(view.readable(events.rows))
        lists.append(usable)
        liked = int(positive[usable.events].sum())
        cold = request.query is None and liked < cold_start.until_events
        interests.append(_interests(state.user, cold_start) if cold else None)

    anchors = [-1 if request.item_id is None else row(request.item_id) for request in requests]
    return BuiltQueries(
        base=Queries(
            user_ids=tuple(request.user_id for request in requests),
            histories=pack(lists),
            times=np.full(len(requests), now, dtype=np.int64),
            anchors=np.array(anchors, dtype=np.int32),
            excluded=Ragged.of(excluded),
            texts=tuple(request.query or stated for request, stated in zip(requests, interests, strict=True)),
            allowed=(None,) * len(requests),
            filters=tuple(request.filter for request in requests),
            contexts=tuple(request.context for request in requests),
            impressions=shown if impressions else None,
            live_version=view.version,
            wants_evidence=any(request.explain for request in requests),
        ),
        interests=tuple(interests),
        missing=tuple(
            request.item_id if request.item_id is not None and anchor < 0 else None
            for request, anchor in zip(requests, anchors, strict=True)
        ),
        event_names=tuple(event_types),
    )


def _impressions(states: Sequence[UserState], view: CatalogueView) -> Impressions:
    """What users were shown of the items that the catalogue knows."""
    lists = []
    for state in states:
        times = list(state.impressions.values())
        rows = np.repeat(view.catalogue.ids.rows(state.impressions), [len(moments) for moments in times])
        moments = np.array([moment for several in times for moment in several], dtype=np.int64)
        lists.append((rows[rows >= 0], moments[rows >= 0]))
    return Impressions.of(lists)


def _capped(
    shown: Impressions | None, cap: FrequencyCapConfig | None, now: int, users: int
) -> list[Int32Array]:
    """Rows of items that each user was shown as often as a cap allows."""
    if shown is None or cap is None:
        return [np.empty(0, dtype=np.int32)] * users
    recent = shown.where(shown.timestamps > now - int(cap.window_hours * _HOUR_MS))
    lists = []
    for start, end in pairwise(recent.offsets):
        rows, counts = np.unique(recent.items[start:end], return_counts=True)
        lists.append(rows[counts >= cap.impressions])
    return lists


def _interests(user: User | None, config: ColdStartConfig) -> str | None:
    """The interests that a user states, as one text."""
    if user is None:
        return None
    parts: list[str] = []
    for name in config.attributes:
        value = user.attributes.get(name)
        listed = value if isinstance(value, (list, tuple)) else [value]
        parts.extend(text.strip() for text in listed if isinstance(text, str) and text.strip())
    return ", ".join(parts) or None


def _session(request: Request, view: CatalogueView, types: Mapping[str, EventType], now: int) -> UserEvents:
    """The session that a request brings along, oldest first; it counts as newer than all that is stored."""
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
    return UserEvents.of(session, view.catalogue, types)
