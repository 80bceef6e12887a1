"""The plots of a tuning report, as SVG written by hand: a report needs no network and no plotting library."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from recserve.training.tuning.log import TrialRecord, TrialState
from recserve.training.tuning.space import Dimension

_WIDTH = 860
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 20, 16, 40


def history(trials: Sequence[TrialRecord]) -> str:
    """Score of each trial in order, the best so far, and the configured values."""
    height = 300
    complete = [one for one in trials if one.state is TrialState.COMPLETE and one.score is not None]
    scores = [one.score for one in complete if one.score is not None]
    low, high = _padded(min(scores), max(scores))
    last = max(max(one.number for one in trials), 1)

    def x(number: float) -> float:
        return _LEFT + 10 + (_WIDTH - _LEFT - _RIGHT - 20) * number / last

    def y(score: float) -> float:
        return height - _BOTTOM - (height - _TOP - _BOTTOM) * (score - low) / (high - low)

    parts = [_line(_LEFT, y(tick), _WIDTH - _RIGHT, y(tick), "grid") for tick in _ticks(low, high)]
    parts += [_text(_LEFT - 8, y(tick) + 4, f"{tick:.4g}", "tick end") for tick in _ticks(low, high)]
    parts += [_text(x(n), height - _BOTTOM + 18, str(n), "tick middle") for n in _whole_ticks(last)]
    parts.append(_text((_LEFT + _WIDTH) / 2, height - 6, "trial", "tick middle"))
    default = next((one.score for one in complete if one.number == 0), None)
    if default is not None:
        parts.append(_line(_LEFT, y(default), _WIDTH - _RIGHT, y(default), "default"))
        parts.append(_text(_WIDTH - _RIGHT, y(default) + 14, "configured values", "tick end"))
    best = -math.inf
    path = ""
    for one in complete:
        assert one.score is not None
        if one.score > best:
            path += f"L{x(one.number):.1f},{y(max(best, low)):.1f}" if path else ""
            best = one.score
        path += f"{'L' if path else 'M'}{x(one.number):.1f},{y(best):.1f}"
    parts.append(f'<path class="best" d="{path}"/>')
    for one in trials:
        if one.score is not None:
            title = f"trial {one.number}: {one.score:.4f}"
            parts.append(_circle(x(one.number), y(one.score), 4, "dot", title))
        elif one.state in (TrialState.STOPPED, TrialState.FAILED):
            title = f"trial {one.number}: {one.state.value}"
            parts.append(_cross(x(one.number), height - _BOTTOM - 6, title))
    return _svg(height, parts, "nDCG@10 of each trial on the validation window")


def importance(shares: Mapping[str, float]) -> str:
    """A bar for each parameter."""
    left, row = 180, 26
    height = row * len(shares) + 34
    scale = (_WIDTH - left - 70) / max(*shares.values(), 0.05)
    parts = []
    for index, (name, share) in enumerate(shares.items()):
        top = 6 + row * index
        parts.append(_text(left - 10, top + 14, name, "label end"))
        parts.append(
            f'<rect class="bar" x="{left}" y="{top}" width="{max(share * scale, 1):.1f}" height="18" rx="2"/>'
        )
        parts.append(_text(left + max(share * scale, 1) + 8, top + 14, f"{share:.0%}", "tick"))
    parts.append(
        _text(left, height - 8, "share of the variance of scores explained by the parameter alone", "tick")
    )
    return _svg(height, parts, "Importance of each parameter")


def parallel(trials: Sequence[TrialRecord], dimensions: Sequence[Dimension]) -> str:
    """One line for each complete trial through all its parameter values to its score."""
    complete = [one for one in trials if one.state is TrialState.COMPLETE and one.score is not None]
    scores = [one.score for one in complete if one.score is not None]
    low, high = _padded(min(scores), max(scores))
    height, top, bottom = 380, 62, 40
    axes = len(dimensions) + 1
    gap = (_WIDTH - 2 * 56) / max(axes - 1, 1)

    def x(axis: int) -> float:
        return 56 + gap * axis

    def y(share: float) -> float:
        return height - bottom - (height - top - bottom) * share

    parts = []
    for axis, one in enumerate(dimensions):
        parts.append(_axis(x(axis), y, one.name, _marks(one), axis))
    parts.append(_axis(x(axes - 1), y, "nDCG@10", [(0.0, f"{low:.4g}"), (1.0, f"{high:.4g}")], axes - 1))
    spread = max(scores) - min(scores) or 1.0
    # The best on top.
    for trial in sorted(complete, key=lambda one: one.score or 0.0):
        assert trial.score is not None
        points = [
            (x(axis), y(_place(one, trial.values.get(one.name)))) for axis, one in enumerate(dimensions)
        ]
        points.append((x(axes - 1), y((trial.score - low) / (high - low))))
        path = "M" + "L".join(f"{a:.1f},{b:.1f}" for a, b in points)
        strength = (trial.score - min(scores)) / spread
        best = trial.score == max(scores)
        kind = "through top" if best else "through"
        opacity = 1.0 if best else 0.12 + 0.6 * strength
        title = escape(f"trial {trial.number}: {trial.score:.4f}")
        parts.append(f'<path class="{kind}" opacity="{opacity:.2f}" d="{path}"><title>{title}</title></path>')
    return _svg(height, parts, "Parameter values and score of each complete trial")


def _place(dimension: Dimension, value: Any) -> float:
    """Where a value is on its axis, 0 to 1; None has the lowest place of an optional range."""
    if dimension.choices:
        return dimension.choices.index(value) / max(len(dimension.choices) - 1, 1)
    if value is None:
        return 0.0
    low, high = dimension.low, dimension.high
    share = (
        (math.log(value) - math.log(low)) / (math.log(high) - math.log(low))
        if dimension.log
        else (value - low) / ((high - low) or 1.0)
    )
    return 0.12 + 0.88 * share if dimension.optional else share


def _marks(dimension: Dimension) -> list[tuple[float, str]]:
    if dimension.choices:
        return [(_place(dimension, one), "auto" if one is None else str(one)) for one in dimension.choices]
    ends = [(_place(dimension, end), f"{end:.3g}") for end in (dimension.low, dimension.high)]
    return [(0.0, "auto"), *ends] if dimension.optional else ends


def _axis(x: float, y: Any, name: str, marks: Sequence[tuple[float, str]], index: int) -> str:
    # Names of neighbouring axes stand on two levels, so that long ones do not collide.
    parts = [_line(x, y(0.0), x, y(1.0), "axis"), _text(x, 18 if index % 2 else 36, name, "label middle")]
    parts += [_text(x + 5, y(place) + 4, text, "tick halo") for place, text in marks]
    return "".join(parts)


def _padded(low: float, high: float) -> tuple[float, float]:
    margin = (high - low) * 0.08 or max(abs(high) * 0.05, 0.001)
    return low - margin, high + margin


def _ticks(low: float, high: float) -> list[float]:
    """About five round numbers between two ends."""
    raw = (high - low) / 5
    size = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * size for factor in (1, 2, 5, 10) if factor * size >= raw)
    first = math.ceil(low / step)
    return [index * step for index in range(first, math.floor(high / step) + 1)]


def _whole_ticks(last: int) -> list[int]:
    step = max(1, math.ceil(last / 12))
    return list(range(0, last + 1, step))


def _svg(height: float, parts: Sequence[str], label: str) -> str:
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(label)}" '
        f'xmlns="http://www.w3.org/2000/svg">{"".join(parts)}</svg>'
    )


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, text: str, kind: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'


def _circle(x: float, y: float, radius: float, kind: str, title: str) -> str:
    circle = f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{radius}">'
    return f"{circle}<title>{escape(title)}</title></circle>"


def _cross(x: float, y: float, title: str) -> str:
    path = f"M{x - 4:.1f},{y - 4:.1f}l8,8m0,-8l-8,8"
    return f'<path class="cross" d="{path}"><title>{escape(title)}</title></path>'
