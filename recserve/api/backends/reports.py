"""Reports of outcomes behind the routes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from recserve.api.backends.store_threads import StoreThreads
from recserve.config import Config
from recserve.outcomes.reports import Question, plain_report, question_of, report
from recserve.store import Store

_BEGIN_SECONDS = 5.0
_END_SECONDS = 22.0

ReportMaker = Callable[[Question], dict[str, Any]]
"""Answers a question, see :func:`recserve.outcomes.reports.plain_report`."""


class ReportDesk:
    """Makes reports for callers of the API, one at a time; few may wait.

    Args:
        config: The configuration.
        make: Makes a report, in a thread.
    """

    def __init__(self, config: Config, make: ReportMaker) -> None:
        self._config = config
        self._make = make
        self._threads = StoreThreads(
            "reports", threads=1, queue=4, begin_seconds=_BEGIN_SECONDS, end_seconds=_END_SECONDS
        )

    @classmethod
    def of(cls, store: Store, config: Config) -> ReportDesk:
        """A desk that makes reports in this process."""
        return cls(config, lambda question: plain_report(report(store, config, question)))

    async def report(
        self,
        by: str | None,
        since: str | None,
        until: str | None,
        *,
        scenario: str | None,
        experiment: str | None,
        rows: int,
    ) -> dict[str, Any]:
        """Answer a question; see :func:`recserve.outcomes.reports.question_of`.

        Raises:
            InvalidRequestError: It asks for something that there is not.
            StoreError: The store cannot be reached, or it takes too long. What was counted until then is
                kept, so that it takes less the next time.
        """
        question = question_of(
            self._config, by, since, until, scenario=scenario, experiment=experiment, rows=rows
        )
        return await self._threads.run(partial(self._make, question))
