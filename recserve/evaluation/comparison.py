"""Comparison of models: paired differences of all pairs, of a pipeline and its best part, and trade-offs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from recserve.evaluation.bootstrap import Interval, mean_intervals
from recserve.evaluation.metrics.pareto import (
    ANSWER_MS,
    FIT_SECONDS,
    MEGABYTES,
    ParetoTable,
    measures_at,
    pareto,
)
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


def trade_offs(reports: Sequence[Report]) -> ParetoTable:
    """Accuracy beside coverage, novelty, popularity lift and cost at the first cut-off: the Pareto table.

    Args:
        reports: At least one, all of one split.
    """
    measures = measures_at(reports[0].ks[0])
    models = {}
    for report in reports:
        named = {measure.name: report.metrics.get(measure.name) for measure in measures}
        models[report.model] = {
            **{name: math.nan if figure is None else figure.mean for name, figure in named.items()},
            ANSWER_MS: report.cost.answer_ms,
            MEGABYTES: report.cost.megabytes,
            FIT_SECONDS: report.fit_seconds or math.nan,
        }
    return pareto(models, measures)


def trade_off_view(table: ParetoTable, title: str) -> Group:
    """A Pareto table for a rich console, with what its words mean below it."""
    view = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    view.add_column("", overflow="fold", min_width=14)
    for measure in table.measures:
        view.add_column(measure.brief, justify="right", no_wrap=True)
    for row in table.rows:
        figures = [measure.shown(row.figures[measure.name]) for measure in table.measures]
        # Under the name there is room for the verdict on a terminal of 80 columns.
        name = f"* {row.model}" if row.on_front else f"  {row.model}\n  {row.verdict}"
        view.add_row(Text(name), *figures, style="" if row.on_front else "dim")
    parts = [
        "*: front, no other is as good in every column and better in one, as shown",
        f"columns: {' · '.join(measure.heading for measure in table.measures)}",
        "popularity lift is best near 0",
        "costs vary from run to run",
    ]
    if missing := table.missing():
        parts.append(f"not measured: {'; '.join(missing)}")
    return Group(Text(title, style="bold"), view, Text("; ".join(parts), style="dim"))


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
