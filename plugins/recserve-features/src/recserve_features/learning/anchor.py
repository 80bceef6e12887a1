"""Anchor of a ranker over features: retrieval's best order as a score that learning starts from.

With few users to learn from, a model alone may end worse than a retriever's own order. So it is learnt on top
of ``-scale * log(1 + rank)`` of whichever order is best on the examples, fused or of one retriever, its scale
by maximum likelihood of a conditional logit (McFadden 1974).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar

from recserve import BoolArray, Candidates, Float64Array, FloatArray, Int32Array, Int64Array, ndcg
from recserve_features.inputs.values import ranks

_K = 10
_MOST = 10.0


@dataclass(frozen=True, slots=True)
class Anchor:
    """An order of candidates as a score.

    Attributes:
        source: Retriever whose order it is; None for the fused one.
        scale: What a step of the rank's logarithm counts.
    """

    source: str | None = None
    scale: float = 0.0

    def scores(self, candidates: Candidates) -> Float64Array:
        """Float64, shape (B, K); what the retriever did not find stands last."""
        return -self.scale * _steps(candidates, self.source).astype(np.float64)

    @classmethod
    def learnt(cls, candidates: Candidates, hits: BoolArray, users: Int32Array) -> Anchor:
        """The best order on some queries, each with a hit.

        Args:
            candidates: Of shape (Q, K).
            hits: bool, shape (Q, K); what users then chose.
            users: int32, shape (Q,); whose query it is.
        """
        shares = query_shares(users, hits.sum(axis=1))
        real = candidates.items >= 0
        best, worth = None, -1.0
        for source in (None, *sorted(candidates.sources)):
            order = np.argsort(np.where(real, _steps(candidates, source), np.inf), axis=1, kind="stable")
            found = np.take_along_axis(hits, order[:, :_K], axis=1)
            value = float(shares @ ndcg(found, hits.sum(axis=1), _K))
            if value > worth:
                best, worth = source, value
        steps = np.where(real, _steps(candidates, best), 0.0)
        chosen = hits / hits.sum(axis=1, keepdims=True)

        def loss(scale: float) -> float:
            logits = np.where(real, -scale * steps, -np.inf)
            logits -= logits.max(axis=1, keepdims=True)
            total = np.log(np.exp(logits).sum(axis=1))
            return float(shares @ (total - (chosen * np.where(real, logits, 0.0)).sum(axis=1)))

        fitted = minimize_scalar(loss, bounds=(0.0, _MOST), method="bounded")
        return cls(best, round(float(fitted.x), 4))

    def to_json(self) -> dict[str, Any]:
        """JSON-like form."""
        return {"source": self.source, "scale": self.scale}

    @classmethod
    def from_json(cls, facts: Any) -> Anchor:
        """Inverse of :meth:`to_json`."""
        source = facts["source"]
        return cls(None if source is None else str(source), float(facts["scale"]))


def query_shares(users: Int32Array, hits: Int64Array) -> Float64Array:
    """What each query counts, float64, shape (Q,), 1 on average.

    As evaluation has it: users count alike, and of two queries of a user that one counts less after which he
    chose more, since any of these is less likely to be the next.

    Args:
        users: int32, shape (Q,); whose query it is.
        hits: int64, shape (Q,); what was chosen later, at least 1.
    """
    shares = 1.0 / hits
    shares /= np.bincount(users, shares)[users]
    return np.asarray(shares / shares.mean(), dtype=np.float64)


def _steps(candidates: Candidates, source: str | None) -> FloatArray:
    """Logarithm of one plus each candidate's rank from 0 by a source, float32, shape (B, K)."""
    shape = candidates.items.shape
    if source is None:
        return np.broadcast_to(np.log1p(np.arange(shape[1], dtype=np.float32)), shape)
    if source not in candidates.sources:
        return np.zeros(shape, dtype=np.float32)
    scores = candidates.source_scores[:, :, candidates.sources.index(source)]
    found = (candidates.items >= 0) & np.isfinite(scores)
    # As far behind as the query has candidates that were found.
    last = found.sum(axis=1, keepdims=True).astype(np.float32)
    return np.log1p(np.where(found, ranks(scores, found), last)).astype(np.float32)
