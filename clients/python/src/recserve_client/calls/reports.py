"""Calls about reports.

Generated from the OpenAPI document by ``python -m tools.clients``; do not edit.
"""

from __future__ import annotations

from recserve_client.answers import Outcomes
from recserve_client.core.sending import Call, Sender


class ReportsCalls(Sender):
    """Calls about reports."""

    def report_outcomes(
        self,
        *,
        by: str | None = None,
        since: str | None = None,
        until: str | None = None,
        scenario: str | None = None,
        experiment: str | None = None,
        item: str | None = None,
        limit: int | None = None,
    ) -> Outcomes:
        """Report what became of recommendations.

        Impressions, clicks, conversions and value of a span of days, by what showed them, with
        intervals over users. One report is made at a time; the first one after many new days counts
        them and takes longer.

        Args:
            by: `scenario`, `bundle`, `arm`, `retriever`, `item`, `day`, or `segment:ATTRIBUTE` of
                the users; nothing for the total alone.
            since: A day in UTC.
            until: A day in UTC.
            scenario: Only what belongs to it.
            experiment: Only what belongs to it.
            item: Only impressions of this item, over all scenarios; in total or by `day`.
            limit: Most rows, those shown most. Default: 100.
        """
        return self._send(
            Call(
                "GET",
                "/v1/reports/outcomes",
                Outcomes,
                repeatable=True,
                query={
                    "by": by,
                    "since": since,
                    "until": until,
                    "scenario": scenario,
                    "experiment": experiment,
                    "item": item,
                    "limit": limit,
                },
            )
        )
