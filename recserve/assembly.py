"""Turns requests with external ids into a batch of queries with rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from recserve.catalogue import Catalogue
from recserve.domain import Event, EventType, FloatArray, Histories, Item, Queries, Ragged
from recserve.requests import Request


@dataclass(frozen=True)
class Assembled:
    """A batch whose ids are resolved but whose texts are not encoded yet.

    Attributes:
        catalogue: The bundle's catalogue.
        base: The queries without vectors.
        texts: Free text of each request.
        live_items: Items that the bundle does not know; item j has row ``n_items + j``.
        missing: For each request an anchor item id that nobody knows, None if all is well.
    """

    catalogue: Catalogue
    base: Queries
    texts: tuple[str | None, ...]
    live_items: tuple[Item, ...]
    missing: tuple[str | None, ...]
    event_names: tuple[str, ...]

    def queries(
        self, text_vectors: FloatArray | None = None, item_vectors: FloatArray | None = None
    ) -> Queries:
        """The batch with vectors of the non-empty texts and of the live items, in order.

        Without vectors, live items and texts are left out: the caller could not encode them.
        """
        base = self.base
        by_query = None
        if text_vectors is not None and len(text_vectors):
            by_query = np.zeros((len(self.texts), text_vectors.shape[1]), dtype=np.float32)
            by_query[[index for index, text in enumerate(self.texts) if text]] = text_vectors
        histories, anchors = base.histories, base.anchors
        if item_vectors is None:
            histories = histories.known(len(self.catalogue))
            anchors = np.where(anchors < len(self.catalogue), anchors, np.int32(-1))
        return Queries(
            user_ids=base.user_ids,
            histories=histories,
            times=base.times,
            anchors=anchors,
            excluded=base.excluded,
            texts=self.texts,
            text_vectors=by_query,
            extra_vectors=item_vectors,
            allowed=base.allowed,
            filters=base.filters,
            contexts=base.contexts,
        )

    def item(self, row: int) -> Item:
        """The item of a row, live ones included."""
        n_items = len(self.catalogue)
        return self.catalogue.item(row) if row < n_items else self.live_items[row - n_items]

    def last_events(self, query: int) -> dict[int, str]:
        """What the user last did with each item of his history, by row."""
        histories = self.base.histories
        span = slice(histories.offsets[query], histories.offsets[query + 1])
        rows, events = histories.items[span].tolist(), histories.events[span].tolist()
        return {row: self.event_names[event] for row, event in zip(rows, events, strict=True)}


def assemble(
    requests: Sequence[Request],
    catalogue: Catalogue,
    event_types: Mapping[str, EventType],
    histories: Mapping[str, Sequence[Event]],
    stored: Mapping[str, Item],
    *,
    now: int,
    exclude_seen: bool,
) -> Assembled:
    """Resolve ids, join stored history and session, and collect what must not be returned.

    Args:
        requests: The batch.
        catalogue: The bundle's catalogue.
        event_types: Configured event types by name, in code order.
        histories: Stored events by user id, oldest first.
        stored: Stored items that the catalogue does not hold, by id.
        now: The present, milliseconds.
        exclude_seen: Whether items of the history may not be returned again.
    """
    live_ids = {item_id: len(catalogue) + j for j, item_id in enumerate(sorted(stored))}
    codes = {name: code for code, name in enumerate(event_types)}

    def row(item_id: str) -> int:
        known = catalogue.ids.row(item_id)
        return known if known >= 0 else live_ids.get(item_id, -1)

    lists: list[list[tuple[int, int, float | None, int]]] = []
    excluded: list[list[int]] = []
    anchors: list[int] = []
    missing: list[str | None] = []
    for request in requests:
        steps = _steps(request, histories.get(request.user_id or "", ()), now)
        known = [
            (row(event.item_id), codes[event.event], event.value, event.timestamp)
            for event in steps
            if event.event in codes
        ]
        known = [step for step in known if step[0] >= 0]
        lists.append(known)
        barred = [step[0] for step in known] if exclude_seen else []
        barred.extend(row(item_id) for item_id in request.exclude)
        excluded.append(barred)
        anchor = -1 if request.item_id is None else row(request.item_id)
        anchors.append(anchor)
        missing.append(request.item_id if request.item_id is not None and anchor < 0 else None)

    return Assembled(
        catalogue=catalogue,
        base=Queries(
            user_ids=tuple(request.user_id for request in requests),
            histories=_pack(lists, list(event_types.values())),
            times=np.full(len(requests), now, dtype=np.int64),
            anchors=np.array(anchors, dtype=np.int32),
            excluded=Ragged.of(excluded),
            texts=tuple(request.query for request in requests),
            allowed=(None,) * len(requests),
            filters=tuple(request.filter for request in requests),
            contexts=tuple(request.context for request in requests),
        ),
        texts=tuple(request.query for request in requests),
        live_items=tuple(stored[item_id] for item_id in sorted(stored)),
        missing=tuple(missing),
        event_names=tuple(event_types),
    )


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


def _pack(
    lists: Sequence[Sequence[tuple[int, int, float | None, int]]], types: Sequence[EventType]
) -> Histories:
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
