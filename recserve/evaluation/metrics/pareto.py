"""Pareto front of models in several measures: which of them another model makes pointless.

A model dominates another if it is no worse in each measure and better in at least one. The front holds those
that no model dominates. Figures are compared as they are shown, so that noise in digits that nobody sees
decides nothing. A figure that is missing counts as the worst of its measure: what was not measured is no
reason to prefer a model.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from recserve.data.arrays import BoolArray, Float64Array

COST = ".2g"
"""Format of costs."""


class Better(StrEnum):
    """Which figures of a measure are the better ones."""

    MORE = "more"
    LESS = "less"
    NEAR_ZERO = "nearer to 0"


@dataclass(frozen=True)
class Measure:
    """Something that models are compared in.

    Attributes:
        name: Such as ``ndcg@10`` or ``answer_ms``.
        heading: What people read, with the unit.
        brief: The same in few letters, for a narrow table.
        better: Which figures are the better ones.
        spec: How a figure is shown and compared, as a format specification.
    """

    name: str
    heading: str
    brief: str
    better: Better
    spec: str

    def shown(self, value: float) -> str:
        """A figure for people; a dash where there is none."""
        if self.spec == COST:
            return significant(value)
        return "-" if math.isnan(value) else format(value, self.spec)

    def badness(self, value: float) -> float:
        """The figure as it is shown, turned so that less is better; infinite where there is none."""
        if math.isnan(value):
            return math.inf
        rounded = float(format(value, self.spec))
        if self.better is Better.NEAR_ZERO:
            return abs(rounded)
        return -rounded if self.better is Better.MORE else rounded


def measures_at(k: int) -> tuple[Measure, ...]:
    """Measures at a cut-off: accuracy, three beyond it, and what an answer, storage and a fit cost."""
    return (
        Measure(f"ndcg@{k}", f"nDCG@{k}", "nDCG", Better.MORE, ".4f"),
        Measure(f"coverage@{k}", f"coverage@{k}", "coverage", Better.MORE, ".3f"),
        Measure(f"novelty@{k}", f"novelty@{k}, bits", "novelty", Better.MORE, ".2f"),
        Measure(f"lift@{k}", f"popularity lift@{k}", "lift", Better.NEAR_ZERO, "+.2f"),
        Measure(ANSWER_MS, "CPU ms an answer", "CPU ms", Better.LESS, COST),
        Measure(MEGABYTES, "MB stored", "MB", Better.LESS, COST),
        Measure(FIT_SECONDS, "fit s", "fit s", Better.LESS, COST),
    )


ANSWER_MS, MEGABYTES, FIT_SECONDS = "answer_ms", "megabytes", "fit_seconds"


@dataclass(frozen=True)
class ParetoRow:
    """One model.

    Attributes:
        model: Its name.
        figures: By measure; NaN where there is none.
        dominated_by: Models of the front that dominate it, in the order of the table; empty on the front.
    """

    model: str
    figures: Mapping[str, float]
    dominated_by: tuple[str, ...] = ()

    @property
    def on_front(self) -> bool:
        """Whether no model dominates it."""
        return not self.dominated_by

    @property
    def verdict(self) -> str:
        """In words: ``front``, or what dominates it."""
        if self.on_front:
            return "front"
        further = len(self.dominated_by) - 1
        return f"dominated by {self.dominated_by[0]}" + (f" and {further} more" if further else "")


@dataclass(frozen=True)
class ParetoTable:
    """Models, the best of the first measure first, and who dominates whom.

    Attributes:
        measures: What they are compared in: those that some model has a figure of.
        rows: The models.
        unmeasured: Measures that no model has a figure of.
    """

    measures: tuple[Measure, ...]
    rows: tuple[ParetoRow, ...]
    unmeasured: tuple[Measure, ...] = ()

    @property
    def front(self) -> list[str]:
        """Models that no other dominates."""
        return [row.model for row in self.rows if row.on_front]

    def missing(self) -> list[str]:
        """What was not measured, as sentences' parts: measure and models."""
        found = [f"{measure.heading} of any model" for measure in self.unmeasured]
        for measure in self.measures:
            names = [row.model for row in self.rows if math.isnan(row.figures[measure.name])]
            if names:
                found.append(f"{measure.heading} of {', '.join(names)} (counts as the worst)")
        return found

    def within(self, names: Sequence[str]) -> ParetoTable:
        """The models that have figures of all these measures, compared in them only."""
        rows = [row for row in self.rows if not any(math.isnan(row.figures[name]) for name in names)]
        chosen = [measure for measure in self.measures if measure.name in names]
        return pareto({row.model: row.figures for row in rows}, chosen)

    def to_json(self) -> dict[str, Any]:
        """A JSON object; null for a figure that is missing."""
        return {
            "measures": [
                {"name": measure.name, "better": measure.better.value, "heading": measure.heading}
                for measure in self.measures
            ],
            "not_measured": [measure.name for measure in self.unmeasured],
            "front": self.front,
            "models": [
                {
                    "model": row.model,
                    "on_front": row.on_front,
                    "dominated_by": list(row.dominated_by),
                    "figures": {
                        measure.name: _or_null(row.figures[measure.name]) for measure in self.measures
                    },
                }
                for row in self.rows
            ],
        }


def pareto(models: Mapping[str, Mapping[str, float]], measures: Sequence[Measure]) -> ParetoTable:
    """Compare models in all measures that some of them has a figure of.

    Args:
        models: Figures of each model by measure; one that is absent or NaN is missing.
        measures: What to compare in, the one that the rows are ordered by first.

    Returns:
        The table, which does not depend on the order of the models.
    """
    figures = {
        model: {measure.name: float(values.get(measure.name, math.nan)) for measure in measures}
        for model, values in models.items()
    }
    held = [
        measure
        for measure in measures
        if any(not math.isnan(values[measure.name]) for values in figures.values())
    ]
    badness = {
        model: tuple(measure.badness(values[measure.name]) for measure in held)
        for model, values in figures.items()
    }
    ordered = sorted(figures, key=lambda model: (badness[model], model))
    dominates = _dominates(np.array([badness[model] for model in ordered], dtype=np.float64))
    front = ~dominates.any(axis=0)
    rows = [
        ParetoRow(
            model, figures[model], tuple(ordered[row] for row in np.flatnonzero(dominates[:, column] & front))
        )
        for column, model in enumerate(ordered)
    ]
    return ParetoTable(
        tuple(held), tuple(rows), tuple(measure for measure in measures if measure not in held)
    )


def _dominates(badness: Float64Array) -> BoolArray:
    """Which model dominates which.

    Args:
        badness: float64, shape (M, measures); less is better.

    Returns:
        bool, shape (M, M); the row dominates the column.
    """
    if not badness.size:
        return np.zeros((len(badness), len(badness)), dtype=np.bool_)
    no_worse = (badness[:, None, :] <= badness[None, :, :]).all(axis=2)
    better = (badness[:, None, :] < badness[None, :, :]).any(axis=2)
    return np.asarray(no_worse & better)


def significant(value: float) -> str:
    """A cost with two significant digits, as many as repeat themselves; a dash where there is none."""
    return "-" if math.isnan(value) else f"{float(format(value, COST)):,.9g}"


def _or_null(value: float) -> float | None:
    return None if math.isnan(value) else value
