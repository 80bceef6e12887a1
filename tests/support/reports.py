"""Reports of made-up models, for what compares and shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from recserve.evaluation.bootstrap import mean_intervals
from recserve.evaluation.metrics.accuracy import ACCURACY, CATALOGUE_WIDE
from recserve.evaluation.metrics.slices import SliceFigures
from recserve.evaluation.report import Report


def report_of(model: str, ndcg: Sequence[float], *, k: int = 10, **changes: Any) -> Report:
    """A report whose users have these values of nDCG, and of all other accuracy metrics."""
    values = np.array(ndcg, dtype=np.float64)
    per_user = {f"{name}@{k}": values for name in ACCURACY}
    (interval,) = mean_intervals(values[:, None])
    metrics = {f"{name}@{k}": interval for name in (*ACCURACY, *CATALOGUE_WIDE)}
    facts: Mapping[str, Any] = {
        "model": model,
        "split": "temporal",
        "users": len(values),
        "items": 100,
        "queries": len(values),
        "queries_without_history": 0,
        "unanswered": 0,
        "ks": (k,),
        "metrics": metrics,
        "per_user": per_user,
        "fit_seconds": 1.5,
        "evaluate_seconds": 0.5,
        "seed": 0,
        "diversity_vectors": "text",
    }
    return Report(**{**facts, **changes})


def slice_of(name: str, ndcg: Sequence[float], *, k: int = 10) -> SliceFigures:
    """A slice whose users have these values of nDCG, NaN for users without a part in it."""
    values = np.array(ndcg, dtype=np.float64)
    users = int((~np.isnan(values)).sum())
    (interval,) = mean_intervals(values[:, None])
    return SliceFigures("items", name, users, users, {f"ndcg@{k}": interval}, {f"ndcg@{k}": values})
