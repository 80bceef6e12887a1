"""Report of outcomes as plain data, the same on the command line and over HTTP."""

from __future__ import annotations

import math
from typing import Any

from recserve.outcomes.intervals import Interval
from recserve.outcomes.reports.figures import Figures
from recserve.outcomes.reports.question import date_of
from recserve.outcomes.reports.report import Report


def plain_report(report: Report) -> dict[str, Any]:
    """The report as JSON-like data; null stands for what is not known."""
    asked, fresh = report.question, report.freshness
    return {
        "by": asked.by,
        "since": date_of(asked.first),
        "until": date_of(asked.last),
        "scenario": asked.scenario,
        "experiment": asked.experiment,
        "total": _figures(report.total),
        "rows": [_figures(row) for row in report.rows],
        "groups": report.groups,
        "examination": list(report.examination),
        "catalogue": report.catalogue,
        "days": report.days,
        "days_by_other_settings": report.other_settings,
        "freshness": {
            "at": fresh.at,
            "bundle": fresh.bundle,
            "bundle_created": fresh.bundle_created,
            "newest_event": fresh.newest_event,
            "newest_answer": fresh.newest_answer,
        },
    }


def _figures(row: Figures) -> dict[str, Any]:
    return {
        "group": row.group,
        "impressions": row.impressions,
        "clicks": row.clicks,
        "conversions": row.conversions,
        "value": _number(row.value),
        "ctr": _interval(row.ctr),
        "debiased_ctr": _interval(row.debiased_ctr),
        "conversion": _interval(row.conversion),
        "value_per_impression": _interval(row.value_each),
        "items": row.items,
        "coverage": None if row.coverage is None else _number(row.coverage),
        "degraded": _number(row.degraded),
    }


def _interval(interval: Interval) -> dict[str, float | None]:
    return {name: _number(bound) for name, bound in interval._asdict().items()}


def _number(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 8)
