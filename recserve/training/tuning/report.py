"""The page of a study: chooses what ``report.html`` shows."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from recserve.evaluation import Interval
from recserve.evaluation.html.charts import Axis, Mark, Row
from recserve.evaluation.html.rendering import render as render_template
from recserve.training.tuning.log import TrialRecord, TrialState
from recserve.training.tuning.results import FEWEST, Result, importances, verdict
from recserve.training.tuning.space import Dimension
from recserve.training.tuning.targets import Target

_AXES, _BARS = 10, 20


def render(result: Result, target: Target) -> str:
    """The whole page."""
    trials = result.trials
    dimensions = target.space.dimensions
    shares = importances(trials, dimensions)
    chosen = _most_important(dimensions, shares)
    scored = [(trial, trial.score) for trial in trials if trial.score is not None]
    complete = [pair for pair in scored if pair[0].state is TrialState.COMPLETE]
    numbers = Axis([0, *(trial.number for trial in trials)], whole=True)
    scores = Axis(score for _, score in scored)
    counts = Counter(trial.state for trial in trials)
    windows = [("validation", result.validation, "chosen by it, so it flatters the best")]
    if result.test is not None:
        windows.append(("test", result.test, "nothing was chosen by it"))
    return render_template(
        Path(__file__).with_name("report.html"),
        title=f"Tuning {target.name}" + (f" of scenario {result.study.scenario}" if target.whole else ""),
        result=result,
        verdict=verdict(result),
        counts=", ".join(f"{counts[state]} {state.value}" for state in TrialState if counts[state]),
        repeats=sum(trial.repeats for trial in trials),
        windows=windows,
        numbers=numbers,
        scores=scores,
        best_so_far=_steps([(numbers(trial.number), scores(score)) for trial, score in complete]),
        dimensions=len(dimensions),
        axes=[*((dimension.name, _ticks(dimension)) for dimension in chosen), ("nDCG@10", scores.ticks)],
        paths=_paths(complete, chosen, scores),
        importance=[_bar(name, share) for name, share in list(shares.items())[:_BARS]],
        fewest=FEWEST,
    )


def _most_important(dimensions: Sequence[Dimension], shares: Mapping[str, float]) -> list[Dimension]:
    """As many parameters as there is room for axes, in their own order."""
    ranked = sorted(dimensions, key=lambda dimension: -shares.get(dimension.name, 0.0))[:_AXES]
    return [dimension for dimension in dimensions if dimension in ranked]


def _steps(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Corners of the line of the highest point so far."""
    corners = list(points[:1])
    for x, y in points[1:]:
        best = corners[-1][1]
        corners += [(x, best), (x, max(best, y))]
    return corners


def _paths(
    complete: Sequence[tuple[TrialRecord, float]], dimensions: Sequence[Dimension], scores: Axis
) -> list[dict[str, Any]]:
    """A line for each complete trial through all its parameter values to its score, the best one on top."""
    low, high = min(score for _, score in complete), max(score for _, score in complete)
    paths = []
    for trial, score in sorted(complete, key=lambda pair: pair[1]):
        places = [_place(dimension, trial.values.get(dimension.name)) for dimension in dimensions]
        gap = 100 / (len(places) or 1)
        best = score == high
        paths.append(
            {
                "kind": "through top" if best else "through",
                "opacity": 1.0 if best else round(0.12 + 0.6 * (score - low) / (high - low), 2),
                "points": [(round(gap * axis, 2), y) for axis, y in enumerate([*places, scores(score)])],
                "title": f"trial {trial.number}: {score:.4f}",
            }
        )
    return paths


def _place(dimension: Dimension, value: Any) -> float:
    """Where a value is on its axis, 0 to 100; None has the lowest place of an optional range."""
    if dimension.choices:
        return 100 * dimension.choices.index(value) / max(len(dimension.choices) - 1, 1)
    if value is None:
        return 0.0
    low, high = dimension.low, dimension.high
    if dimension.log:
        low, high, value = math.log(low), math.log(high), math.log(value)
    share: float = (value - low) / ((high - low) or 1.0)
    return round(12 + 88 * share if dimension.optional else 100 * share, 2)


def _ticks(dimension: Dimension) -> list[tuple[float, str]]:
    """Places and texts of the values that an axis names."""
    named = dimension.choices or (*((None,) if dimension.optional else ()), dimension.low, dimension.high)
    texts = (
        "auto" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)
        for value in named
    )
    return [(_place(dimension, value), text) for value, text in zip(named, texts, strict=True)]


def _bar(name: str, share: float) -> Row:
    return Row(name, [Mark(0, Interval(share, share, share), f"{name}: {share:.0%}")], f"{share:.0%}")
