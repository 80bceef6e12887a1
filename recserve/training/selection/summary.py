"""Summary of what a training run chose: each part and each order with its figure, seconds and outcome."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from recserve.bundles.manifest import OrderEntry
from recserve.plugin.resolved import ResolvedPipeline
from recserve.training.selection.orders import BELOW, FUSED, LEARNT, METRIC, RANKED

FILLS_UP = "fills up below the others"


@dataclass(frozen=True)
class SummaryRow:
    """One row.

    Attributes:
        part: Name of a component, or of an order of candidates.
        figure: nDCG@10 on held-out events with its 95% interval; empty where it was not measured.
        seconds: What fitting took; None where nothing was fitted.
        outcome: Whether it serves, and why or why not.
    """

    part: str
    figure: str
    seconds: float | None
    outcome: str


def summary(
    pipeline: ResolvedPipeline,
    order: OrderEntry | None,
    seconds: Mapping[str, float],
    left_out: Mapping[str, str],
) -> list[SummaryRow]:
    """Rows of one scenario.

    Args:
        pipeline: As configured, with what was left out.
        order: What was chosen; None where there was too little to choose on.
        seconds: By component key.
        left_out: Reasons by component key.
    """
    facts: Mapping[str, Any] = {} if order is None else order.facts
    figures: Mapping[str, Any] = facts.get(METRIC, {})
    rows = []
    for part in pipeline.retrievers:
        outcome = left_out.get(part.key)
        outcome = _retriever(part.name, order) if outcome is None else f"left out: {outcome}"
        rows.append(SummaryRow(part.name, _figure(figures.get(part.name)), seconds.get(part.key), outcome))
    rows += _fused(figures, str(facts.get("serves")))
    if pipeline.ranker is not None:
        key = pipeline.ranker.key
        outcome = _ranker(order) if key in seconds else f"left out: {left_out.get(key, 'not tried')}"
        figure = _figure(figures.get(RANKED))
        rows.append(SummaryRow(f"{RANKED} by {pipeline.ranker.name}", figure, seconds.get(key), outcome))
    return rows


def _retriever(name: str, order: OrderEntry | None) -> str:
    if order is None:
        return "as configured: too few held-out events to choose"
    if order.facts["serves"] == name:
        return "serves: the best by itself; others fill up below"
    if name not in order.weights:
        return "proposes candidates"
    weight = order.weights[name]
    return FILLS_UP if weight <= BELOW else f"proposes with weight {weight:g}"


def _fused(figures: Mapping[str, Any], serves: str) -> Iterator[SummaryRow]:
    for name in (FUSED, LEARNT):
        if name in figures:
            yield SummaryRow(name, _figure(figures[name]), None, "serves" if serves == name else "")


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
