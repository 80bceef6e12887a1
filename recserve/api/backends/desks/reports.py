"""Reports of outcomes and of experiments behind the routes."""

from __future__ import annotations

import asyncio
import json
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from recserve.api.backends.store_threads import StoreThreads
from recserve.config import Config
from recserve.experiments.lifecycle import Experiment
from recserve.experiments.report import check_started, read_report
from recserve.outcomes.reports import Question, plain_report, question_of, report
from recserve.store import Store

KEPT_SECONDS = 5.0
"""How long an answer is given to all who ask the same."""

_KEPT_FOR_WORK = 10.0
"""It is given for so many times as long as it took: whoever polls takes a tenth of a core at most."""

_MOST_KEPT_SECONDS = 60.0
"""But no longer than this: on a machine that is busy answering, a report takes long without much work."""

_KEPT_BYTES = 8 << 20
_BEGIN_SECONDS = 5.0
_END_SECONDS = 22.0

ReportMaker = Callable[[Question], bytes]
"""Answers a question: :func:`recserve.outcomes.reports.plain_report` as JSON."""
ExperimentReportMaker = Callable[[str], bytes]
"""Reports the experiment of a name: :meth:`recserve.experiments.report.ExperimentReport.plain` as JSON."""


@dataclass(slots=True)
class _Answer:
    """An answer that is made, or was a moment ago."""

    made: asyncio.Future[bytes]
    until: float = float("inf")
    size: int = 0


class ReportDesk:
    """Makes reports for callers of the API, one at a time; few may wait. For one event loop.

    Whoever asks what somebody else has just asked gets the same answer. An answer that nobody could wait for
    any more is for whoever asks next.

    Args:
        config: The configuration.
        make: Makes a report of outcomes, in a thread.
        make_experiment: Makes that of an experiment, likewise.
        kept_seconds: How long an answer is given at least.
    """

    def __init__(
        self,
        config: Config,
        make: ReportMaker,
        make_experiment: ExperimentReportMaker,
        kept_seconds: float = KEPT_SECONDS,
    ) -> None:
        self._config = config
        self._make = make
        self._make_experiment = make_experiment
        self._kept_seconds = kept_seconds
        self._answers: OrderedDict[Hashable, _Answer] = OrderedDict()
        self._threads = StoreThreads(
            "reports", threads=1, queue=4, begin_seconds=_BEGIN_SECONDS, end_seconds=_END_SECONDS
        )

    @classmethod
    def of(cls, store: Store, config: Config) -> ReportDesk:
        """A desk that makes reports in this process, each time anew."""
        return cls(
            config,
            lambda question: _json(plain_report(report(store, config, question))),
            lambda name: _json(read_report(store, config, name).plain()),
            kept_seconds=0.0,
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
    ) -> bytes:
        """Answer a question; see :func:`recserve.outcomes.reports.question_of`.

        Returns:
            JSON.

        Raises:
            InvalidRequestError: It asks for something that there is not.
            StoreError: The store cannot be reached, or it takes too long. What was counted until then is
                kept, so that it takes less the next time.
        """
        question = question_of(
            self._config, by, since, until, scenario=scenario, experiment=experiment, rows=rows, item=item
        )
        return await self._shared(question, partial(self._make, question))

    async def experiment_report(self, experiment: Experiment) -> bytes:
        """Report of an experiment, as JSON.

        Raises:
            ExperimentConflictError: It was never started.
            StoreError: The store cannot be reached, or it takes too long.
        """
        check_started(experiment)
        make = partial(self._make_experiment, experiment.definition.name)
        # What was started or stopped since is not the same.
        return await self._shared(repr(experiment), make)

    async def _shared(self, question: Hashable, make: Callable[[], bytes]) -> bytes:
        """The answer that is kept or being made, else a new one."""
        known = self._answers.get(question)
        if known is None or time.monotonic() >= known.until:
            known = self._begun(question, make)
            self._answers[question] = known
            self._answers.move_to_end(question)
        return await asyncio.shield(known.made)

    def _begun(self, question: Hashable, make: Callable[[], bytes]) -> _Answer:
        """An answer that is being made."""
        loop, began = asyncio.get_running_loop(), time.monotonic()

        def noted() -> bytes:
            content = make()
            with suppress(RuntimeError):  # nobody is served any more
                loop.call_soon_threadsafe(self._arrived, question, answer, began, content)
            return content

        answer = _Answer(asyncio.ensure_future(self._threads.run(noted)))
        answer.made.add_done_callback(partial(self._keep, question, answer, began))
        return answer

    def _arrived(self, question: Hashable, answer: _Answer, began: float, content: bytes) -> None:
        """Keep an answer that came after it had been given up."""
        if self._answers.get(question) is not answer:
            late: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
            late.set_result(content)
            self._answers[question] = _Answer(late)
            self._keep(question, self._answers[question], began, late)

    def _keep(self, question: Hashable, answer: _Answer, began: float, made: asyncio.Future[bytes]) -> None:
        """Keep an answer that was made for a while, as far as there is room."""
        now = time.monotonic()
        if made.cancelled() or made.exception() is not None or not self._kept_seconds:
            answer.until = now
        else:
            worth = min(_KEPT_FOR_WORK * (now - began), _MOST_KEPT_SECONDS)
            answer.until = now + max(self._kept_seconds, worth)
            answer.size = len(made.result())
        for old in [old for old, known in self._answers.items() if known.until <= now]:
            del self._answers[old]
        while sum(known.size for known in self._answers.values()) > _KEPT_BYTES and len(self._answers) > 1:
            self._answers.popitem(last=False)


def _json(content: Any) -> bytes:
    return json.dumps(content).encode()
