"""The page of an evaluation: chooses what ``evaluation.html`` shows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from recserve.evaluation.bootstrap import Interval
from recserve.evaluation.findings import Findings
from recserve.evaluation.html.charts import COLOURS, Axis, LogAxis, Mark, Row
from recserve.evaluation.html.rendering import render, span
from recserve.evaluation.metrics.accuracy import ACCURACY, BEYOND_ACCURACY, CATALOGUE_WIDE
from recserve.evaluation.metrics.by_stage import ALONE, END_TO_END, RANKING, RETRIEVAL, StageFigure
from recserve.evaluation.metrics.pareto import ANSWER_MS, ParetoTable
from recserve.evaluation.report import Report

_GROUPS = {
    "users": "Cold and warm users",
    "history": "By events before the query",
    "items": "Cold and warm items",
    "popularity": "Head and tail",
}
_PLOTTED = ("ndcg", "hr", "recall")
# Percent of a picture on a narrow screen.
_LABEL_WIDTH, _LABEL_HEIGHT = 24, 6
_LABELS = {RANKING: "given candidates: {}", END_TO_END: "end to end, all queries"}


@dataclass(frozen=True)
class Point:
    """A model's place in the picture of its trade-offs.

    Attributes:
        model: Its name.
        mark: Its colour, and what is shown where the pointer rests.
        x: Place on the axis of the cost.
        y: Place on the axis of accuracy.
        on_front: Whether nothing beats it in both.
    """

    model: str
    mark: Mark
    x: float
    y: float
    on_front: bool

    @property
    def to_the_left(self) -> bool:
        """Whether the name ends at the point; near the left edge it begins there."""
        return self.x > 35

    @property
    def label_x(self) -> float:
        """Middle of the name, which is as wide as on a narrow screen."""
        return self.x + (-_LABEL_WIDTH if self.to_the_left else _LABEL_WIDTH) / 2

    @property
    def label_y(self) -> float:
        """Height of the name: on the front above the point, where no other can be, otherwise below."""
        return self.y + (_LABEL_HEIGHT if self.on_front else -_LABEL_HEIGHT)

    def label_covers(self, x: float, y: float) -> bool:
        """Whether the name would cover a point or the middle of another name."""
        return abs(self.label_x - x) < _LABEL_WIDTH and abs(self.label_y - y) < _LABEL_HEIGHT


@dataclass(frozen=True)
class TradeOffs:
    """A Pareto table, and the picture of accuracy against what an answer costs.

    Attributes:
        table: The table.
        models: Names in the order of their colours.
        x: Axis of the cost.
        y: Axis of accuracy.
        points: Models that have both figures, the cheapest first.
    """

    table: ParetoTable
    models: Sequence[str]
    x: LogAxis
    y: Axis
    points: Sequence[Point]

    @classmethod
    def of(cls, table: ParetoTable, models: Sequence[str] | None = None) -> TradeOffs:
        """The picture of a table, with colours in the order of the models; None for that of the table."""
        models = models or [row.model for row in table.rows]
        accuracy = table.measures[0].name if table.measures else ""
        both = [name for name in (accuracy, ANSWER_MS) if any(name == held.name for held in table.measures)]
        plane = table.within(both)
        rows = sorted(plane.rows, key=lambda row: row.figures[ANSWER_MS]) if len(both) == 2 else []
        x = LogAxis(row.figures[ANSWER_MS] for row in rows)
        y = Axis([0.0, *(row.figures[accuracy] for row in rows)])
        points = []
        for row in rows:
            mean, cost = row.figures[accuracy], row.figures[ANSWER_MS]
            told = [
                f"{measure.heading} {measure.shown(row.figures[measure.name])}" for measure in plane.measures
            ]
            mark = Mark(
                models.index(row.model), Interval(mean, mean, mean), f"{row.model}: {', '.join(told)}"
            )
            points.append(Point(row.model, mark, x(cost), y(mean), row.on_front))
        return cls(table, models, x, y, points)

    @property
    def headings(self) -> list[str]:
        """Headings of the table."""
        return ["", "", *(measure.heading for measure in self.table.measures)]

    @property
    def front(self) -> list[tuple[float, float]]:
        """Places of the front, for its line."""
        return [(point.x, point.y) for point in self.points if point.on_front]

    @property
    def labelled(self) -> list[Point]:
        """Points with room for their names: those of the front first, then the most accurate."""
        found: list[Point] = []
        for point in sorted(self.points, key=lambda point: (not point.on_front, -point.y)):
            taken = [(other.label_x, other.label_y) for other in found]
            # Above the front there are no points that a name could cover.
            taken += [] if point.on_front else [(other.x, other.y) for other in self.points if other != point]
            if not any(point.label_covers(x, y) for x, y in taken):
                found.append(point)
        return found


def page(findings: Findings) -> str:
    """The whole document."""
    reports, metric = findings.reports, findings.metric
    first, k = reports[0], reports[0].ks[0]
    pipeline = next((report for report in reports if report.stages), None)
    stages = () if pipeline is None else pipeline.stages
    series = 0 if pipeline is None else list(reports).index(pipeline)
    retrieved = [figure for figure in stages if figure.stage == RETRIEVAL and figure.metric != ALONE]
    ranked = [figure for figure in stages if figure.stage != RETRIEVAL and figure.metric == metric]
    beyond = [f"{name}@{k}" for name in (*CATALOGUE_WIDE, *BEYOND_ACCURACY)]
    points = [
        (_mark(number, report.metrics[metric], report.model), report.metrics[f"coverage@{k}"])
        for number, report in enumerate(reports)
        if not math.isnan(report.metrics[metric].mean + report.metrics[f"coverage@{k}"].mean)
    ]
    return render(
        Path(__file__).with_name("evaluation.html"),
        title=f"Evaluation, {first.split} split",
        findings=findings,
        reports=reports,
        best=max(reports, key=lambda report: report.metrics[metric].mean),
        accuracy=_accuracy(findings),
        differences=_differences(findings),
        pipeline=pipeline,
        merged=retrieved[-1] if retrieved else None,
        retrieval=[_stage_row(series, figure) for figure in retrieved],
        ranking=[_stage_row(series, figure) for figure in ranked],
        sliced=[report for report in reports if report.slices],
        slices=_slices(findings),
        trade_offs_of_models=TradeOffs.of(findings.trade_offs, [report.model for report in reports]),
        choices={name: TradeOffs.of(table) for name, table in findings.choices.items()},
        beyond=[name for name in beyond if name in first.metrics],
        points=points,
        coverage=Axis([0.0, *(across.high for _, across in points)]),
        gain_axis=Axis([0.0, *(mark.interval.high for mark, _ in points)]),
        ACCURACY=ACCURACY,
        COLOURS=COLOURS,
    )


def _accuracy(findings: Findings) -> dict[str, list[Row]]:
    """Rows of the models by metric."""
    reports, k = findings.reports, findings.reports[0].ks[0]
    shown = [f"{name}@{k}" for name in _PLOTTED]
    if all(report.metrics[f"recall@{k}"] == report.metrics[f"hr@{k}"] for report in reports):
        shown.pop()  # with one answer a query the two are the same
    return {
        metric: [_row(number, report, report.metrics[metric]) for number, report in enumerate(reports)]
        for metric in shown
    }


def _differences(findings: Findings) -> dict[tuple[str, str], Interval]:
    """Paired difference of each ordered pair of models."""
    found: dict[tuple[str, str], Interval] = {}
    for pair in findings.differences:
        there = pair.interval
        found[pair.first, pair.second] = there
        found[pair.second, pair.first] = Interval(-there.mean, -there.high, -there.low)
    return found


def _slices(findings: Findings) -> dict[str, list[Row]]:
    """Rows of the slices by the heading of their group."""
    sliced = [(number, report) for number, report in enumerate(findings.reports) if report.slices]
    rows: dict[str, list[Row]] = {heading: [] for heading in _GROUPS.values()}
    for part in sliced[0][1].slices if sliced else ():
        figures = [(number, report, report.part(part.name)) for number, report in sliced]
        marks = [
            _mark(number, figure.metrics[findings.metric], f"{report.model}, {part.name}")
            for number, report, figure in figures
        ]
        rows[_GROUPS[part.group]].append(
            Row(part.name, marks, f"{part.users:,} users, {part.queries:,} queries")
        )
    return rows


def _row(series: int, report: Report, interval: Interval) -> Row:
    return Row(report.model, [_mark(series, interval, report.model)], span(interval))


def _stage_row(series: int, figure: StageFigure) -> Row:
    label = _LABELS.get(figure.stage, "{}").format(figure.part)
    if figure.metric.startswith("recall@"):
        label = f"{label} @{figure.metric.removeprefix('recall@')}"
    mark = _mark(series, figure.interval, f"{label}, {figure.queries:,} queries")
    return Row(label, [mark], span(figure.interval))


def _mark(series: int, interval: Interval, what: str) -> Mark:
    return Mark(series, interval, f"{what}: {'nothing' if math.isnan(interval.mean) else span(interval)}")
