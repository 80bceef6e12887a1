"""Rerankers ``discount`` and ``renew``, which read what the user was shown."""

from __future__ import annotations

import math

import numpy as np

from recserve import Candidates, Catalogue, Impressions, Int32Array, Queries
from recserve_rules.parameters import DiscountParams, RenewParams
from recserve_rules.rerankers.ordering import by_utility, complete, standardised, unchanged

_DAY = 86_400_000.0
_MINUTE = 60_000


class DiscountReranker:
    """Moves items down that were shown again and again and never clicked.

    Takes ``weight * log2(1 + n)`` from standardised scores, where n is the number of impressions since the
    user's last positive event with the item, each of which counts ``2^(-age / half life)``. So the first
    impression costs ``weight``, three cost twice as much and ten about 3.5 times, and an item that is left
    alone comes back. Users who were shown nothing keep their order. (Lee et al. 2014.)

    Args:
        params: Weight and half-life.
        catalogue: Not read.
    """

    def __init__(self, params: DiscountParams, catalogue: Catalogue) -> None:
        self._params = params

    def rerank(self, queries: Queries, ranked: Candidates, n: int) -> Int32Array:
        """Order by score less the discount.

        Returns:
            int32, shape (B, K): a permutation of the candidates' positions, then -1.
        """
        real, shown = ranked.items >= 0, queries.unanswered
        if shown is None or not len(shown.items):
            return unchanged(real)
        age = np.maximum(queries.times[shown.owners()] - shown.timestamps, 0) / _DAY
        counts = shown.of_items(ranked.items, np.exp2(-age / self._params.half_life_days))
        return by_utility(standardised(ranked) - self._params.weight * np.log2(1.0 + counts), real)


class RenewReranker:
    """Renews a share of the page between two visits.

    A visit ends when nothing was shown for ``visit_minutes``. Items that the visit before this one showed get
    at most ``1 - share`` of the page, the best of them; the others follow below it. What this visit has
    shown does not count, so the page stays while a user goes back and forth. If the list runs out before the
    page is full, items of the last visit fill it after all.

    Args:
        params: Share, and what ends a visit.
        catalogue: Not read.
    """

    def __init__(self, params: RenewParams, catalogue: Catalogue) -> None:
        self._params = params

    def rerank(self, queries: Queries, ranked: Candidates, n: int) -> Int32Array:
        """Fill the first ``n`` places with the share of other items.

        Returns:
            int32, shape (B, K): a permutation of the candidates' positions, then -1.
        """
        real, shown = ranked.items >= 0, queries.impressions
        if shown is None or not len(shown.items):
            return unchanged(real)
        again = real & (self._last_visit(shown, queries).of_items(ranked.items) > 0)
        # Rounded against binary fractions: a share of .3 of ten places is three.
        room = n - math.ceil(round(self._params.share * n, 9))
        taken = real & (~again | (np.cumsum(again, axis=1) <= room))
        taken &= np.cumsum(taken, axis=1) <= n
        order = np.argsort(~taken, axis=1, kind="stable")
        chosen = np.where(np.take_along_axis(taken, order, axis=1), order, -1)
        return complete(chosen.astype(np.int32), real)

    def _last_visit(self, shown: Impressions, queries: Queries) -> Impressions:
        """The impressions of the visit before the one that each query belongs to."""
        longest = self._params.visit_minutes * _MINUTE
        keep = np.zeros(len(shown.items), dtype=np.bool_)
        for user in range(len(shown)):
            span = slice(shown.offsets[user], shown.offsets[user + 1])
            times = shown.timestamps[span]
            # The query itself begins a visit, unless the last one goes on.
            moments = np.append(np.unique(times), queries.times[user])
            begins = moments[np.flatnonzero(np.diff(moments, prepend=-np.inf) > longest)]
            if len(begins) > 1:
                keep[span] = (times >= begins[-2]) & (times < begins[-1])
        return shown.where(keep)
