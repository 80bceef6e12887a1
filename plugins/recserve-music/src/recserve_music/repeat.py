"""The retriever ``repeat``: items of the user's own history that are due again.

What people consume again is explained by how often and how lately they did (Anderson, Kumar, Tomkins and
Vassilvitskii 2014, "The dynamics of repeat consumption", WWW). Both are in the base-level activation of
ACT-R, which predicts relistening (Reiter-Haas, Parada-Cabaleiro, Schedl, Motamedi, Tkalcic and Lex 2021,
"Predicting music relistening behavior using the ACT-R framework", RecSys)::

    activation(i) = ln(sum over events j with item i: weight(j) * age(j) ** -decay)

Recency alone would propose what has just been played. Somebody tires of that for a while (Kapoor, Subbian,
Srivastava and Schrater 2015, "Just in time recommendations: modeling the dynamics of boredom in activity
streams", WSDM), hence the second term::

    score(i) = activation(i) + due_weight * ln(min(1, time since the last event / mean interval of events))
"""

from __future__ import annotations

import numpy as np

from recserve import (
    Catalogue,
    Float64Array,
    FloatArray,
    Int64Array,
    Queries,
    Retrieved,
    in_parts,
    mask_scores,
    top_k,
)
from recserve_music.parameters import RepeatParams

HOUR_MS = 3_600_000.0
# Events of the same minute are equally recent; an age of zero would count without end.
LEAST_AGE_HOURS = 1 / 60
# Scores (float32) held at a time: 32 MB.
SCORES_AT_A_TIME = 8_000_000


class RepeatRetriever:
    """Items that the user consumed several times, by activation and by whether they are due.

    Negative events, such as skips, lower the activation by their weight; an item whose activation they
    outweigh is not returned. Nothing is learnt: all is in the history of the query. A query with a text, or
    for items similar to one, gets nothing. A scenario that is to recommend items again has ``seen: allow``.

    Args:
        params: Parameters.
        catalogue: The items.
    """

    def __init__(self, params: RepeatParams, catalogue: Catalogue) -> None:
        self._params = params
        self._n_items = len(catalogue)

    def retrieve(self, queries: Queries, k: int) -> Retrieved:
        """Up to ``k`` items of each query's history, best first."""
        size = max(1, SCORES_AT_A_TIME // max(self._n_items, 1))
        return in_parts(queries, size, lambda part: self._retrieve(part, k))

    def _retrieve(self, queries: Queries, k: int) -> Retrieved:
        scores = self.scores(queries)
        scores[~queries.plain] = -np.inf
        return Retrieved.of(*top_k(mask_scores(scores, queries), k))

    def scores(self, queries: Queries) -> FloatArray:
        """Score of each item for each query, float32, shape (B, n_items); -inf for what is not due."""
        histories = queries.histories.known(self._n_items)
        owners = histories.owners()
        hours = (queries.times[owners] - histories.timestamps) / HOUR_MS
        pairs, where = np.unique(owners * max(self._n_items, 1) + histories.items, return_inverse=True)
        faded = histories.weights * np.maximum(hours, LEAST_AGE_HOURS) ** -self._params.decay
        activation = np.bincount(where, faded, len(pairs))

        liked = histories.weights > 0
        counts, newest, oldest = _spans(where[liked], hours[liked], len(pairs))
        repeated = (counts >= self._params.least) & (activation > 0) & (newest >= self._params.rest_hours)
        found = np.flatnonzero(repeated)
        interval = (oldest[found] - newest[found]) / np.maximum(counts[found] - 1, 1)
        due = np.maximum(newest[found], LEAST_AGE_HOURS) / np.maximum(interval, LEAST_AGE_HOURS)
        value = np.log(activation[found]) + self._params.due_weight * np.log(np.minimum(due, 1.0))

        scores = np.full((len(queries), self._n_items), -np.inf, dtype=np.float32)
        scores.reshape(-1)[pairs[found]] = value
        return scores


def _spans(
    where: Int64Array, hours: Float64Array, size: int
) -> tuple[Int64Array, Float64Array, Float64Array]:
    """Number of events and least and greatest age in hours of each group, shape (size,)."""
    newest, oldest = np.full(size, np.inf), np.full(size, -np.inf)
    np.minimum.at(newest, where, hours)
    np.maximum.at(oldest, where, hours)
    return np.bincount(where, minlength=size).astype(np.int64), newest, oldest
