"""Summary of what a training run chose: each part and each order with its figures, seconds and outcome."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from recserve.bundles.manifest import OrderEntry
from recserve.evaluation.metrics.cost import Cost
from recserve.evaluation.metrics.pareto import FIT_SECONDS, MEGABYTES, ParetoTable, measures_at, pareto
from recserve.plugin.resolved import ResolvedPipeline
from recserve.training.selection.orders import BELOW, FUSED, LEARNT, METRIC, RANKED
from recserve.training.selection.trade_offs import CUT_OFF, Figures

FILLS_UP = "fills up below the others"


@dataclass(frozen=True)
class SummaryRow:
    """One row.

    Attributes:
        part: Name of a component, or of an order of candidates.
        figure: nDCG@10 on held-out events with its 95% interval; empty where it was not measured.
        seconds: What fitting took; None where nothing was fitted.
        outcome: Whether it serves, and why or why not.
        figures: Its trade-offs by measure, costs included; empty where nothing was measured.
    """

    part: str
    figure: str
    seconds: float | None
    outcome: str
    figures: Mapping[str, float] = field(default_factory=dict)


def summary(
    pipeline: ResolvedPipeline,
    order: OrderEntry | None,
    seconds: Mapping[str, float],
    left_out: Mapping[str, str],
    measured: Figures | None = None,
    stored: Mapping[str, float] | None = None,
) -> list[SummaryRow]:
    """Rows of one scenario.

    Args:
        pipeline: As configured, with what was left out.
        order: What was chosen; None where there was too little to choose on.
        seconds: By component key.
        left_out: Reasons by component key.
        measured: What each order is worth beyond accuracy, and the CPU time of an answer.
        stored: Bytes that a bundle keeps, by component key.
    """
    facts: Mapping[str, Any] = {} if order is None else order.facts
    accuracy: Mapping[str, Any] = facts.get(METRIC, {})
    retrievers = [part.key for part in pipeline.retrievers if part.key in seconds]

    def row(name: str, part: str, outcome: str, fitted: float | None, keys: Sequence[str]) -> SummaryRow:
        found = accuracy.get(name)
        figures: dict[str, float] = {}
        if found is not None and measured is not None:
            size = sum((stored or {}).get(key, math.nan) for key in keys)
            figures = {
                METRIC: found["mean"],
                **measured.get(name, {}),
                MEGABYTES: Cost(stored_bytes=size).megabytes,
                FIT_SECONDS: sum(seconds.get(key, math.nan) for key in keys),
            }
        return SummaryRow(part, _figure(found), fitted, outcome, figures)

    rows = []
    for part in pipeline.retrievers:
        outcome = left_out.get(part.key)
        outcome = _retriever(part.name, order) if outcome is None else f"left out: {outcome}"
        rows.append(row(part.name, part.name, outcome, seconds.get(part.key), [part.key]))
    rows += [
        row(name, name, "serves" if facts["serves"] == name else "", None, retrievers)
        for name in (FUSED, LEARNT)
        if name in accuracy
    ]
    if pipeline.ranker is not None:
        key = pipeline.ranker.key
        outcome = _ranker(order) if key in seconds else f"left out: {left_out.get(key, 'not tried')}"
        part_of = f"{RANKED} by {pipeline.ranker.name}"
        rows.append(row(RANKED, part_of, outcome, seconds.get(key), [*retrievers, key]))
    return rows


def choice_table(rows: Sequence[SummaryRow]) -> ParetoTable:
    """Trade-offs between the parts and orders that were measured; nothing is chosen by them."""
    return pareto({row.part: row.figures for row in rows if row.figures}, measures_at(CUT_OFF))


def _retriever(name: str, order: OrderEntry | None) -> str:
    if order is None:
        return "as configured: too few held-out events to choose"
    if order.facts["serves"] == name:
        return "serves: the best by itself; others fill up below"
    if name not in order.weights:
        return "proposes candidates"
    weight = order.weights[name]
    return FILLS_UP if weight <= BELOW else f"proposes with weight {weight:g}"


def _ranker(order: OrderEntry | None) -> str:
    if order is None:
        return "as configured: too few held-out events to choose"
    gain = order.facts["ranked_over_best_other"]
    low, high = gain[METRIC]["ci95"]
    shown = f"{gain[METRIC]['mean']:+.4f} ({low:+.4f} to {high:+.4f}) over {gain['other']}"
    return f"serves: {shown}" if order.ranked else f"does not serve: {shown}"


def _figure(figure: Mapping[str, Any] | None) -> str:
    if figure is None:
        return ""
    low, high = figure["ci95"]
    return f"{figure['mean']:.4f} ({low:.4f} to {high:.4f})"
