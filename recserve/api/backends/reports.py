"""Reports of outcomes and of experiments behind the routes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from recserve.api.backends.store_threads import StoreThreads
from recserve.config import Config
from recserve.experiments.lifecycle import Experiment
from recserve.experiments.report import check_started, read_report
from recserve.outcomes.reports import Question, plain_report, question_of, report
from recserve.store import Store

_BEGIN_SECONDS = 5.0
_END_SECONDS = 22.0

ReportMaker = Callable[[Question], dict[str, Any]]
"""Answers a question, see :func:`recserve.outcomes.reports.plain_report`."""
ExperimentReportMaker = Callable[[str], dict[str, Any]]
"""Reports the experiment of a name, see :meth:`recserve.experiments.report.ExperimentReport.plain`."""


class ReportDesk:
    """Makes reports for callers of the API, one at a time; few may wait.

    Args:
        config: The configuration.
        make: Makes a report of outcomes, in a thread.
        make_experiment: Makes that of an experiment, likewise.
    """

    def __init__(self, config: Config, make: ReportMaker, make_experiment: ExperimentReportMaker) -> None:
        self._config = config
        self._make = make
        self._make_experiment = make_experiment
        self._threads = StoreThreads(
            "reports", threads=1, queue=4, begin_seconds=_BEGIN_SECONDS, end_seconds=_END_SECONDS
        )

    @classmethod
    def of(cls, store: Store, config: Config) -> ReportDesk:
        """A desk that makes reports in this process."""
        return cls(
            config,
            lambda question: plain_report(report(store, config, question)),
            lambda name: read_report(store, config, name).plain(),
        )

    async def report(
        self,
        by: str | None,
        since: str | None,
        until: str | None,
        *,
        scenario: str | None,
        experiment: str | None,
        rows: int,
        item: str | None = None,
    ) -> dict[str, Any]:
        """Answer a question; see :func:`recserve.outcomes.reports.question_of`.

        Raises:
            InvalidRequestError: It asks for something that there is not.
            StoreError: The store cannot be reached, or it takes too long. What was counted until then is
                kept, so that it takes less the next time.
        """
        question = question_of(
            self._config, by, since, until, scenario=scenario, experiment=experiment, rows=rows, item=item
        )
        return await self._threads.run(partial(self._make, question))

    async def experiment_report(self, experiment: Experiment) -> dict[str, Any]:
        """Report of an experiment.

        Raises:
            ExperimentConflictError: It was never started.
            StoreError: The store cannot be reached, or it takes too long.
        """
        check_started(experiment)
        return await self._threads.run(partial(self._make_experiment, experiment.definition.name))
