"""Comparison of bundles in a process of its own, so that whoever asks goes on serving meanwhile.

What measures models is imported where it is used: whoever asks is a server, and does without.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from recserve.bundles.repository import BundleRepository
from recserve.config import Config
from recserve.outcomes.reports.process import QuestionProcess, answer_questions
from recserve.store import Store
from recserve.store.lake import LakeFolder
from recserve.training.promotion.gate import Finding, NotMeasuredError

_IDLE_SECONDS = 30.0


class ComparisonProcess:
    """Comparer of bundles in a process of its own, which ends soon after it was asked.

    Args:
        config: The configuration, which names the store.
        home: The home folder.
    """

    def __init__(self, config: Config, home: Path) -> None:
        self._process = QuestionProcess(__name__, config, home, idle_seconds=_IDLE_SECONDS)
        self._home = str(home)

    def findings(self, current: str, candidate: str) -> list[Finding]:
        """What speaks for and against a bundle, as far as nothing need be fitted to know; blocks.

        Args:
            current: Id of the bundle that it would replace.
            candidate: Its id.

        Raises:
            NotMeasuredError: The two were not measured on the same data.
            StoreError: It failed, or it took too long.
        """
        asked = {"home": self._home, "current": current, "candidate": candidate}
        answer = json.loads(self._process.ask("findings", asked))
        if answer["not_measured"] is not None:
            raise NotMeasuredError(answer["not_measured"], field="bundle_id")
        return [Finding(**finding) for finding in answer["findings"]]

    def difference(self, first: str, second: str) -> dict[str, Any] | None:
        """Difference of two bundles as training measured it, see :func:`measured_difference`; blocks.

        Args:
            first: Id of a bundle.
            second: Id of the other one.

        Raises:
            StoreError: It failed, or it took too long.
        """
        asked = {"home": self._home, "first": first, "second": second}
        found: dict[str, Any] | None = json.loads(self._process.ask("difference", asked))
        return found

    def close(self) -> None:
        """End the process."""
        self._process.close()


def measured_difference(
    home: Path, repository: BundleRepository, first: str, second: str
) -> dict[str, Any] | None:
    """Difference of two bundles as training measured it: second minus first.

    Returns:
        ``{metric, first, second, difference: {value, low, high}, users, how}``; None where they were not
        measured on the same data.

    Raises:
        BundleError: One of them is damaged or gone.
    """
    from recserve.training.promotion.offline import METRIC, compare_measured

    verdict = compare_measured(home, repository.open(first), repository.open(second))
    if verdict is None:
        return None
    difference = verdict.difference
    return {
        "metric": METRIC,
        "first": verdict.current,
        "second": verdict.candidate,
        "difference": {"value": difference.mean, "low": difference.low, "high": difference.high},
        "users": verdict.users,
        "how": verdict.how,
    }


def _difference(
    store: Store, config: Config, lake: LakeFolder | None, question: dict[str, Any]
) -> dict[str, Any] | None:
    home = Path(question["home"])
    return measured_difference(
        home, BundleRepository(home, config.bundles), question["first"], question["second"]
    )


def _findings(
    store: Store, config: Config, lake: LakeFolder | None, question: dict[str, Any]
) -> dict[str, Any]:
    from recserve.plugin.registry import Registry
    from recserve.training.promotion.evidence import Weighing

    home = Path(question["home"])
    repository = BundleRepository(home, config.bundles)
    weighing = Weighing(home, config, Registry.discover, repository, store, fits=False)
    try:
        findings = weighing.findings(question["current"], repository.open(question["candidate"]))
    except NotMeasuredError as error:
        return {"findings": [], "not_measured": error.message}
    return {"findings": [asdict(finding) for finding in findings], "not_measured": None}


if __name__ == "__main__":
    answer_questions({"findings": _findings, "difference": _difference})
