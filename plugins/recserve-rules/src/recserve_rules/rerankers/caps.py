"""The reranker ``caps``: not too many items of one brand, genre, seller ... on a page."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recserve import BoolArray, Candidates, Catalogue, Int32Array, Int64Array, Queries
from recserve_rules.expressions.columns import Column, Columns
from recserve_rules.parameters import CapsParams
from recserve_rules.rerankers.ordering import complete

_UNLIMITED = np.iinfo(np.int32).max


class CapsReranker:
    """Fills the first places from the top of the list, leaving out what would exceed a cap.

    An item is taken if for every rule each of its values is still below its limit (a list attribute counts
    once for each value; an item without the attribute is not capped). What was left out follows below in
    its order; if the list runs out before the page is full, the best of it fills the page after all. For
    attributes with one value an item, the caps of a single rule are exceeded only where no choice of items
    could keep them.

    Args:
        params: The rules.
        catalogue: Items with the attributes.

    Raises:
        ConfigError: No item has the attribute of a rule.
    """

    def __init__(self, params: CapsParams, catalogue: Catalogue) -> None:
        self._first = params.first
        columns = Columns.of(catalogue)
        columns.load(rule.attribute for rule in params.rules)
        self._rules: list[tuple[Column, NDArray[np.int64]]] = []
        for index, rule in enumerate(params.rules):
            column = columns.required(rule.attribute, f"reranker 'caps', rules[{index}].attribute")
            limits = np.full(column.categories, rule.limit, dtype=np.int64)
            for value, limit in rule.limits.items():
                if column.code(value) >= 0:
                    limits[column.code(value)] = limit
            self._rules.append((column, limits))

    def rerank(self, queries: Queries, ranked: Candidates, n: int) -> Int32Array:
        """Fill the first ``n`` places (or ``first`` of the parameters) within the caps.

        Returns:
            int32, shape (B, K): a permutation of the candidates' positions, then -1.
        """
        real = ranked.items >= 0
        if real.size == 0:
            return complete(np.empty((len(real), 0), dtype=np.int32), real)
        codes, limits = self._codes(ranked.items)
        taken = _admit(codes, limits, real, self._first or n)
        order = np.argsort(~taken, axis=1, kind="stable")
        chosen = np.where(np.take_along_axis(taken, order, axis=1), order, -1)
        return complete(chosen.astype(np.int32), real)

    def _codes(self, items: Int32Array) -> tuple[Int64Array, NDArray[np.int64]]:
        """Values of all rules side by side, (B, K, V), and the limit of each; the last one pads."""
        parts: list[Int64Array] = []
        limits: list[NDArray[np.int64]] = []
        start = 0
        for column, own in self._rules:
            codes = column.padded(items)
            parts.append(np.where(codes >= 0, codes + start, -1))
            limits.append(own)
            start += len(own)
        joined = np.concatenate(parts, axis=2)
        # Only the values at hand get a counter: there may be far more brands than candidates.
        limit = np.append(np.concatenate(limits), _UNLIMITED)
        at_hand = np.zeros(len(limit), dtype=np.bool_)
        at_hand[joined] = True
        return (np.cumsum(at_hand) - 1)[joined], limit[at_hand]


def _admit(codes: Int64Array, limits: NDArray[np.int64], real: BoolArray, first: int) -> BoolArray:
    """Which candidates the caps let into the first places, bool (B, K)."""
    batch, width = real.shape
    rows = np.arange(batch)[:, None]
    left = np.broadcast_to(limits, (batch, len(limits))).copy()
    places = np.full(batch, first)
    taken = np.zeros((batch, width), dtype=np.bool_)
    for position in range(width):
        own = codes[:, position]
        fits = (left[rows, own] > 0).all(axis=1) & real[:, position] & (places > 0)
        taken[:, position] = fits
        # Distinct values of one item, except for the pad, whose limit is never reached.
        left[rows, own] -= fits[:, None]
        places -= fits
        if not places.any():
            break
    return taken
