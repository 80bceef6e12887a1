"""One trial: fit a configuration on the training part, rank the whole catalogue, score. Knows no Ray."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recserve.config import Config
from recserve.evaluation import Split, evaluate
from recserve.plugin.protocols import FitContext
from recserve.plugin.registry import Registry
from recserve.training.tuning.targets import Target

METRIC = "ndcg@10"
_CUT_OFF = 10


@dataclass(frozen=True)
class Work:
    """What all trials of a study share.

    Attributes:
        target: What is tuned.
        config: The configuration to begin with.
        split: What trials are fitted and scored on.
        threads: Threads of one trial.
        device: Where it computes.
    """

    target: Target
    config: Config
    split: Split
    threads: int
    device: str


@dataclass(frozen=True)
class Outcome:
    """What a finished trial found.

    Attributes:
        score: Mean nDCG@10 over users.
        low: Lower end of its 95% interval.
        high: Upper end.
        fit_seconds: What the fit took.
        evaluate_seconds: What ranking took.
        per_user: float32, shape (U,); nDCG@10 of each user, users in the order of the split.
    """

    score: float
    low: float
    high: float
    fit_seconds: float
    evaluate_seconds: float
    per_user: NDArray[np.float32]


def run_trial(
    work: Work, values: Mapping[str, Any], validated: Callable[[int, float], None] = lambda step, score: None
) -> Outcome:
    """Fit and score one set of parameter values.

    Args:
        work: What all trials share.
        values: Parameter values by name.
        validated: Told of the fit's own validations; see :class:`recserve.FitContext`.

    Raises:
        RecserveError: A component refuses its parameters or the data.
    """
    config = work.target.configure(work.config, values)
    context = FitContext(
        seed=config.train.seed,
        event_types=tuple(config.event_types),
        validated=validated,
        threads=work.threads,
        device=work.device,
    )
    started = time.perf_counter()
    model = work.target.fit(Registry.discover(), config, work.split.training, context)
    fitted = time.perf_counter()
    report = evaluate(model, work.split, (_CUT_OFF,), name=work.target.name, seed=config.train.seed)
    interval = report.metrics[METRIC]
    return Outcome(
        score=interval.mean,
        low=interval.low,
        high=interval.high,
        fit_seconds=round(fitted - started, 2),
        evaluate_seconds=round(time.perf_counter() - fitted, 2),
        per_user=report.per_user[METRIC].astype(np.float32),
    )
