"""Report of an experiment made by a process of its own, so that whoever asks goes on serving meanwhile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from recserve.config import Config
from recserve.experiments.report.report import read_report
from recserve.outcomes.reports.process import answer_question, asked_of_process
from recserve.store import Store
from recserve.store.lake import LakeFolder


def experiment_report_in_process(config: Config, home: Path, name: str) -> dict[str, Any]:
    """Report of an experiment that was started, made in another process.

    Args:
        config: The configuration, which names the store.
        home: The home folder.
        name: Name of the experiment.

    Returns:
        See :meth:`recserve.experiments.report.ExperimentReport.plain`.

    Raises:
        StoreError: The database failed, or it took too long.
    """
    return asked_of_process(__name__, config, home, {"name": name})


def _answer(
    store: Store, config: Config, lake: LakeFolder | None, question: dict[str, Any]
) -> dict[str, Any]:
    return read_report(store, config, question["name"], lake).plain()


if __name__ == "__main__":
    answer_question(_answer)
