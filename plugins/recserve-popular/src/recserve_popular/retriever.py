"""One ranking of the whole catalogue for everybody, walked from the top for each query."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recserve import (
    BundleError,
    Catalogue,
    Dataset,
    FitContext,
    FloatArray,
    Int32Array,
    Queries,
    Retrieved,
    read_array,
)

ORDER_FILE = "order.npy"
SCORES_FILE = "scores.npy"
DAY_MS = 86_400_000.0


class PopularityRetriever:
    """Ranks items by the summed, optionally decayed, confidence of positive events.

    Ties go to the item whose newest positive event is later, then to the lower catalogue row. Items
    without a positive event come last, in catalogue order with score 0, so that a page can always be
    filled. Before :meth:`fit` or :meth:`load` that is the whole ranking.

    Args:
        catalogue: The items.
        distinct_users: Count a user once for an item, with the strongest (decayed) event.
        half_life_days: Days after which an event counts half; None for no decay.
    """

    def __init__(
        self, catalogue: Catalogue, *, distinct_users: bool, half_life_days: float | None = None
    ) -> None:
        self._n_items = len(catalogue)
        self._distinct_users = distinct_users
        self._half_life_ms = None if half_life_days is None else half_life_days * DAY_MS
        self._use(np.arange(self._n_items, dtype=np.int32), np.zeros(self._n_items, dtype=np.float32))

    def fit(self, data: Dataset, context: FitContext) -> Mapping[str, Any]:
        """Count the positive events of ``data``."""
        liked = data.positive()
        log_scores = np.full(self._n_items, -np.inf)
        newest = np.full(self._n_items, np.iinfo(np.int64).min)
        if len(liked):
            # Powers of two in the log domain: with a short half-life old events would underflow,
            # and everything older would be tied.
            logs = np.log2(liked.weights.astype(np.float64))
            if self._half_life_ms is not None:
                age = (int(data.timestamps.max()) - liked.timestamps).astype(np.float64)
                logs -= age / self._half_life_ms
            items = liked.items.astype(np.int64)
            np.maximum.at(newest, items, liked.timestamps)
            if self._distinct_users:
                items, logs = _strongest(liked.users.astype(np.int64), items, logs)
            log_scores = _log2_sums(items, logs, self._n_items)
        rows = np.arange(self._n_items)
        order = np.lexsort((rows, -newest, -log_scores))
        # exp2 may round neighbours the wrong way round; the order is the truth.
        falling = np.minimum.accumulate(np.exp2(log_scores[order])).astype(np.float32)
        self._use(order.astype(np.int32), falling)
        return {"items_with_events": int(np.isfinite(log_scores).sum())}

    def save(self, directory: Path) -> None:
        """Write the ranking: item rows best first and their scores."""
        np.save(directory / ORDER_FILE, self._order, allow_pickle=False)
        np.save(directory / SCORES_FILE, self._scores, allow_pickle=False)

    def load(self, directory: Path) -> None:
        """Restore what :meth:`save` wrote.

        Raises:
            BundleError: A file is missing, damaged, or made for another catalogue.
        """
        order = read_array(directory / ORDER_FILE, np.int32, (self._n_items,))
        scores = read_array(directory / SCORES_FILE, np.float32, (self._n_items,))
        if not _is_ranking(order):
            raise BundleError(f"{directory / ORDER_FILE} is not a ranking of all items")
        if not np.isfinite(scores).all() or (scores[1:] > scores[:-1]).any():
            raise BundleError(f"{directory / SCORES_FILE} does not hold falling scores")
        self._use(order, scores)

    def _use(self, order: Int32Array, scores: FloatArray) -> None:
        self._order, self._scores = order, scores
        self._places = np.empty(self._n_items, dtype=np.int32)
        self._places[order] = np.arange(self._n_items, dtype=np.int32)

    def retrieve(self, queries: Queries, k: int) -> Retrieved:
        """The ``k`` best allowed items for each query."""
        k = min(k, self._n_items)
        items = np.full((len(queries), k), -1, dtype=np.int32)
        scores = np.full((len(queries), k), -np.inf, dtype=np.float32)
        for row in range(len(queries)):
            places = self._walk(queries, row, k)
            items[row, : len(places)] = self._order[places]
            scores[row, : len(places)] = self._scores[places]
        return Retrieved.of(items, scores)

    def _walk(self, queries: Queries, row: int, k: int) -> NDArray[np.intp]:
        """Places in the ranking of the first ``k`` items that query ``row`` may get."""
        banned = np.append(queries.excluded[row], queries.anchors[row])
        allowed = queries.allowed[row] if queries.allowed else None
        # The first stretch is always enough without a filter; with one, it grows as needed.
        reach = k + len(banned)
        out = self._places[banned[(banned >= 0) & (banned < self._n_items)]]
        while True:
            stretch = self._order[:reach]
            keep = np.ones(len(stretch), dtype=np.bool_)
            keep[out[out < len(stretch)]] = False
            if allowed is not None:
                keep &= allowed[stretch]
            places = np.flatnonzero(keep)
            if len(places) >= k or reach >= self._n_items:
                return places[:k]
            reach *= 4


def _strongest(
    users: NDArray[np.int64], items: NDArray[np.int64], logs: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """One event a (user, item) pair: the one with the largest log weight."""
    order = np.lexsort((logs, users, items))
    users, items, logs = users[order], items[order], logs[order]
    last = np.append((items[1:] != items[:-1]) | (users[1:] != users[:-1]), True)
    return items[last], logs[last]


def _log2_sums(items: NDArray[np.int64], logs: NDArray[np.float64], n_items: int) -> NDArray[np.float64]:
    """``log2(sum of 2**logs)`` of each item, shape (n_items,); -inf for items without an event."""
    top = np.full(n_items, -np.inf)
    np.maximum.at(top, items, logs)
    sums = np.bincount(items, weights=np.exp2(logs - top[items]), minlength=n_items)
    touched = sums > 0
    top[touched] += np.log2(sums[touched])
    return top


def _is_ranking(order: Int32Array) -> bool:
    """Whether every row occurs once."""
    if len(order) and not (order.min() >= 0 and order.max() < len(order)):
        return False
    ranked = np.zeros(len(order), dtype=np.bool_)
    ranked[order] = True
    return bool(ranked.all())
