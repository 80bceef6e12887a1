"""Answers about experiments.

Generated from the OpenAPI document by ``python -m tools.clients``; do not edit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Arm:
    """One arm of an experiment.

    Attributes:
        name: `name`.
        share: Share of those in the experiment.
        scenario: Another scenario that answers.
        parameters: What it changes.
        bundle: Another bundle that answers.
        shadow: Computed and logged only.
    """

    name: str
    share: float
    scenario: str | None
    parameters: dict[str, Any] | None
    bundle: str | None
    shadow: bool


@dataclass(frozen=True, slots=True)
class Guardrails:
    """Bounds beyond which an arm is stopped by itself.

    Each is by how much the share of an arm's bad answers may exceed that of the first arm's, among
    the last ``answers`` of each; null does without it.

    Attributes:
        answers: Answers of an arm that are looked at.
        degraded: Share of answers that lost something.
        slow: Share of answers that took over `slow_ms`.
        slow_ms: Milliseconds, from the request to the answer.
        dislikes: Negative events that name an answer, for each answer.
    """

    answers: int | None = None
    degraded: float | None = None
    slow: float | None = None
    slow_ms: float | None = None
    dislikes: float | None = None


@dataclass(frozen=True, slots=True)
class Status:
    """What has become of an experiment.

    Attributes:
        state: `state`.
        share: Share of the layer that it has taken in.
        started: Milliseconds since the epoch, UTC; null before.
        stopped: Likewise.
        reason: Why it was stopped.
        stopped_arms: Arms that are served no more, and why.
    """

    state: Literal["created", "running", "stopped"]
    share: float
    started: int | None
    stopped: int | None
    reason: str | None
    stopped_arms: dict[str, str]


@dataclass(frozen=True, slots=True)
class Experiment:
    """An experiment, and what has become of it.

    Attributes:
        name: `name`.
        description: `description`.
        scenario: `scenario`.
        kind: `kind`.
        layer: Experiments of one layer share no user.
        share: Share of the layer that it asks for.
        holdout: Share of the layer that is kept out.
        arms: `arms`.
        guardrails: `guardrails`.
        created: Milliseconds since the epoch, UTC.
        status: `status`.
    """

    name: str
    description: str
    scenario: str
    kind: Literal["split", "interleaving"]
    layer: str
    share: float
    holdout: float
    arms: list[Arm]
    guardrails: Guardrails
    created: int
    status: Status


@dataclass(frozen=True, slots=True)
class Experiments:
    """All experiments, oldest first.

    Attributes:
        experiments: `experiments`.
    """

    experiments: list[Experiment]


@dataclass(frozen=True, slots=True)
class Bounds:
    """An estimate with its 95% interval.

    Attributes:
        value: Null of nothing.
        low: Null where there is too little data for bounds.
        high: `high`.
    """

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class ArmFigures:
    """What an arm did.

    Attributes:
        name: `name`.
        users: Distinct users.
        anonymous: Answers to nobody in particular.
        answers: `answers`.
        impressions: Items shown, each time they were.
        metrics: `click_through_rate`, `conversion_rate`, `value_per_user`, with intervals of this
            look.
        stopped: Why it was stopped before the others.
    """

    name: str
    users: int
    anonymous: int
    answers: int
    impressions: int
    metrics: dict[str, Bounds]
    stopped: str | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """A metric of an arm minus that of the first arm.

    Attributes:
        arm: `arm`.
        metric: `metric`.
        difference: With an interval that holds at every look at once.
        relative: By the first arm's metric.
        p_value: Of no difference; always valid.
        adjusted: By what users did before (CUPED).
        variance_ratio: What the adjustment left of the variance.
        detectable: Change that would have been found by now in four of five cases.
        users_needed: To find a change of `expected_change`.
        verdict: `verdict`.
    """

    arm: str
    metric: str
    difference: Bounds
    relative: float | None
    p_value: float
    adjusted: bool
    variance_ratio: float
    detectable: float | None
    users_needed: int | None
    verdict: Literal["better", "worse", "undecided"]


@dataclass(frozen=True, slots=True)
class ArmSizes:
    """Test for sample ratio mismatch.

    Attributes:
        arms: `arms`.
        users: `users`.
        expected: `expected`.
        p_value: Always valid.
        mismatch: Rely on no other figure before its cause is known.
    """

    arms: list[str]
    users: list[int]
    expected: list[float]
    p_value: float
    mismatch: bool


@dataclass(frozen=True, slots=True)
class Interleaved:
    """Which of two interleaved arms people prefer.

    Attributes:
        arms: `arms`.
        users: `users`.
        answers: `answers`.
        impressions: `impressions`.
        clicks: Credited to each arm.
        shared: Clicks on items that both arms stand for.
        preference: The second arm's clicks minus the first's by those of both; holds at every look
            at once.
        p_value: `p_value`.
        verdict: Of the second arm.
    """

    arms: list[str]
    users: int
    answers: int
    impressions: int
    clicks: list[int]
    shared: int
    preference: Bounds
    p_value: float
    verdict: Literal["better", "worse", "undecided"]


@dataclass(frozen=True, slots=True)
class ExperimentReport:
    """What an experiment has shown so far.

    Attributes:
        experiment: `experiment`.
        kind: `kind`.
        state: `state`.
        reason: Why it was stopped.
        started: Milliseconds since the epoch, UTC.
        until: The end of what was counted.
        arms: The first one is the control; none of an interleaving.
        comparisons: `comparisons`.
        sample_ratio: `sample_ratio`.
        crossed: Users who saw more than one arm; they count for the first.
        interleaving: `interleaving`.
        confidence: `confidence`.
        expected_change: Relative change that the tests hope for.
    """

    experiment: str
    kind: Literal["split", "interleaving"]
    state: Literal["created", "running", "stopped"]
    reason: str | None
    started: int
    until: int
    arms: list[ArmFigures]
    comparisons: list[Comparison]
    sample_ratio: ArmSizes | None
    crossed: int
    interleaving: Interleaved | None
    confidence: float
    expected_change: float
