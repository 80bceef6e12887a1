"""Trials of new items: how often each was shown and clicked, which is what exploration draws from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from recserve.data.arrays import Int64Array
from recserve.data.entities import Event, EventType
from recserve.serving.requests.request import Recommendation
from recserve.serving.state.live_catalogue import CatalogueFollower


@dataclass(frozen=True)
class TrialCounts:
    """Trials of the new items of a view.

    Attributes:
        shown: int64, shape (M,).
        clicked: int64, shape (M,).
    """

    shown: Int64Array
    clicked: Int64Array

    @classmethod
    def none(cls, size: int) -> TrialCounts:
        """No trials of ``size`` new items."""
        return cls(np.zeros(size, dtype=np.int64), np.zeros(size, dtype=np.int64))

    def over(self, size: int) -> TrialCounts:
        """These counts for ``size`` new items: further ones have none."""
        missing = (0, max(size - len(self.shown), 0))
        return TrialCounts(np.pad(self.shown, missing)[:size], np.pad(self.clicked, missing)[:size])


class TrialStore(Protocol):
    """The part of a store that keeps trials."""

    def add_trials(self, shown: Mapping[str, int], clicked: Mapping[str, int]) -> None:
        """See :meth:`recserve.store.Store.add_trials`."""
        ...


class TrialRecorder:
    """Counts what became of the new items that answers showed. Its methods return at once.

    Args:
        store: Where counts are kept.
        live: Knows which items are new.
        event_types: Configured event types by name.
    """

    def __init__(
        self, store: TrialStore, live: CatalogueFollower, event_types: Mapping[str, EventType]
    ) -> None:
        self._store = store
        self._live = live
        self._event_types = event_types

    def shown(self, answers: Sequence[Recommendation]) -> None:
        """Count the new items of served answers."""
        counts = self._new(item.item_id for answer in answers for item in answer.items)
        if counts:
            self._store.add_trials(counts, {})

    def clicked(self, events: Sequence[Event]) -> None:
        """Count events that answers led to on new items."""
        counts = self._new(items_clicked(events, self._event_types))
        if counts:
            self._store.add_trials({}, counts)

    def _new(self, item_ids: Iterable[str]) -> Counter[str]:
        """How often each new item is among some items."""
        view = self._live.view
        if not len(view.encoded):
            return Counter()
        row = view.catalogue.ids.row
        return Counter(item_id for item_id in item_ids if row(item_id) >= view.known)


def items_clicked(events: Iterable[Event], event_types: Mapping[str, EventType]) -> Iterator[str]:
    """The item of each event that speaks for it and that an answer led to."""
    for event in events:
        liked = event.event in event_types and event_types[event.event].weight > 0
        if liked and event.item_id and event.recommendation_id is not None:
            yield event.item_id
