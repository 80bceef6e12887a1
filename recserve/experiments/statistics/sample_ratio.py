"""Test for sample ratio mismatch that may be looked at daily.

Arms that get other shares of the users than were planned have lost some of them (a crash, a redirect, a bot
filter), and what is left is not comparable (Fabijan et al. 2019). The test is the sequential multinomial
test of Lindon & Malek (2022): the Bayes factor of a Dirichlet prior around the planned shares against these
shares is a martingale while they hold, and exceeds 1 / level at any look with at most probability ``level``
(Ville's inequality).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy import special

from recserve.data.arrays import Float64Array, Int64Array
from recserve.errors import DataError

LEVEL = 0.01
CONCENTRATION = 500.0
"""Of the prior: shares of two equal arms are expected within about two points of a half, if they are off."""


class SampleRatio(NamedTuple):
    """What the test says about the sizes of arms.

    Attributes:
        counts: int64, shape (A,); units of each arm.
        expected: float64, shape (A,); how many were planned.
        p_value: Always-valid p-value.
        mismatch: Whether the alarm is on: the p-value is at most the level.
    """

    counts: Int64Array
    expected: Float64Array
    p_value: float
    mismatch: bool


def sample_ratio(
    counts: Int64Array, shares: Float64Array, *, level: float = LEVEL, concentration: float = CONCENTRATION
) -> SampleRatio:
    """Test whether arms got the shares of units that were planned.

    Args:
        counts: int64, shape (A,); distinct units of each arm. Shape (P, A) if the shares changed: new units
            of each of P periods.
        shares: float64, shape (A,) or (P, A); planned shares, positive. They are scaled to sum to one.
        level: Probability of a false alarm, over all looks together.
        concentration: Sum of the prior's parameters; higher finds smaller mismatches, lower finds large ones
            sooner.
    """
    if counts.ndim not in (1, 2) or counts.shape != shares.shape or counts.shape[-1] < 2:
        raise DataError("a sample ratio test needs a count and a planned share of each of at least two arms")
    if (counts < 0).any():
        raise DataError("counts of units must not be negative")
    if not (np.isfinite(shares).all() and (shares > 0).all()):
        raise DataError("planned shares must be positive: leave out arms that get no users")
    planned = np.atleast_2d(shares / shares.sum(axis=-1, keepdims=True))
    seen = np.atleast_2d(counts)
    prior = concentration * planned
    marginal = special.gammaln(prior + seen).sum(axis=1) - special.gammaln(prior).sum(axis=1)
    marginal += special.gammaln(concentration) - special.gammaln(concentration + seen.sum(axis=1))
    evidence = float((marginal - (seen * np.log(planned)).sum(axis=1)).sum())
    p_value = math.exp(-max(evidence, 0.0))
    expected = (seen.sum(axis=1, keepdims=True) * planned).sum(axis=0)
    return SampleRatio(seen.sum(axis=0), expected, p_value, p_value <= level)
