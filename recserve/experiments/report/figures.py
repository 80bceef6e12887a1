"""Figures of an experiment's report."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Literal

from recserve.outcomes.intervals import CONFIDENCE, Interval

EXPECTED_CHANGE = 0.1
"""Relative change that one hopes for: the scale of the tests, and what the needed users are of."""

Verdict = Literal["better", "worse", "undecided"]


@dataclass(frozen=True, slots=True)
class ArmFigures:
    """What one arm did.

    Attributes:
        name: Its name; the first arm of a report is the control.
        users: Distinct users.
        anonymous: Answers to nobody in particular.
        answers: Answers, all together.
        impressions: Items shown.
        metrics: By name of the metric, with intervals of one look.
        stopped: Why it was stopped before the others.
    """

    name: str
    users: int
    anonymous: int
    answers: int
    impressions: int
    metrics: Mapping[str, Interval]
    stopped: str | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """A metric of an arm, compared with that of the control.

    Attributes:
        arm: Name of the arm.
        metric: Name of the metric.
        difference: Arm minus control, with its always-valid interval.
        relative: The difference by the control's metric.
        p_value: Always-valid p-value of no difference.
        adjusted: Whether the difference is adjusted by what users did before (CUPED).
        variance_ratio: Variance of the difference by what it were without adjustment.
        detectable: Change that would have been found by now in four of five cases.
        users_needed: Users of both arms together to find a change of :data:`EXPECTED_CHANGE`; None while
            there are too few users to tell.
        verdict: What may be concluded of the arm.
    """

    arm: str
    metric: str
    difference: Interval
    relative: float
    p_value: float
    adjusted: bool
    variance_ratio: float
    detectable: float
    users_needed: int | None
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Interleaved:
    """Which of two interleaved arms people prefer.

    Attributes:
        arms: Their names.
        users: Distinct users.
        answers: Pages.
        impressions: Items shown.
        clicks: Clicks that each arm is credited with.
        shared: Clicks on items that both stand for.
        preference: The second arm's clicks minus the first's by those of both, -1 to 1, with its always-valid
            interval.
        p_value: Always-valid p-value of no preference.
        verdict: What may be concluded of the second arm.
    """

    arms: tuple[str, str]
    users: int
    answers: int
    impressions: int
    clicks: tuple[int, int]
    shared: int
    preference: Interval
    p_value: float
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class ArmSizes:
    """Whether arms got their shares of users.

    Attributes:
        arms: Names of the arms.
        users: Distinct users of each.
        expected: How many were planned, of as many users.
        p_value: Always-valid p-value of the planned shares.
        mismatch: Whether the alarm is on: read no other figure before its cause is known.
    """

    arms: tuple[str, ...]
    users: tuple[int, ...]
    expected: tuple[float, ...]
    p_value: float
    mismatch: bool


@dataclass(frozen=True, slots=True)
class ExperimentReport:
    """What an experiment has shown so far.

    Attributes:
        experiment: Its name.
        kind: Whether arms answer as a whole, or are interleaved.
        state: Whether it runs.
        reason: Why it was stopped.
        started: Milliseconds since the epoch.
        until: The end of what was counted, likewise.
        arms: Arms that answer as a whole, the control first; none of an interleaving.
        comparisons: Of each other arm with the control, by metric.
        sample_ratio: The test for sample ratio mismatch; None if there are not two arms to compare.
        crossed: Users who saw more than one arm; they count for their first.
        interleaving: Its result.
        confidence: Of all intervals.
        expected_change: The relative change that the tests hope for.
    """

    experiment: str
    kind: str
    state: str
    reason: str | None
    started: int | None
    until: int
    arms: tuple[ArmFigures, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    sample_ratio: ArmSizes | None = None
    crossed: int = 0
    interleaving: Interleaved | None = None
    confidence: float = CONFIDENCE
    expected_change: float = EXPECTED_CHANGE

    def plain(self) -> dict[str, Any]:
        """The report as plain data; what is not known, or not bounded, is null."""
        plain: dict[str, Any] = _plain(self)
        return plain


def _plain(value: Any) -> Any:
    """Plain data of figures, in which nothing is infinite or NaN."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Interval):
        return _plain(value._asdict())
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, tuple):
        return [_plain(inner) for inner in value]
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    return value
