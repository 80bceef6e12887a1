"""Handlers of reports."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response

from recserve.api.middleware.compression import long_response
from recserve.api.routes.recommendations import backend_of
from recserve.data.entities import MAX_ID
from recserve.outcomes.reports import SHOWN_ROWS

By = Annotated[
    str | None,
    Query(
        max_length=200,
        description="`scenario`, `bundle`, `arm`, `retriever`, `item`, `day`, or `segment:ATTRIBUTE` of the "
        "users; nothing for the total alone.",
        examples=["scenario"],
    ),
]
Day = Annotated[str | None, Query(max_length=20, examples=["2026-01-31"], description="A day in UTC.")]
Only = Annotated[str | None, Query(min_length=1, max_length=200, description="Only what belongs to it.")]
OnlyItem = Annotated[
    str | None,
    Query(
        min_length=1,
        max_length=MAX_ID,
        pattern=r"^[^\x00]+$",
        description="Only impressions of this item, over all scenarios; in total or by `day`.",
        examples=["260"],
    ),
]
Rows = Annotated[int, Query(ge=1, le=10_000, description="Most rows, those shown most.")]


class ReportRoutes:
    """The handlers."""

    async def report_outcomes(
        self,
        request: Request,
        by: By = None,
        since: Day = None,
        until: Day = None,
        scenario: Only = None,
        experiment: Only = None,
        item: OnlyItem = None,
        limit: Rows = SHOWN_ROWS,
    ) -> Response:
        """Answer `GET /v1/reports/outcomes`."""
        desk = backend_of(request).reports
        found = await desk.report(
            by, since, until, scenario=scenario, experiment=experiment, rows=limit, item=item
        )
        return await long_response(request, found)
