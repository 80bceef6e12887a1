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

_COMPARED = "compared"


def findings_in_process(config: Config, home: Path, current: str, candidate: str) -> list[Finding]:
    """What speaks for and against a bundle, as far as nothing need be fitted to know; blocks.

    Args:
        config: The configuration, which names the store.
        home: The home folder.
        current: Id of the bundle that it would replace.
        candidate: Its id.

    Raises:
        NotMeasuredError: The two were not measured on the same data.
        StoreError: It failed, or it took too long.
    """
    asked = {"home": str(home), "current": current, "candidate": candidate}
    answer = _asked(config, home, asked)
    if answer["not_measured"] is not None:
        raise NotMeasuredError(answer["not_measured"], field="bundle_id")
    return [Finding(**finding) for finding in answer["findings"]]


def difference_in_process(config: Config, home: Path, first: str, second: str) -> dict[str, Any] | None:
    """Difference of two bundles as training measured it; blocks.

    Args:
        config: The configuration, which names the store.
        home: The home folder.
        first: Id of a bundle.
        second: Id of the other one.

    Returns:
        See :func:`measured_difference`.

    Raises:
        StoreError: It failed, or it took too long.
    """
    asked = {"home": str(home), "first": first, "second": second}
    found: dict[str, Any] | None = _asked(config, home, asked)["difference"]
    return found


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


def _asked(config: Config, home: Path, question: dict[str, Any]) -> dict[str, Any]:
    """The answer of a process that ends with it: bundles are compared now and then, and take much memory."""
    process = QuestionProcess(__name__, config, home)
    try:
        answer: dict[str, Any] = json.loads(process.ask(_COMPARED, question))
    finally:
        process.close()
    return answer


def _answer(
    store: Store, config: Config, lake: LakeFolder | None, question: dict[str, Any]
) -> dict[str, Any]:
    from recserve.plugin.registry import Registry
    from recserve.training.promotion.evidence import Weighing

    home = Path(question["home"])
    repository = BundleRepository(home, config.bundles)
    if "first" in question:
        found = measured_difference(home, repository, question["first"], question["second"])
        return {"difference": found}
    weighing = Weighing(home, config, Registry.discover, repository, store, fits=False)
    try:
        findings = weighing.findings(question["current"], repository.open(question["candidate"]))
    except NotMeasuredError as error:
        return {"findings": [], "not_measured": error.message}
    return {"findings": [asdict(finding) for finding in findings], "not_measured": None}


if __name__ == "__main__":
    answer_questions({_COMPARED: _answer})
