"""What an evaluation found: as JSON for programs, as a table for people."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from recserve.evaluation.bootstrap import Interval, paired_difference
from recserve.evaluation.metrics import ACCURACY, BEYOND_ACCURACY, CATALOGUE_WIDE

Float64Array = NDArray[np.float64]

_HEADINGS: Mapping[str, str] = {
    "ndcg": "nDCG",
    "hr": "HR",
    "recall": "Recall",
    "mrr": "MRR",
    "map": "MAP",
    "coverage": "coverage",
    "gini": "Gini",
    "novelty": "novelty",
    "ild": "diversity",
}


@dataclass(frozen=True)
class Report:
    """Figures of one model on one split.

    Attributes:
        model: The model's name.
        split: The split's name.
        users: Evaluated users.
        items: Items that were ranked.
        queries: Evaluated queries.
        queries_without_history: Queries whose user had done nothing before.
        unanswered: Queries for which the model returned nothing; they count as misses.
        ks: Cut-offs.
        metrics: Interval by name, such as ``ndcg@10``; NaN throughout for what does not exist, such as
            the diversity of lists of one item.
        per_user: float64, shape (users,), by metric; users in the order of the split, so that two
            reports of one split can be paired.
        fit_seconds: Time to fit the model, 0 where it was not measured.
        evaluate_seconds: Time to recommend and to measure.
        seed: Seed of fit and bootstrap.
        diversity_vectors: What the cosines of ``ild`` are taken of: ``text`` or ``interactions``.
        note: A reservation that belongs beside the figures.
    """

    model: str
    split: str
    users: int
    items: int
    queries: int
    queries_without_history: int
    unanswered: int
    ks: tuple[int, ...]
    metrics: Mapping[str, Interval]
    per_user: Mapping[str, Float64Array] = field(repr=False)
    fit_seconds: float
    evaluate_seconds: float
    seed: int
    diversity_vectors: str
    note: str | None = None

    def to_json(self) -> dict[str, Any]:
        """A JSON object; figures that do not exist are null.

        Returns:
            ``{model, split, users, items, fit_seconds, metrics: {"ndcg@10": {mean, ci95}}, ...}``
            with ``ci95`` = [low, high].
        """
        return {
            "model": self.model,
            "split": self.split,
            "users": self.users,
            "items": self.items,
            "fit_seconds": round(self.fit_seconds, 3),
            "metrics": {
                name: {"mean": _finite(one.mean), "ci95": _bounds(one)} for name, one in self.metrics.items()
            },
            "k": list(self.ks),
            "queries": self.queries,
            "queries_without_history": self.queries_without_history,
            "unanswered": self.unanswered,
            "evaluate_seconds": round(self.evaluate_seconds, 3),
            "seed": self.seed,
            "diversity_vectors": self.diversity_vectors,
            "note": self.note,
        }

    def difference(self, other: Report, metric: str) -> Interval:
        """Paired bootstrap difference (this model minus another) of one metric.

        Args:
            other: A report of the same split.
            metric: Such as ``ndcg@10``.

        Raises:
            ValueError: The reports are of different splits.
            KeyError: The metric is unknown or catalogue-wide.
        """
        if (self.split, self.users, self.queries) != (other.split, other.users, other.queries):
            raise ValueError(f"reports of different splits: {self.split!r} and {other.split!r}")
        return paired_difference(self.per_user[metric], other.per_user[metric], seed=self.seed)


BASELINE = "popular"
"""The model that every other one is compared with, if it is among them."""


def comparison_table(reports: Sequence[Report]) -> Group:
    """A table of several models side by side, the interval under each mean, for a rich console.

    The best mean of each accuracy metric is bold; one that is not significantly below it (paired
    bootstrap, 95%) is marked with ``=``. If the baseline is among the models, the paired difference to it
    is shown as well.

    Args:
        reports: At least one, all of the same split and cut-offs.
    """
    first = reports[0]
    title = (
        f"{first.split} split: {first.users:,} users, {first.queries:,} queries, {first.items:,} items ranked"
    )
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("", no_wrap=True)
    for report in reports:
        table.add_column(report.model, justify="right", overflow="fold")
    for k in first.ks:
        for name in ACCURACY:
            metric = f"{name}@{k}"
            cells = [_accuracy_cell(report, reports, metric) for report in reports]
            table.add_row(f"{_HEADINGS[name]}@{k}", *cells)
        for name in (*CATALOGUE_WIDE, *BEYOND_ACCURACY):
            cells = [_cell(report.metrics[f"{name}@{k}"]) for report in reports]
            table.add_row(f"{_HEADINGS[name]}@{k}", *cells)
        table.add_section()
    baseline = next((report for report in reports if report.model == BASELINE), None)
    if baseline is not None and len(reports) > 1:
        metric = f"ndcg@{first.ks[0]}"
        gains = [
            "" if report is baseline else _cell(report.difference(baseline, metric)) for report in reports
        ]
        table.add_row(f"nDCG@{first.ks[0]} over {BASELINE}", *gains)
    table.add_row("fit", *(f"{report.fit_seconds:.1f} s" for report in reports))
    table.add_row("evaluate", *(f"{report.evaluate_seconds:.1f} s" for report in reports))
    return Group(Text(title, style="bold"), table, Text(_caption(reports), style="dim"))


def _caption(reports: Sequence[Report]) -> str:
    parts = ["95% bootstrap intervals over users"]
    if len(reports) > 1:
        parts.append("=: not significantly below the best (paired)")
    parts.append(f"novelty in bits; diversity by vectors of {reports[0].diversity_vectors}")
    notes = dict.fromkeys(report.note for report in reports if report.note is not None)
    return "; ".join([*parts, *notes])


def _accuracy_cell(report: Report, reports: Sequence[Report], metric: str) -> str:
    best = max(reports, key=lambda one: one.metrics[metric].mean)
    interval = report.metrics[metric]
    if report is best:
        return _cell(interval, "[bold]", "[/bold]")
    difference = best.difference(report, metric)
    return _cell(interval, "" if difference.excludes_zero else "= ")


def _cell(interval: Interval, before: str = "", after: str = "") -> str:
    if math.isnan(interval.mean):
        return "-"
    shown = f"{before}{_number(interval.mean)}{after}"
    return f"{shown}\n[dim]{_number(interval.low)}-{_number(interval.high)}[/dim]"


def _number(value: float) -> str:
    if value >= 1:
        return f"{value:.2f}"
    return f"{value:.4f}".removeprefix("0")


def _finite(value: float) -> float | None:
    return None if math.isnan(value) else value


def _bounds(interval: Interval) -> list[float] | None:
    if math.isnan(interval.low) or math.isnan(interval.high):
        return None
    return [interval.low, interval.high]
