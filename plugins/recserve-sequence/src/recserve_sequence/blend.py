"""Blends the sequence score with what retrieval knows: a conditional logit over candidates.

For each query the probability of candidate j is softmax(w . x_j) over the query's candidates
(McFadden 1974; ListNet's top-one model, Cao et al. 2007). Features are standardised within the query,
so retrievers with different scales mix; a retriever that did not answer gives zeros throughout,
which moves no candidate past another.

Examples come from some users, most of them from busy ones. Two things keep the blend from serving those
alone: a user's examples weigh less the more there are of him, and what makes a weight depend on the
length of the history is drawn to none more strongly than the weight itself, since few short histories are
there to learn it from and the many long ones would decide it for them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from recserve import Candidates, Float64Array, FloatArray, compiled, ndcg

RANK_OFFSET = 10.0
LENGTH_PULL = 50.0
"""How much more strongly than others a weight that depends on the length of the history is pulled to 0."""
# More candidates of a query than this are not ranked by comparing each with all others.
_COUNTED = 2048
_OWN = ("sequence", "sequence_long", "popularity", "popularity_long", "similarity")
_EACH = ("score", "score_long", "present", "rank")


@dataclass(frozen=True, slots=True)
class Signals:
    """What the sequence model says about B x K candidates.

    Attributes:
        sequence: float32, shape (B, K); logits, anything where ``known`` is False.
        popularity: float32, shape (B, K); log(1 + positive events).
        similarity: float32, shape (B, K); cosine to the recent profile, 0 without text.
        known: bool, shape (B,); whether the user has any event to read.
        length: float32, shape (B,); log-length of the history in [-0.5, 0.5].
    """

    sequence: FloatArray
    popularity: FloatArray
    similarity: FloatArray
    known: NDArray[np.bool_]
    length: FloatArray

    def take(self, queries: NDArray[np.int64]) -> Signals:
        """Only these queries."""
        return Signals(
            self.sequence[queries],
            self.popularity[queries],
            self.similarity[queries],
            self.known[queries],
            self.length[queries],
        )

    @classmethod
    def concatenate(cls, parts: Sequence[Signals]) -> Signals:
        """Signals of consecutive batches with equal K as one; at least one part."""
        return cls(
            np.concatenate([part.sequence for part in parts]),
            np.concatenate([part.popularity for part in parts]),
            np.concatenate([part.similarity for part in parts]),
            np.concatenate([part.known for part in parts]),
            np.concatenate([part.length for part in parts]),
        )


def standardise(values: FloatArray, valid: NDArray[np.bool_]) -> FloatArray:
    """Zero mean and unit deviation over the valid entries of each row; 0 elsewhere.

    Args:
        values: float32, shape (B, K); may hold anything where not valid.
        valid: bool, shape (B, K).
    """
    safe = np.where(valid, values, 0).astype(np.float64)
    count = np.maximum(valid.sum(axis=1, keepdims=True), 1)
    mean = safe.sum(axis=1, keepdims=True) / count
    centred = np.where(valid, safe - mean, 0.0)
    spread = np.sqrt((centred**2).sum(axis=1, keepdims=True) / count)
    scaled = centred / np.where(spread > 1e-9, spread, 1.0)
    return scaled.astype(np.float32)


def _source_features(scores: FloatArray, valid: NDArray[np.bool_], length: FloatArray) -> list[FloatArray]:
    present = valid & np.isfinite(scores)
    score = standardise(scores, present)
    order = np.argsort(np.where(present, -scores, np.inf), axis=1, kind="stable")
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.arange(order.shape[1])[None, :], axis=1)
    reciprocal = np.where(present, RANK_OFFSET / (rank + RANK_OFFSET), 0).astype(np.float32)
    return [score, score * length[:, None], present.astype(np.float32), reciprocal]


@dataclass(frozen=True)
class Blend:
    """Weights of a linear score over candidates.

    Attributes:
        sources: Names of the retrievers it was learnt with.
        weights: float64, shape (5 + 4 * len(sources),).
    """

    sources: tuple[str, ...]
    weights: Float64Array

    @classmethod
    def untrained(cls, sources: Sequence[str] = ()) -> Blend:
        """The sequence score alone."""
        weights = np.zeros(len(_OWN) + len(_EACH) * len(sources))
        weights[0] = 1.0
        return cls(tuple(sources), weights)

    @classmethod
    def learn(
        cls,
        signals: Signals,
        candidates: Candidates,
        labels: FloatArray,
        users: NDArray[np.int32],
        l2: float,
    ) -> Blend:
        """Fit by penalised maximum likelihood (L-BFGS; convex, so the result is unique).

        Args:
            signals: Of Q queries.
            candidates: Shape (Q, K).
            labels: float32, shape (Q, K); queries without a positive label teach nothing.
            users: int32, shape (Q,); whose query it is.
            l2: Strength of the pull towards :meth:`untrained`, as a number of queries.
        """
        start = cls.untrained(sorted(candidates.sources))
        valid = candidates.items >= 0
        target = np.where(valid, np.maximum(labels, 0), 0).astype(np.float64)
        useful = np.flatnonzero((target.sum(axis=1) > 0) & signals.known)
        if len(useful) == 0:
            return start
        features = start.features(signals.take(useful), candidates.of_queries(useful))
        flat = features.reshape(-1, features.shape[2])
        open_ = valid[useful]
        target = target[useful] / target[useful].sum(axis=1, keepdims=True)
        share = _shares(users[useful])
        pull = l2 * np.array([LENGTH_PULL if name.endswith("_long") else 1.0 for name in start.names()])

        def objective(weights: Float64Array) -> tuple[float, Float64Array]:
            scores = (features @ weights.astype(np.float32)).astype(np.float64)
            logits = np.where(open_, scores, -np.inf)
            logits -= logits.max(axis=1, keepdims=True)
            exp = np.exp(logits)
            total = exp.sum(axis=1, keepdims=True)
            losses = np.log(total[:, 0]) - (target * np.where(open_, logits, 0)).sum(axis=1)
            residual = ((exp / total - target) * share[:, None]).astype(np.float32)
            gradient = (residual.ravel() @ flat).astype(np.float64)
            away = weights - start.weights
            return float(share @ losses + 0.5 * (pull * away) @ away), gradient + pull * away

        fitted = minimize(objective, start.weights, jac=True, method="L-BFGS-B")
        return cls(start.sources, np.asarray(fitted.x, dtype=np.float64))

    def features(self, signals: Signals, candidates: Candidates) -> FloatArray:
        """Features of each candidate, float32, shape (B, K, F)."""
        valid = candidates.items >= 0
        length = signals.length
        sequence = standardise(signals.sequence, valid & signals.known[:, None])
        popularity = standardise(signals.popularity, valid)
        columns = [
            sequence,
            sequence * length[:, None],
            popularity,
            popularity * length[:, None],
            standardise(signals.similarity, valid),
        ]
        absent = np.full(candidates.items.shape, np.nan, dtype=np.float32)
        for source in self.sources:
            scores = absent
            if source in candidates.sources:
                scores = candidates.source_scores[:, :, candidates.sources.index(source)]
            columns.extend(_source_features(scores, valid, length))
        return np.stack(columns, axis=-1)

    def score(self, signals: Signals, candidates: Candidates) -> FloatArray:
        """Blended scores, float32, shape (B, K); users without events keep retrieval's order."""
        kernels = compiled("recserve_sequence.kernels")
        if kernels is not None and candidates.items.shape[1] <= _COUNTED:
            return self._blended(kernels.blend, signals, candidates)
        valid = candidates.items >= 0
        blended = self.features(signals, candidates) @ self.weights.astype(np.float32)
        retrieval = standardise(candidates.scores, valid & np.isfinite(candidates.scores))
        return np.where(signals.known[:, None], blended, retrieval).astype(np.float32)

    def _blended(self, blend: Callable[..., None], signals: Signals, candidates: Candidates) -> FloatArray:
        """:meth:`score` by a compiled kernel."""
        found = np.empty(candidates.items.shape, dtype=np.float32)
        given = candidates.sources
        read = (
            candidates.items.astype(np.int32, copy=False),
            *(signals.sequence, signals.popularity, signals.similarity, signals.known, signals.length),
            candidates.source_scores,
            candidates.scores,
            np.array([given.index(name) if name in given else -1 for name in self.sources], dtype=np.int64),
            self.weights.astype(np.float32),
        )
        # Candidates that were cut to the longest row are views.
        blend(*map(np.ascontiguousarray, read), found)
        return found

    def to_json(self) -> dict[str, Any]:
        """JSON-like form, readable by a person: feature name -> weight."""
        return {
            "sources": list(self.sources),
            "weights": dict(zip(self.names(), map(float, self.weights), strict=True)),
        }

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> Blend:
        """Inverse of :meth:`to_json`.

        Raises:
            ValueError: The names do not belong to the sources.
        """
        blend = cls.untrained([str(source) for source in facts["sources"]])
        if set(blend.names()) != set(facts["weights"]):
            raise ValueError("the blend's weights do not belong to its sources")
        weights = [float(facts["weights"][name]) for name in blend.names()]
        return cls(blend.sources, np.array(weights, dtype=np.float64))

    def names(self) -> list[str]:
        """Names of the features in the order of the weights."""
        return [*_OWN, *(f"{source}.{kind}" for source in self.sources for kind in _EACH)]


def _shares(users: NDArray[np.int32]) -> Float64Array:
    """Weight of each example: less the more its user has; in sum the effective number of examples."""
    shares: Float64Array = 1.0 / np.sqrt(np.bincount(users)[users])
    shares *= shares.sum() / (shares @ shares)
    return shares


def compare(
    signals: Signals, candidates: Candidates, labels: FloatArray, users: NDArray[np.int32], l2: float
) -> dict[str, float]:
    """nDCG@10 among the candidates of every fifth user, the blend learnt on the other users.

    Returns:
        Values for ``blend``, ``sequence`` (its score alone) and ``retrieval`` (fused order); empty
        when either part of the users has no positive candidate.
    """
    positive = ((labels > 0) & (candidates.items >= 0)).any(axis=1) & signals.known
    held = np.flatnonzero(positive & (users % 5 == 0))
    rest = np.flatnonzero(positive & (users % 5 != 0))
    if len(held) == 0 or len(rest) == 0:
        return {}
    blend = Blend.learn(signals.take(rest), candidates.of_queries(rest), labels[rest], users[rest], l2)
    signals, candidates, labels = signals.take(held), candidates.of_queries(held), labels[held]
    scores = {
        "blend": blend.score(signals, candidates),
        "sequence": Blend.untrained().score(signals, candidates),
        "retrieval": candidates.scores,
    }
    return {name: round(_mean_ndcg(values, labels, candidates), 6) for name, values in scores.items()}


def _mean_ndcg(scores: FloatArray, labels: FloatArray, candidates: Candidates, k: int = 10) -> float:
    """Mean nDCG@k with binary relevance within the candidates."""
    valid = candidates.items >= 0
    relevant = np.where(valid, labels > 0, False)
    order = np.argsort(np.where(valid, -scores, np.inf), axis=1, kind="stable")[:, :k]
    hits = np.take_along_axis(relevant, order, axis=1)
    return float(ndcg(hits, relevant.sum(axis=1), k).mean())
