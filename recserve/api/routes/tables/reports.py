"""Routes of reports."""

from __future__ import annotations

from recserve.api import openapi
from recserve.api.routes.reports import ReportRoutes
from recserve.api.routes.tables.adder import Adder
from recserve.api.schemas import reports


def add_reports(add: Adder, routes: ReportRoutes) -> None:
    """Add what became of recommendations."""
    add(
        "GET",
        "/v1/reports/outcomes",
        routes.report_outcomes,
        "Report what became of recommendations",
        "Impressions, clicks, conversions and value of a span of days, by what showed them, with intervals "
        "over users. One report is made at a time; the first one after many new days counts them and takes "
        "longer.",
        openapi.responses(reports.OutcomesAnswer, "The report.", 422),
    )
