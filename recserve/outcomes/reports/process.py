"""Report made by a process of its own, so that whoever asks goes on serving meanwhile.

It takes a question on its standard input and prints the answer, or why there is none.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from recserve.config import Config, parse_config
from recserve.errors import RecserveError, StoreError
from recserve.outcomes.reports.plain import plain_report
from recserve.outcomes.reports.question import Question
from recserve.outcomes.reports.report import report
from recserve.store import Store, open_store
from recserve.store.lake import LakeFolder

SECONDS = 60.0
"""How long a report may take."""

_LESS_URGENT = 10

Answer = Callable[[Store, Config, LakeFolder | None, dict[str, Any]], dict[str, Any]]
"""Makes a report: of a store, its configuration and lake, and a question, as plain data."""


def report_in_process(config: Config, home: Path, question: Question) -> dict[str, Any]:
    """Answer a question about outcomes in another process.

    Args:
        config: The configuration, which names the store.
        home: The home folder.
        question: The question.

    Returns:
        See :func:`recserve.outcomes.reports.plain_report`.

    Raises:
        StoreError: The database failed, or it took too long.
    """
    return asked_of_process(__name__, config, home, question._asdict())


def asked_of_process(module: str, config: Config, home: Path, question: Mapping[str, Any]) -> dict[str, Any]:
    """Have a module answer a question in a process of its own.

    Args:
        module: Its name; as a program it calls :func:`answer_question`.
        config: The configuration, which names the store.
        home: The home folder.
        question: The question, as plain data.

    Raises:
        StoreError: The database failed, or it took too long.
    """
    asked = {"config": config.model_dump(mode="json"), "home": str(home), "question": question}
    try:
        done = subprocess.run(
            [sys.executable, "-m", module],
            input=json.dumps(asked),
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise StoreError(
            f"the report took longer than {SECONDS:g} s; ask for it on the command line"
        ) from None
    try:
        answer: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        last = done.stderr.strip().rpartition("\n")[2][:200]
        message = f"the process of the report ended with status {done.returncode}: {last}"
        raise StoreError(message) from None
    if "failed" in answer:
        raise StoreError(answer["failed"])
    return answer


def answer_question(answer: Answer) -> None:
    """Answer the question on standard input."""
    os.nice(_LESS_URGENT)
    asked = json.load(sys.stdin)
    try:
        config = parse_config(asked["config"])
        lake = LakeFolder.of(config.store.lake)
        with open_store(config.store.url, Path(asked["home"])) as store:
            found = answer(store, config, lake, asked["question"])
    except RecserveError as error:
        found = {"failed": error.message}
    json.dump(found, sys.stdout)


def _answer(
    store: Store, config: Config, lake: LakeFolder | None, question: dict[str, Any]
) -> dict[str, Any]:
    return plain_report(report(store, config, Question(**question), lake))


if __name__ == "__main__":
    answer_question(_answer)
