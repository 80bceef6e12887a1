"""Report of one model: as JSON for programs, as a table for people."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from recserve.data.arrays import Float64Array
from recserve.evaluation.bootstrap import Interval, paired_difference
from recserve.evaluation.checks.leaks import LeakCheck
from recserve.evaluation.metrics.accuracy import ACCURACY, BEYOND_ACCURACY, CATALOGUE_WIDE
from recserve.evaluation.metrics.by_stage import StageFigure
from recserve.evaluation.metrics.cost import Cost
from recserve.evaluation.metrics.slices import SliceFigures

HEADINGS: Mapping[str, str] = {
    "ndcg": "nDCG",
    "hr": "HR",
    "recall": "Recall",
    "mrr": "MRR",
    "map": "MAP",
    "coverage": "coverage",
    "gini": "Gini",
    "novelty": "novelty",
    "ild": "diversity",
    "calibration": "miscalibration",
    "lift": "popularity lift",
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
        attribute: Item attribute that ``calibration`` is about, None where it was not measured.
        slices: Figures of parts of the users and items; empty unless asked for.
        stages: Figures of the pipeline's stages; empty unless asked for, and for single components.
        checks: Leak checks of this model that need a person's judgement.
        cost: What an answer and what is stored of it cost.
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
    attribute: str | None = None
    slices: tuple[SliceFigures, ...] = ()
    stages: tuple[StageFigure, ...] = ()
    checks: tuple[LeakCheck, ...] = ()
    cost: Cost = field(default_factory=Cost)

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
            "metrics": {name: as_json(figure) for name, figure in self.metrics.items()},
            "k": list(self.ks),
            "queries": self.queries,
            "queries_without_history": self.queries_without_history,
            "unanswered": self.unanswered,
            "evaluate_seconds": round(self.evaluate_seconds, 3),
            "seed": self.seed,
            "diversity_vectors": self.diversity_vectors,
            "note": self.note,
            "calibration_attribute": self.attribute,
            "slices": [
                {
                    "group": part.group,
                    "slice": part.name,
                    "users": part.users,
                    "queries": part.queries,
                    "metrics": {name: as_json(interval) for name, interval in part.metrics.items()},
                }
                for part in self.slices
            ],
            "stages": [
                {
                    "stage": figure.stage,
                    "part": figure.part,
                    "metric": figure.metric,
                    "queries": figure.queries,
                    **as_json(figure.interval),
                }
                for figure in self.stages
            ],
            "leak_checks": [asdict(check) for check in self.checks],
            "cost": self.cost.to_json(),
        }

    def part(self, name: str) -> SliceFigures:
        """One slice by name.

        Raises:
            KeyError: There is no such slice.
        """
        found = next((part for part in self.slices if part.name == name), None)
        if found is None:
            raise KeyError(name)
        return found

    def values(self, metric: str, part: str | None = None) -> Float64Array:
        """The metric of each user, NaN for a user without a part in the slice ``part``.

        Raises:
            KeyError: The metric is unknown or catalogue-wide, or there is no such slice.
        """
        return (self.per_user if part is None else self.part(part).per_user)[metric]

    def difference(self, other: Report, metric: str, part: str | None = None) -> Interval:
        """Paired bootstrap difference (this model minus another) of one metric.

        Args:
            other: A report of the same split.
            metric: Such as ``ndcg@10``.
            part: Name of a slice; None for all users.

        Raises:
            ValueError: The reports are of different splits.
            KeyError: The metric is unknown or catalogue-wide, or there is no such slice.
        """
        if (self.split, self.users, self.queries) != (other.split, other.users, other.queries):
            raise ValueError(f"reports of different splits: {self.split!r} and {other.split!r}")
        mine, theirs = self.values(metric, part), other.values(metric, part)
        held = ~np.isnan(mine)
        return paired_difference(mine[held], theirs[held], seed=self.seed)


BASELINE = "popular"
"""The model that every other one is compared with, if it is among them."""


_WIDE = 4
"""More models than this are shown as rows, with fewer metrics."""


def comparison_table(reports: Sequence[Report]) -> Group:
    """A table of several models side by side, the interval under each mean, for a rich console.

    The best mean of each accuracy metric is bold; one that is not significantly below it (paired
    bootstrap, 95%) is marked with ``=``. If the baseline is among the models, the paired difference to it
    is shown as well. Of more than four models the table shows a choice of metrics.

    Args:
        reports: At least one, all of the same split and cut-offs.
    """
    first = reports[0]
    title = (
        f"{first.split} split: {first.users:,} users, {first.queries:,} queries, {first.items:,} items ranked"
    )
    table = _models_as_rows(reports) if len(reports) > _WIDE else _models_as_columns(reports)
    return Group(Text(title, style="bold"), table, Text(_caption(reports), style="dim"))


def _models_as_columns(reports: Sequence[Report]) -> Table:
    first = reports[0]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("", no_wrap=True)
    for report in reports:
        table.add_column(report.model, justify="right", overflow="fold")
    for k in first.ks:
        for name in ACCURACY:
            metric = f"{name}@{k}"
            cells = [_accuracy_cell(report, reports, metric) for report in reports]
            table.add_row(f"{HEADINGS[name]}@{k}", *cells)
        for name in (*CATALOGUE_WIDE, *BEYOND_ACCURACY):
            if f"{name}@{k}" not in first.metrics:
                continue
            cells = [_cell(report.metrics[f"{name}@{k}"]) for report in reports]
            table.add_row(f"{HEADINGS[name]}@{k}", *cells)
        table.add_section()
    baseline = _baseline(reports)
    if baseline is not None:
        metric = f"ndcg@{first.ks[0]}"
        gains = [
            "" if report is baseline else _cell(report.difference(baseline, metric)) for report in reports
        ]
        table.add_row(f"nDCG@{first.ks[0]} over {BASELINE}", *gains)
    table.add_row("fit", *(f"{report.fit_seconds:.1f} s" for report in reports))
    table.add_row("evaluate", *(f"{report.evaluate_seconds:.1f} s" for report in reports))
    return table


def _models_as_rows(reports: Sequence[Report]) -> Table:
    first = reports[0]
    shown = [f"ndcg@{first.ks[0]}", f"hr@{first.ks[0]}", *(f"ndcg@{k}" for k in first.ks[1:2])]
    baseline = _baseline(reports)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("", no_wrap=True)
    for metric in shown:
        name, k = metric.split("@")
        table.add_column(f"{HEADINGS[name]}@{k}", justify="right", no_wrap=True)
    if baseline is not None:
        table.add_column(f"over {BASELINE}", justify="right", no_wrap=True)
    table.add_column("fit", justify="right", no_wrap=True)
    for report in reports:
        cells = [_accuracy_cell(report, reports, metric) for metric in shown]
        if baseline is not None:
            cells.append("" if report is baseline else _cell(report.difference(baseline, shown[0])))
        table.add_row(report.model, *cells, f"{report.fit_seconds:.1f} s")
    return table


def _baseline(reports: Sequence[Report]) -> Report | None:
    """The baseline, if it is among others."""
    found = next((report for report in reports if report.model == BASELINE), None)
    return found if len(reports) > 1 else None


def _caption(reports: Sequence[Report]) -> str:
    parts = ["95% bootstrap intervals over users"]
    if len(reports) > 1:
        parts.append("=: not significantly below the best (paired)")
    parts.append(f"novelty in bits; diversity by vectors of {reports[0].diversity_vectors}")
    if len(reports) > _WIDE:
        parts.append("every metric is in --json and --report")
    notes = dict.fromkeys(report.note for report in reports if report.note is not None)
    return "; ".join([*parts, *notes])


def _accuracy_cell(report: Report, reports: Sequence[Report], metric: str) -> str:
    best = max(reports, key=lambda candidate: candidate.metrics[metric].mean)
    interval = report.metrics[metric]
    if report is best:
        return _cell(interval, "[bold]", "[/bold]")
    difference = best.difference(report, metric)
    return _cell(interval, "" if difference.excludes_zero else "= ")


def _cell(interval: Interval, before: str = "", after: str = "") -> str:
    if math.isnan(interval.mean):
        return "-"
    shown = f"{before}{_number(interval.mean)}{after}"
    return f"{shown}\n[dim]{_number(interval.low)}–{_number(interval.high)}[/dim]"


def _number(value: float) -> str:
    if abs(value) >= 1:
        return f"{value:.2f}"
    return f"{value:.4f}".replace("0.", ".", 1)


def as_json(interval: Interval) -> dict[str, Any]:
    """``{mean, ci95}``, null where there is no figure."""
    if math.isnan(interval.mean):
        return {"mean": None, "ci95": None}
    return {"mean": interval.mean, "ci95": [interval.low, interval.high]}
