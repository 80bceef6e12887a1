"""Guardrails: what an arm's latest answers were like, and when that is reason to stop the arm.

Each process looks at the answers that it gave itself, and the first one with a reason stops the arm for all.
An arm is compared with the experiment's first one, the control: what befalls the whole server, such as a
store that is down, befalls both and stops neither.
"""

from __future__ import annotations

import math
from collections import deque
from typing import NamedTuple

from recserve.experiments.assignment import AssignedArm
from recserve.experiments.definition import Guardrails

_DEVIATIONS = 3.0
"""Standard errors that an excess must be beyond its bound: windows are looked at all the time."""


class Answered(NamedTuple):
    """What a guardrail must know of an answer.

    Attributes:
        degraded: Whether it lost something.
        milliseconds: From the request to the answer.
    """

    degraded: bool
    milliseconds: float


class _Figures:
    """Counts of the latest answers of one arm.

    Args:
        window: Answers that count.
    """

    def __init__(self, window: int) -> None:
        self._window = window
        self._number = 0
        self._bad: dict[str, deque[int]] = {}

    @property
    def answers(self) -> int:
        """Answers that are looked at."""
        return min(self._number, self._window)

    @property
    def marked(self) -> bool:
        """Whether there was anything bad about the latest answers."""
        return bool(self._bad)

    def count(self) -> None:
        """Count an answer."""
        self._number += 1

    def mark(self, kind: str) -> None:
        """Count something bad about one of the latest answers."""
        self._bad.setdefault(kind, deque()).append(self._number)

    def bad(self, kind: str) -> int:
        """How many of the answers that are looked at are bad in some way."""
        marks = self._bad.get(kind)
        if not marks:
            return 0
        while marks and marks[0] <= self._number - self._window:
            marks.popleft()
        return len(marks)


class GuardrailWatch:
    """Watch over the arms whose answers a process gives. For one event loop; not thread-safe."""

    def __init__(self) -> None:
        self._figures: dict[AssignedArm, _Figures] = {}

    def answered(
        self, arm: AssignedArm, control: AssignedArm, guardrails: Guardrails, answer: Answered
    ) -> str | None:
        """Count an answer; returns why its arm must be stopped, if so.

        Args:
            arm: The arm that answered.
            control: The arm that it is compared with; this one is never stopped.
            guardrails: Of the experiment.
            answer: The answer.
        """
        figures = self._of(arm, guardrails)
        figures.count()
        if answer.degraded:
            figures.mark("degraded")
        if answer.milliseconds > guardrails.slow_ms:
            figures.mark("slow")
        # Nearly always all is well, which is seen at once.
        if not figures.marked or arm == control:
            return None
        return self._reason("degraded", arm, control, guardrails) or self._reason(
            "slow", arm, control, guardrails
        )

    def disliked(self, arm: AssignedArm, control: AssignedArm, guardrails: Guardrails) -> str | None:
        """Count a negative event that follows an answer; returns why its arm must be stopped, if so."""
        self._of(arm, guardrails).mark("dislikes")
        return None if arm == control else self._reason("dislikes", arm, control, guardrails)

    def keep(self, experiments: frozenset[str]) -> None:
        """Forget all experiments but these."""
        for arm in [arm for arm in self._figures if arm.experiment not in experiments]:
            del self._figures[arm]

    def _of(self, arm: AssignedArm, guardrails: Guardrails) -> _Figures:
        figures = self._figures.get(arm)
        if figures is None:
            figures = self._figures[arm] = _Figures(guardrails.answers)
        return figures

    def _reason(
        self, kind: str, arm: AssignedArm, control: AssignedArm, guardrails: Guardrails
    ) -> str | None:
        """Why an arm must be stopped; None while its excess over the control is within the bound."""
        bound: float | None = getattr(guardrails, kind)
        mine, theirs = self._of(arm, guardrails), self._of(control, guardrails)
        bad, other = mine.bad(kind), theirs.bad(kind)
        if bound is None or not bad:
            return None
        expected = (other + 1) / (theirs.answers + 2)
        error = math.sqrt(
            expected * max(1 - expected, 0.0) * (1 / guardrails.answers + 1 / max(theirs.answers, 1))
        )
        usual = other / max(theirs.answers, 1)
        # Of a window that is not full yet, what is missing counts as good.
        if bad <= guardrails.answers * (usual + bound + _DEVIATIONS * error):
            return None
        what = f"over {guardrails.slow_ms:g} ms" if kind == "slow" else kind
        return (
            f"{what}: {bad} of its last {mine.answers} answers, {other} of the last {theirs.answers} of arm "
            f"{control.name!r}; it may exceed that by {bound:.0%} of {guardrails.answers}"
        )
