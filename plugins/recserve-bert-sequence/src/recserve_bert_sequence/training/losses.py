"""Losses of the next item against sampled others, and the sampler.

References:
    Bengio and Senecal (2008), Adaptive importance sampling to accelerate training of a neural probabilistic
    language model, IEEE TNN 19(4).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from recserve import FloatArray, Int64Array

MASKED = -1e30
"""Logit of an item that is not a negative: like -inf, but with a gradient where all are masked."""


@dataclass(frozen=True, slots=True)
class Pool:
    """Items that every position of a batch is contrasted with.

    Attributes:
        items: int64, shape (M,); distinct catalogue rows, ascending.
        log_expected: float32, shape (M,); log of (expected draws / draws) of each item.
    """

    items: Int64Array
    log_expected: FloatArray


class NegativeSampler:
    """Draws one pool of negatives for each batch, half of them uniformly and half by popularity.

    Items without a positive event are never drawn: nobody has turned them down yet.

    Args:
        counts: int64, shape (n_items,); positive events of each item.
        negatives: Draws; where there are no more such items than this, all are taken.
    """

    def __init__(self, counts: Int64Array, negatives: int) -> None:
        self._seen = np.flatnonzero(counts > 0)
        self._negatives = negatives
        smooth = counts[self._seen].astype(np.float64) ** 0.75
        self._shares = 0.5 / max(len(smooth), 1) + 0.5 * smooth / max(smooth.sum(), 1.0)
        self._cumulative = np.cumsum(self._shares)

    def pool(self, random: np.random.Generator) -> Pool:
        """Draw a pool."""
        if len(self._seen) <= self._negatives:
            return Pool(self._seen, np.zeros(len(self._seen), dtype=np.float32))
        drawn = np.searchsorted(self._cumulative, random.random(self._negatives), side="right")
        places, counts = np.unique(np.minimum(drawn, len(self._seen) - 1), return_counts=True)
        expected = self._negatives * self._shares[places]
        return Pool(self._seen[places], np.log(expected / counts).astype(np.float32))


def softmax_loss(positive: torch.Tensor, negative: torch.Tensor, log_expected: torch.Tensor) -> torch.Tensor:
    """Mean negative log-likelihood of the next items under a sampled softmax.

    Args:
        positive: float, shape (P,); logits of the next items.
        negative: float, shape (P, M); logits of the pool, MASKED where an item is the next one.
        log_expected: See :class:`Pool`.
    """
    others = torch.logsumexp(negative - log_expected, dim=1)
    return (torch.logaddexp(positive, others) - positive).mean()


def bce_loss(positive: torch.Tensor, negative: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropy with logits: next items are 1, and the mean over their negatives counts as much.

    Args:
        positive: float, shape (P,).
        negative: float, shape (P, M); MASKED (no loss) where an item is the next one.
    """
    used = (negative > 0.5 * MASKED).sum(dim=1).clamp(min=1)
    against = functional.binary_cross_entropy_with_logits(
        negative, torch.zeros_like(negative), reduction="none"
    )
    wanted = functional.binary_cross_entropy_with_logits(
        positive, torch.ones_like(positive), reduction="none"
    )
    return (wanted + against.sum(dim=1) / used).mean()
