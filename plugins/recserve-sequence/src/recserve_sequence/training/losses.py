"""Sampled softmax with the logQ correction, full softmax and binary cross-entropy.

References:
    Bengio and Senecal (2008), Adaptive importance sampling to accelerate training of a neural
    probabilistic language model, IEEE TNN 19(4).
    Yi et al. (2019), Sampling-bias-corrected neural modeling for large corpus item
    recommendations, RecSys.
    Owen and Zhou (2000), Safe and effective importance sampling, JASA 95 (balance heuristic).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from recserve import Int64Array

MASKED = -1e30
"""Logit of an item that is not a negative: like -inf, but with a gradient where all are masked."""


@dataclass(frozen=True, slots=True)
class Pool:
    """Items that every position of a batch is contrasted with.

    Attributes:
        items: int64, shape (M,); distinct catalogue rows, ascending.
        log_expected: float32, shape (M,); log of (expected count / drawn count) of each item: what
            its logit is corrected by. Zeros when the pool is the whole catalogue.
    """

    items: Int64Array
    log_expected: NDArray[np.float32]


class NegativeSampler:
    """Draws one pool of negatives for each batch.

    Half of ``negatives`` is drawn uniformly and half by popularity (counts to the power 0.75); then
    ``in_batch`` targets of the batch itself join, which are draws from the popularity distribution.
    An item drawn c times has importance weight c / (expected count under all three samplers), the
    balance heuristic: the weighted sum of exp(logit) over the pool is an unbiased estimate of the sum over
    all candidates.

    Items without a single positive event are never negatives: nobody has turned them down yet,
    and a new item should be judged by its text.

    Args:
        counts: int64, shape (n_items,); positive events of each item.
        negatives: Draws besides the in-batch ones; 0 with ``in_batch`` 0 takes the full softmax.
        in_batch: At most this many targets of the batch join.
    """

    def __init__(self, counts: Int64Array, negatives: int, in_batch: int) -> None:
        self._seen = np.flatnonzero(counts > 0)
        self._negatives = negatives
        self._in_batch = in_batch
        share = counts[self._seen].astype(np.float64)
        smooth = share**0.75
        mixed = 0.5 / len(share) + 0.5 * smooth / smooth.sum()
        self._cumulative = np.cumsum(mixed / mixed.sum())
        self._drawn = np.zeros(len(counts))
        self._drawn[self._seen] = mixed / mixed.sum()
        self._popular = np.zeros(len(counts))
        self._popular[self._seen] = share / share.sum()

    def pool(self, targets: Int64Array, random: np.random.Generator) -> Pool:
        """Draw the pool of a batch.

        Args:
            targets: int64, shape (P,); the targets of the batch.
            random: Source of the draws.
        """
        if self._negatives + self._in_batch == 0:
            return Pool(self._seen, np.zeros(len(self._seen), dtype=np.float32))
        places = np.searchsorted(self._cumulative, random.random(self._negatives), side="right")
        drawn = self._seen[np.minimum(places, len(self._seen) - 1)]
        joined = random.choice(targets, min(self._in_batch, len(targets)), replace=False)
        items, counts = np.unique(np.concatenate([drawn, joined]), return_counts=True)
        expected = len(drawn) * self._drawn[items] + len(joined) * self._popular[items]
        return Pool(items, np.log(expected / counts).astype(np.float32))


class _LogSumExp(torch.autograd.Function):
    """Logarithm of the sum of exponentials of each row, which are kept for the gradient.

    ``torch.logsumexp`` computes them a second time.
    """

    @staticmethod
    def forward(context: Any, values: torch.Tensor) -> torch.Tensor:
        """Of (P, M) values, shape (P,)."""
        most = values.amax(dim=1, keepdim=True)
        powers = (values - most).exp_()
        total = powers.sum(dim=1)
        context.save_for_backward(powers, total)
        return most[:, 0] + total.log()

    @staticmethod
    def backward(context: Any, *gradients: torch.Tensor) -> torch.Tensor:
        """The gradient by the values: shares of the sum."""
        powers, total = context.saved_tensors
        shares: torch.Tensor = powers * (gradients[0] / total)[:, None]
        return shares


def softmax_loss(positive: torch.Tensor, negative: torch.Tensor) -> torch.Tensor:
    """Mean negative log-likelihood of the targets.

    Args:
        positive: float, shape (P,); logits of the targets.
        negative: float, shape (P, M); logits of the pool less their ``log_expected`` (see :class:`Pool`),
            MASKED where the item is the target.
    """
    others: torch.Tensor = _LogSumExp.apply(negative)  # type: ignore[no-untyped-call]  # torch's is untyped
    return (torch.logaddexp(positive, others) - positive).mean()


def bce_loss(positive: torch.Tensor, negative: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropy: targets against the mean over their negatives.

    Args:
        positive: float, shape (P,).
        negative: float, shape (P, M); MASKED (no loss) where the item is the target.
    """
    against = torch.nn.functional.softplus(negative)
    used = (negative > 0.5 * MASKED).sum(dim=1).clamp(min=1)
    return (torch.nn.functional.softplus(-positive) + against.sum(dim=1) / used).mean()
