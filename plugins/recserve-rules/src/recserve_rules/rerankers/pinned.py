"""The retriever and the reranker ``pinned``: certain items in certain places."""

from __future__ import annotations

import logging

import numpy as np

from recserve import Candidates, Catalogue, Int32Array, Queries, Retrieved
from recserve_rules.parameters import PinnedParams
from recserve_rules.rerankers.ordering import unchanged

logger = logging.getLogger(__name__)


class PinnedRetriever:
    """Proposes the pinned items, so that the reranker of the same name finds them among the candidates.

    Args:
        params: Places and items.
        catalogue: The items; those that it does not hold are left out.
    """

    def __init__(self, params: PinnedParams, catalogue: Catalogue) -> None:
        self._rows = [row for _, row in _known_slots(params, catalogue)]

    def retrieve(self, queries: Queries, k: int) -> Retrieved:
        """The pinned items that each query may return, in the order of their places.

        Returns:
            Shape (B, m) with m <= min(k, number of slots); scores fall from 1 in equal steps.
        """
        picked = [
            [row for row in self._rows if _permitted(queries, index, row)][:k]
            for index in range(len(queries))
        ]
        width = max(map(len, picked), default=0)
        items = np.full((len(queries), width), -1, dtype=np.int32)
        for index, rows in enumerate(picked):
            items[index, : len(rows)] = rows
        scores = 1.0 - np.arange(width, dtype=np.float32) / max(len(self._rows), 1)
        return Retrieved.of(items, np.where(items >= 0, scores, np.float32(-np.inf)).astype(np.float32))


class PinnedReranker:
    """Puts pinned items into their places, if they are candidates that the query may return.

    A reranker can only order candidates: add the retriever ``pinned`` with the same slots to the scenario to
    have them proposed to every query. All other items keep their order around the pinned ones. Put it last,
    since any later reranker moves the items again.

    Args:
        params: Places and items.
        catalogue: The items; those that it does not hold are left out.
    """

    def __init__(self, params: PinnedParams, catalogue: Catalogue) -> None:
        self._slots = _known_slots(params, catalogue)

    def rerank(self, queries: Queries, ranked: Candidates, n: int) -> Int32Array:
        """Place the pinned items; a place beyond the end of the list means its end.

        Returns:
            int32, shape (B, K): a permutation of the candidates' positions, then -1.
        """
        order = unchanged(ranked.items >= 0)
        counts = (ranked.items >= 0).sum(axis=1)
        for index, row in enumerate(ranked.items):
            places: dict[int, int] = {}
            for slot, item in self._slots:
                found = np.flatnonzero(row == item)
                if len(found) and _permitted(queries, index, item):
                    places[int(found[0])] = slot
            if places:
                order[index, : counts[index]] = _placed(order[index, : counts[index]], places)
        return order


def _placed(order: Int32Array, places: dict[int, int]) -> list[int]:
    """One query's positions with some of them put into slots (from 0); ``places`` is in slot order."""
    others = iter([int(position) for position in order if int(position) not in places])
    by_slot = {slot: position for position, slot in places.items()}
    result = [by_slot[slot] if slot in by_slot else next(others, None) for slot in range(len(order))]
    filled = [position for position in result if position is not None]
    late = [position for position, slot in places.items() if slot >= len(order)]
    return [*filled, *late, *others]


def _known_slots(params: PinnedParams, catalogue: Catalogue) -> list[tuple[int, int]]:
    """(slot from 0, catalogue row) in slot order."""
    slots: list[tuple[int, int]] = []
    for place, item_id in sorted(params.slots.items()):
        row = catalogue.ids.row(item_id)
        if row >= 0:
            slots.append((place - 1, row))
        else:
            logger.warning("pinned: the catalogue has no item %r, place %d is not pinned", item_id, place)
    return slots


def _permitted(queries: Queries, index: int, item: int) -> bool:
    allowed = queries.allowed[index] if queries.allowed else None
    if allowed is not None and not allowed[item]:
        return False
    return queries.anchors[index] != item and not bool((queries.excluded[index] == item).any())
