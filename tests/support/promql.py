"""What queries of Prometheus refer to: metrics, and the labels that they match, group by and show."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_SELECTOR = re.compile(r"\b(recserve_\w+)(?:\{([^}]*)\})?")
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)")
_MATCHER = re.compile(r'(\w+)\s*(?:=~|!~|!=|=)\s*"[^"]*"')
_SHOWN = re.compile(r"\{\{(\w+)\}\}")


def queries(dashboard: Path) -> list[tuple[str, str]]:
    """Every query of a Grafana dashboard with its legend, those of its variables included."""
    found = json.loads(dashboard.read_text(encoding="utf-8"))
    panels = [
        (target["expr"], target["legendFormat"])
        for panel in found["panels"]
        for target in panel.get("targets", ())
    ]
    variables = [
        _variable(variable["query"]["query"])
        for variable in found["templating"]["list"]
        if variable["type"] == "query"
    ]
    return panels + variables


def _variable(query: str) -> tuple[str, str]:
    """``label_values(metric, label)`` as a query that shows the label."""
    parsed = re.fullmatch(r"label_values\((\w+), (\w+)\)", query)
    assert parsed is not None, query
    return parsed[1], f"{{{{{parsed[2]}}}}}"


def problems(query: str, legend: str, known: Mapping[str, set[str]]) -> list[str]:
    """What a query refers to and is not there.

    Args:
        query: In PromQL.
        legend: Grafana's format of a series' name.
        known: Labels of each metric, as a scrape shows them.
    """
    found: list[str] = []
    grouped = {label.strip() for labels in _GROUPING.findall(query) for label in labels.split(",")}
    selectors: list[tuple[Any, Any]] = _SELECTOR.findall(query)
    if not selectors:
        return [f"no metric in {query}"]
    for metric, matchers in selectors:
        if metric not in known:
            found.append(f"no metric {metric}")
            continue
        named = {name for name, *_ in (match.groups() for match in _MATCHER.finditer(matchers))}
        wrong = (named | grouped | set(_SHOWN.findall(legend))) - known[metric]
        found += [f"{metric} has no label {label}" for label in sorted(wrong)]
    return found
