"""Process that makes reports of outcomes and of experiments, and counts days, beside a server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from recserve.config import Config
from recserve.experiments.report.report import read_report
from recserve.outcomes.daily import Rollup
from recserve.outcomes.reports import Question, plain_report, report
from recserve.outcomes.reports.process import QuestionProcess, answer_questions
from recserve.store import Store
from recserve.store.lake import LakeFolder

_COUNTING_SECONDS = 3_600.0


class ReportProcess:
    """Maker of reports in a process of its own, which stays warm.

    Args:
        config: The configuration, which names the store.
        home: The home folder.
    """

    def __init__(self, config: Config, home: Path) -> None:
        self._process = QuestionProcess(__name__, config, home)
        self._counting = QuestionProcess(__name__, config, home, seconds=_COUNTING_SECONDS)

    def outcomes(self, question: Question) -> bytes:
        """Answer a question about outcomes: :func:`recserve.outcomes.reports.plain_report` as JSON.

        Raises:
            StoreError: The database failed, or it took too long.
        """
        return self._process.ask("outcomes", question._asdict())

    def experiment(self, name: str) -> bytes:
        """Report of an experiment that was started.

        Returns:
            :meth:`recserve.experiments.report.ExperimentReport.plain` as JSON.

        Raises:
            StoreError: The database failed, or it took too long.
        """
        return self._process.ask("experiment", {"name": name})

    def count_days(self) -> int:
        """Count the days that are over, in a further process, which ends; returns how many.

        Raises:
            StoreError: The database failed, or it took too long.
        """
        try:
            return int(self._counting.ask("count", {}))
        finally:
            self._counting.close()

    def close(self) -> None:
        """End the processes."""
        self._process.close()
        self._counting.close()


def _outcomes(
    store: Store, config: Config, lake: LakeFolder | None, question: dict[str, Any]
) -> dict[str, Any]:
    return plain_report(report(store, config, Question(**question), lake))


def _experiment(
    store: Store, config: Config, lake: LakeFolder | None, question: dict[str, Any]
) -> dict[str, Any]:
    return read_report(store, config, question["name"], lake).plain()


def _count(store: Store, config: Config, lake: LakeFolder | None, question: dict[str, Any]) -> int:
    return Rollup(store, config, lake).count_over()


if __name__ == "__main__":
    answer_questions({"outcomes": _outcomes, "experiment": _experiment, "count": _count})
