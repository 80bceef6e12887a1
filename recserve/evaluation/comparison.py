"""Comparison of models: paired differences of all pairs, and of a pipeline and its best part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from recserve.evaluation.bootstrap import Interval, mean_intervals
from recserve.evaluation.report import Report, as_json

PIPELINE = "pipeline"


@dataclass(frozen=True)
class Difference:
    """One model minus another, in one metric, over the same users.

    Attributes:
        first: Name of the one.
        second: Name of the other.
        metric: Such as ``ndcg@10``.
        interval: The paired difference; it is significant if the interval excludes zero.
        part: Name of the slice that it is about; None for all users.
    """

    first: str
    second: str
    metric: str
    interval: Interval
    part: str | None = None

    def to_json(self) -> dict[str, Any]:
        """A JSON object."""
        return {
            "first": self.first,
            "second": self.second,
            "metric": self.metric,
            **({} if self.part is None else {"slice": self.part}),
            **as_json(self.interval),
            "significant": self.interval.excludes_zero,
        }


def differences(reports: Sequence[Report], metric: str, part: str | None = None) -> list[Difference]:
    """Paired differences of all pairs of models, each pair once, the earlier model first.

    All pairs are resampled with the same users. Intervals are each at 95%: of many pairs, one in twenty
    without a difference will look as if it had one.

    Args:
        reports: Of one split.
        metric: Such as ``ndcg@10``.
        part: Name of a slice; None for all users.

    Raises:
        ValueError: The reports are of different splits.
        KeyError: There is no such slice.
    """
    pairs = [(first, other) for place, first in enumerate(reports) for other in reports[place + 1 :]]
    if not pairs:
        return []
    for first, other in pairs:
        if (first.split, first.users, first.queries) != (other.split, other.users, other.queries):
            raise ValueError(f"reports of different splits: {first.split!r} and {other.split!r}")
    columns = np.column_stack(
        [first.values(metric, part) - other.values(metric, part) for first, other in pairs]
    )
    intervals = mean_intervals(columns[~np.isnan(columns[:, 0])], seed=reports[0].seed)
    return [
        Difference(first.model, other.model, metric, interval, part)
        for (first, other), interval in zip(pairs, intervals, strict=True)
    ]


def over_best_part(reports: Sequence[Report], metric: str) -> Difference | None:
    """The pipeline minus the best of the other models; None without a pipeline or others."""
    pipeline = next((report for report in reports if report.model == PIPELINE), None)
    others = [report for report in reports if report.model != PIPELINE]
    if pipeline is None or not others:
        return None
    best = max(others, key=lambda report: report.metrics[metric].mean)
    return Difference(pipeline.model, best.model, metric, pipeline.difference(best, metric))


def stage_summary(report: Report, metric: str) -> str:
    """One line: recall of each source, a metric given candidates, and in the end."""
    recalls = [
        f"{figure.part} {figure.interval.mean:.4f}"
        for figure in report.stages
        if figure.metric.startswith("recall")
    ]
    orders = [
        f"{figure.part} {figure.interval.mean:.4f}"
        for figure in report.stages
        if figure.stage == "ranking" and figure.metric == metric
    ]
    return (
        f"recall of {', '.join(recalls)}; {metric} given candidates: {', '.join(orders)}; "
        f"end to end {report.metrics[metric].mean:.4f}"
    )
