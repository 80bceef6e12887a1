"""The page's tables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from recserve.evaluation.bootstrap import Interval
from recserve.evaluation.comparison import Difference
from recserve.evaluation.metrics.accuracy import ACCURACY, BEYOND_ACCURACY, CATALOGUE_WIDE
from recserve.evaluation.report import HEADINGS, Report


def number(value: float) -> str:
    """A figure with four digits after the point, two from 1 on."""
    if math.isnan(value):
        return "-"
    return f"{value:.2f}" if abs(value) >= 1 else f"{value:.4f}"


def span(interval: Interval) -> str:
    """``0.0912 [0.0850, 0.0971]``; a dash where there is no figure."""
    if math.isnan(interval.mean):
        return "-"
    return f"{number(interval.mean)} [{number(interval.low)}, {number(interval.high)}]"


def signed(interval: Interval) -> str:
    """Like :func:`span`, for a difference."""
    return f"{interval.mean:+.4f} [{interval.low:+.4f}, {interval.high:+.4f}]"


def accuracy_table(reports: Sequence[Report]) -> str:
    """All accuracy metrics, models as columns, the best of each bold."""
    rows = []
    for k in reports[0].ks:
        for name in ACCURACY:
            metric = f"{name}@{k}"
            best = max(report.metrics[metric].mean for report in reports)
            cells = [
                _cell(report.metrics[metric], "best" if report.metrics[metric].mean == best else "")
                for report in reports
            ]
            kind = ' class="rule"' if name == ACCURACY[0] and k != reports[0].ks[0] else ""
            rows.append(f"<tr{kind}><th>{HEADINGS[name]}@{k}</th>{''.join(cells)}</tr>")
    return _table(["", *(report.model for report in reports)], rows)


def beyond_table(reports: Sequence[Report]) -> str:
    """Metrics of what lists are like, models as rows."""
    first = reports[0]
    k = first.ks[0]
    names = [name for name in (*CATALOGUE_WIDE, *BEYOND_ACCURACY) if f"{name}@{k}" in first.metrics]
    rows = [
        f"<tr><th>{escape(report.model)}</th>"
        + "".join(_cell(report.metrics[f"{name}@{k}"]) for name in names)
        + "</tr>"
        for report in reports
    ]
    return _table(["", *(f"{HEADINGS[name]}@{k}" for name in names)], rows)


def difference_table(reports: Sequence[Report], differences: Sequence[Difference]) -> str:
    """Row minus column, coloured where significant."""
    found: dict[tuple[str, str], Interval] = {}
    for one in differences:
        there, back = one.interval, Interval(-one.interval.mean, -one.interval.high, -one.interval.low)
        found[one.first, one.second], found[one.second, one.first] = there, back
    rows = []
    for report in reports:
        cells = []
        for other in reports:
            if report is other:
                cells.append('<td class="self">·</td>')
                continue
            interval = found[report.model, other.model]
            kind = ("good" if interval.mean > 0 else "bad") if interval.excludes_zero else ""
            cells.append(
                f'<td class="{kind}">{interval.mean:+.4f}'
                f"<small>{interval.low:+.4f}, {interval.high:+.4f}</small></td>"
            )
        rows.append(f"<tr><th>{escape(report.model)}</th>{''.join(cells)}</tr>")
    return _table(["", *(report.model for report in reports)], rows)


def slice_table(reports: Sequence[Report]) -> str:
    """The first cut-off's metrics of every slice and model."""
    first = reports[0]
    rows = []
    for part in first.slices:
        for name in part.metrics:
            if not name.endswith(f"@{first.ks[0]}"):
                continue
            heading = f"{HEADINGS[name.split('@')[0]]}@{first.ks[0]}"
            cells = "".join(_cell(report.part(part.name).metrics[name]) for report in reports)
            new = name == next(iter(part.metrics))
            label = f"{escape(part.name)}<br><small>{part.users:,} users, {part.queries:,} queries</small>"
            kind = ' class="rule"' if new else ""
            rows.append(
                f"<tr{kind}><th>{label if new else ''}</th><td class='what'>{heading}</td>{cells}</tr>"
            )
    return _table(["", "", *(report.model for report in reports)], rows)


def stage_table(report: Report) -> str:
    """All stage figures of a pipeline."""
    rows = []
    stage = None
    for one in report.stages:
        kind = ' class="rule"' if one.stage != stage and stage is not None else ""
        stage = one.stage
        heading = HEADINGS.get(one.metric.split("@")[0])
        metric = one.metric if heading is None else one.metric.replace(one.metric.split("@")[0], heading)
        rows.append(
            f"<tr{kind}><th>{escape(one.stage)}</th><td class='what'>{escape(one.part)}</td>"
            f"<td class='what'>{escape(metric)}</td>{_cell(one.interval)}<td>{one.queries:,}</td></tr>"
        )
    return _table(["", "", "", "mean", "queries"], rows)


def cost_table(reports: Sequence[Report]) -> str:
    """Seconds to fit and to evaluate."""
    rows = [
        f"<tr><th>{escape(report.model)}</th><td>{report.fit_seconds:,.1f} s</td>"
        f"<td>{report.evaluate_seconds:,.1f} s</td><td>{report.unanswered:,}</td></tr>"
        for report in reports
    ]
    return _table(["", "fit", "evaluate", "queries without an answer"], rows)


def _cell(interval: Interval, kind: str = "") -> str:
    if math.isnan(interval.mean):
        return "<td>-</td>"
    shown = f' class="{kind}"' if kind else ""
    return (
        f"<td{shown}>{number(interval.mean)}"
        f"<small>{number(interval.low)} – {number(interval.high)}</small></td>"
    )


def _table(headings: Sequence[str], rows: Sequence[str]) -> str:
    head = "".join(f"<th>{escape(one)}</th>" for one in headings)
    body = "".join(rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
