"""Renders HTML reports from Jinja2 templates: one file each, without scripts, readable without a network."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from recserve.evaluation.bootstrap import Interval
from recserve.evaluation.html.charts import Axis, row_axis
from recserve.evaluation.metrics.pareto import significant
from recserve.evaluation.report import HEADINGS


def render(template: Path, **context: Any) -> str:
    """A page from a template, which extends ``base.html`` of this folder and draws with ``charts.html``."""
    environment = Environment(
        loader=FileSystemLoader([template.parent, Path(__file__).parent]),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters.update(number=number, cost=significant, span=span, signed=signed, heading=heading)
    environment.globals.update(Axis=Axis, row_axis=row_axis)
    return environment.get_template(template.name).render(context)


def number(value: float) -> str:
    """A figure with four digits after the point, two from 1 on; a dash where there is none."""
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


def heading(metric: str) -> str:
    """A metric's name for people: ``nDCG@10`` for ``ndcg@10``."""
    name, at, k = metric.partition("@")
    return f"{HEADINGS.get(name, name)}{at}{k}"
