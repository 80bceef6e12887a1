"""The rerankers ``boost`` and ``fresh``: scores raised by condition or by recency."""

from __future__ import annotations

import logging
from zoneinfo import ZoneInfo

import numpy as np

from recserve import Candidates, Catalogue, ConfigError, Float64Array, Int32Array, Queries, nearest
from recserve_rules.expressions.columns import Columns
from recserve_rules.expressions.conditions import standing
from recserve_rules.expressions.dates import moments
from recserve_rules.parameters import BoostParams, FreshParams
from recserve_rules.rerankers.ordering import by_utility, standardised

logger = logging.getLogger(__name__)

_DAY = 86_400_000.0
_RANK_CONSTANT = 60.0


class BoostReranker:
    """Moves items that meet a condition up or down.

    Scores may have any scale and sign, so they are never multiplied as they are. Rules with ``add`` work on
    standardised scores: +1 lifts a matching item by one standard deviation of its query's candidates.
    Rules with ``multiply`` work on ranks, on the utility 1 / (60 + rank) of reciprocal rank fusion: a
    factor of 2 takes rank 60 past rank 1, whatever the scores. Several matching rules add up (or multiply).

    Args:
        params: The rules.
        catalogue: Items with attributes.

    Raises:
        ConfigError: A condition cannot be used.
    """

    def __init__(self, params: BoostParams, catalogue: Catalogue) -> None:
        self._multiplies = params.rules[0].multiply is not None
        # One more entry, for rows that the catalogue does not hold: no condition is known to hold there.
        self._effect = np.full(len(catalogue) + 1, 1.0 if self._multiplies else 0.0)
        columns = Columns.of(catalogue)
        for index, rule in enumerate(params.rules):
            hits = np.flatnonzero(standing(rule.when, columns, f"reranker 'boost', rules[{index}].when"))
            if rule.multiply is not None:
                self._effect[hits] *= rule.multiply
            elif rule.add is not None:
                self._effect[hits] += rule.add

    def rerank(self, queries: Queries, ranked: Candidates, n: int) -> Int32Array:
        """Order by boosted utility.

        Returns:
            int32, shape (B, K): a permutation of the candidates' positions, then -1.
        """
        real = ranked.items >= 0
        effect = _of_items(self._effect, ranked.items)
        if self._multiplies:
            return by_utility(effect / (_RANK_CONSTANT + np.cumsum(real, axis=1)), real)
        return by_utility(standardised(ranked) + effect, real)


class FreshReranker:
    """Moves new items up: adds ``weight * 2^(-age / half life)`` to standardised scores.

    Age is counted at the time of the query; what lies in the future is as good as new. Items without a date
    get nothing.

    Args:
        params: Attribute, weight, half-life.
        catalogue: Items with a date.

    Raises:
        ConfigError: No item has the attribute, or none of them is a date.
    """

    def __init__(self, params: FreshParams, catalogue: Catalogue) -> None:
        self._params = params
        values = catalogue.column(params.attribute)
        known = catalogue.attribute_names
        if len(catalogue) and params.attribute not in known:
            raise ConfigError(
                f"reranker 'fresh', attribute: no item has an attribute {params.attribute!r}"
                f"{nearest(params.attribute, known)}"
            )
        dates, unreadable = moments(values, ZoneInfo(params.timezone), end=False)
        if len(unreadable):
            example = f"{values[unreadable[0]]!r}"[:60]
            if np.isnan(dates).all():
                raise ConfigError(
                    f"reranker 'fresh': attribute {params.attribute!r} holds no dates, but for example "
                    f"{example}; use ISO 8601, seconds or milliseconds since the epoch, or years"
                )
            logger.warning(
                "reranker 'fresh': %d items have a %r that is no date, for example %s",
                len(unreadable),
                params.attribute,
                example,
            )
        self._dates: Float64Array = np.append(dates, np.nan)

    def rerank(self, queries: Queries, ranked: Candidates, n: int) -> Int32Array:
        """Order by score and freshness.

        Returns:
            int32, shape (B, K): a permutation of the candidates' positions, then -1.
        """
        real = ranked.items >= 0
        age = np.maximum(queries.times[:, None] - _of_items(self._dates, ranked.items), 0.0) / _DAY
        freshness = np.nan_to_num(np.exp2(-age / self._params.half_life_days), nan=0.0)
        return by_utility(standardised(ranked) + self._params.weight * freshness, real)


def _of_items(values: Float64Array, items: Int32Array) -> Float64Array:
    """Entries of candidates, shape of ``items``; rows outside of the catalogue read the last entry."""
    outside = len(values) - 1
    return np.asarray(values[np.where((items >= 0) & (items < outside), items, outside)])
