"""Small plots as inline SVG; colours and fonts come from the page's style sheet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from recserve.evaluation.bootstrap import Interval

WIDTH = 720
COLOURS = 8
"""Series that the style sheet has colours for; further ones start again."""

_LABEL, _NOTE, _TOP, _AXIS = 170, 170, 8, 26


@dataclass(frozen=True)
class Mark:
    """One figure with its interval.

    Attributes:
        series: Number of its model; decides the colour.
        interval: The figure; NaN is left out.
        title: Shown where the pointer rests.
    """

    series: int
    interval: Interval
    title: str = ""


@dataclass(frozen=True)
class Row:
    """One line of a plot.

    Attributes:
        label: To its left.
        marks: Drawn below each other.
        note: To its right.
    """

    label: str
    marks: Sequence[Mark]
    note: str = ""


def intervals(rows: Sequence[Row], name: str, *, zero: bool = False, labels: int = _LABEL) -> str:
    """Means as dots with their intervals as whiskers, one line each.

    Args:
        rows: From top to bottom.
        name: What the axis shows.
        zero: Whether the axis starts at zero in any case.
        labels: Width left for labels.
    """
    shown = [mark.interval for row in rows for mark in row.marks if not math.isnan(mark.interval.mean)]
    if not shown:
        return '<p class="muted">Nothing to show.</p>'
    low, high = min(one.low for one in shown), max(one.high for one in shown)
    scale = _Scale(min(low, 0.0) if zero else low, high, labels, WIDTH - _NOTE)
    step, pad = 13, 9
    heights = [2 * pad + step * max(len(row.marks) - 1, 0) for row in rows]
    bottom = _TOP + sum(heights)
    parts = scale.grid(_TOP, bottom, name)
    top = _TOP
    for index, (row, height) in enumerate(zip(rows, heights, strict=True)):
        if index % 2:
            parts.append(f'<rect class="stripe" x="0" y="{top}" width="{WIDTH}" height="{height}"/>')
        middle = top + height / 2
        parts.append(_text(labels - 12, middle + 4, row.label, "label", "end"))
        parts.append(_text(WIDTH - _NOTE + 14, middle + 4, row.note, "note"))
        for place, mark in enumerate(row.marks):
            parts += _dot(mark, scale, top + pad + step * place)
        top += height
    return _svg(parts, bottom + _AXIS, name)


def bars(rows: Sequence[Row], name: str, *, labels: int = 240) -> str:
    """Means as bars from zero with their intervals, one line each."""
    shown = [mark.interval for row in rows for mark in row.marks if not math.isnan(mark.interval.mean)]
    if not shown:
        return '<p class="muted">Nothing to show.</p>'
    scale = _Scale(0.0, max(one.high for one in shown), labels, WIDTH - _NOTE)
    height = 26
    bottom = _TOP + height * len(rows)
    parts = scale.grid(_TOP, bottom, name)
    for index, row in enumerate(rows):
        top = _TOP + height * index
        parts.append(_text(labels - 12, top + height / 2 + 4, row.label, "label", "end"))
        parts.append(_text(WIDTH - _NOTE + 14, top + height / 2 + 4, row.note, "note"))
        for mark in row.marks:
            if math.isnan(mark.interval.mean):
                continue
            start, end = scale(0.0), scale(mark.interval.mean)
            parts.append(
                f'<rect class="bar {_series(mark)}" x="{start:.1f}" y="{top + 5}" '
                f'width="{max(end - start, 0):.1f}" height="{height - 10}" rx="3">{_title(mark)}</rect>'
            )
            parts.append(_whisker(mark, scale, top + height / 2, "over"))
    return _svg(parts, bottom + _AXIS, name)


def scatter(marks: Sequence[tuple[str, Mark, Interval]], x_name: str, y_name: str) -> str:
    """Models by two figures at once, with both intervals.

    Args:
        marks: Label, figure along y with the series, figure along x.
        x_name: What x shows.
        y_name: What y shows.
    """
    marks = [one for one in marks if not math.isnan(one[2].mean) and not math.isnan(one[1].interval.mean)]
    if not marks:
        return '<p class="muted">Nothing to show.</p>'
    height = 300
    xs = _Scale(0.0, max(one[2].high for one in marks), 60, WIDTH - 110)
    ys = _Scale(0.0, max(one[1].interval.high for one in marks), height - 40, _TOP + 12)
    parts = xs.grid(_TOP, height - 40, x_name)
    for tick in ys.ticks:
        y = ys(tick)
        parts.append(f'<line class="grid" x1="60" x2="{WIDTH - 110}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(_text(52, y + 4, tick_text(tick, ys.step), "tick", "end"))
    parts.append(_text(66, _TOP + 10, y_name, "tick"))
    heights = _apart([(xs(across.mean), ys(mark.interval.mean) - 7) for _, mark, across in marks])
    for (label, mark, across), height_of_label in zip(marks, heights, strict=True):
        x, y = xs(across.mean), ys(mark.interval.mean)
        parts.append(
            f'<path class="whisker {_series(mark)}" d="M{xs(across.low):.1f} {y:.1f}H{xs(across.high):.1f}'
            f'M{x:.1f} {ys(mark.interval.low):.1f}V{ys(mark.interval.high):.1f}"/>'
        )
        parts.append(
            f'<circle class="dot {_series(mark)}" cx="{x:.1f}" cy="{y:.1f}" r="5">{_title(mark)}</circle>'
        )
        parts.append(_text(x + 9, height_of_label, label, "label"))
    return _svg(parts, height, f"{y_name} by {x_name}")


def _apart(places: Sequence[tuple[float, float]]) -> list[float]:
    """Heights of labels, moved up where two would cover each other."""
    heights = [y for _, y in places]
    placed: list[int] = []
    for index in sorted(range(len(places)), key=lambda one: -places[one][1]):
        for other in placed:
            near = abs(places[index][0] - places[other][0]) < 100
            if near and abs(heights[index] - heights[other]) < 14:
                heights[index] = heights[other] - 14
        placed.append(index)
    return heights


def tick_text(value: float, step: float) -> str:
    """A number on an axis, with as many decimals as the step needs."""
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    return f"{value + 0.0:.{decimals}f}"


class _Scale:
    """Maps values to places along an axis, with round ticks."""

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        if high <= low:
            low, high = low - max(abs(low) / 10, 1e-6), high + max(abs(high) / 10, 1e-6)
        raw = (high - low) / 5
        power = 10.0 ** math.floor(math.log10(raw))
        self.step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw * 0.999)
        first = math.floor(low / self.step + 1e-9)
        last = math.ceil(high / self.step - 1e-9)
        self.ticks = [number * self.step for number in range(first, last + 1)]
        self._low, self._high = self.ticks[0], self.ticks[-1]
        self._start, self._end = start, end

    def __call__(self, value: float) -> float:
        share = (value - self._low) / (self._high - self._low)
        return self._start + share * (self._end - self._start)

    def grid(self, top: float, bottom: float, name: str) -> list[str]:
        """Lines and numbers of a horizontal axis below the plot."""
        parts = []
        for tick in self.ticks:
            x = self(tick)
            kind = "grid zero" if abs(tick) < self.step / 1000 else "grid"
            parts.append(f'<line class="{kind}" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{bottom}"/>')
            parts.append(_text(x, bottom + 15, tick_text(tick, self.step), "tick", "middle"))
        parts.append(_text(WIDTH - 4, bottom + 15, name, "tick", "end"))
        return parts


def _dot(mark: Mark, scale: _Scale, y: float) -> list[str]:
    if math.isnan(mark.interval.mean):
        return []
    x = scale(mark.interval.mean)
    return [
        _whisker(mark, scale, y),
        f'<circle class="dot {_series(mark)}" cx="{x:.1f}" cy="{y:.1f}" r="4.5">{_title(mark)}</circle>',
    ]


def _whisker(mark: Mark, scale: _Scale, y: float, kind: str = "") -> str:
    low, high = scale(mark.interval.low), scale(mark.interval.high)
    path = f"M{low:.1f} {y:.1f}H{high:.1f}M{low:.1f} {y - 3:.1f}v6M{high:.1f} {y - 3:.1f}v6"
    return f'<path class="whisker {_series(mark)} {kind}" d="{path}"/>'


def _series(mark: Mark) -> str:
    return f"s{mark.series % COLOURS}"


def _title(mark: Mark) -> str:
    return f"<title>{escape(mark.title)}</title>" if mark.title else ""


def _text(x: float, y: float, text: str, kind: str, anchor: str = "start") -> str:
    if not text:
        return ""
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(parts: Sequence[str], height: float, name: str) -> str:
    head = f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(name)}">'
    return head + "".join(parts) + "</svg>"
