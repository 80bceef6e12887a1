"""CUPED: differences adjusted by what users did before the experiment (Deng, Xu, Kohavi & Walker 2013).

What a user did before no arm has changed, and it explains a part of what the user does now. Taking that part
out leaves the difference's expectation as it is and narrows its interval.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from recserve.data.arrays import Float64Array
from recserve.errors import DataError
from recserve.experiments.statistics.sequential import difference
from recserve.outcomes.intervals import Estimate, RatioSample


class Adjusted(NamedTuple):
    """A difference adjusted by covariates.

    Attributes:
        estimate: Treatment minus control.
        variance_ratio: Its variance relative to that of the difference without adjustment: .6 needs 40% less
            data.
    """

    estimate: Estimate
    variance_ratio: float


def adjusted_difference(
    treatment: RatioSample,
    control: RatioSample,
    treatment_before: Float64Array,
    control_before: Float64Array,
) -> Adjusted:
    """Treatment minus control of a ratio metric, adjusted by covariates of each unit.

    Units' influences on the metric are regressed on the covariates within arms, with common coefficients.

    Args:
        treatment: N units.
        control: M units.
        treatment_before: float64, shape (N, C); facts from before the experiment, such as clicks and
            impressions. Zeros for a unit that was not there.
        control_before: float64, shape (M, C).
    """
    arms = (treatment, control)
    before = (treatment_before, control_before)
    for arm, facts in zip(arms, before, strict=True):
        if facts.ndim != 2 or len(facts) != arm.units or not np.isfinite(facts).all():
            raise DataError("covariates must be finite numbers, a row a unit of their arm")
    plain = difference(treatment, control)
    if not plain.variance > 0.0:
        return Adjusted(plain, 1.0)

    means = [facts.mean(axis=0) for facts in before]
    centred = [facts - mean for facts, mean in zip(before, means, strict=True)]
    influences = [arm.influence() for arm in arms]
    coefficients = np.linalg.lstsq(np.concatenate(centred), np.concatenate(influences), rcond=None)[0]
    left = [seen - facts @ coefficients for seen, facts in zip(influences, centred, strict=True)]
    variance = sum(float(rest.var(ddof=1)) / len(rest) for rest in left)
    value = plain.value - float((means[0] - means[1]) @ coefficients)
    return Adjusted(Estimate(value, variance, plain.units), variance / plain.variance)
