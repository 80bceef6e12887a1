"""Bodies and answers of experiments."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from recserve.api.schemas.recommend_request import Body
from recserve.api.schemas.responses import Answer
from recserve.experiments.definition import NAME, Definition, Guardrails
from recserve.experiments.lifecycle import Experiment, plain_of


class ExperimentBody(Definition):
    """What to compare with what, and for whom."""


class StartBody(Body):
    """With what share to start or to go on."""

    share: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Share of the layer's users and sessions to take in; it only grows. Default: the "
        "experiment's, or as it is.",
        examples=[0.2],
    )


class StopBody(Body):
    """What to stop, and why."""

    arm: str | None = Field(
        None, pattern=NAME, description="Only this arm; default: the experiment.", examples=["fewer"]
    )
    reason: str = Field("", max_length=1_000, description="Why, for people.", examples=["decided"])


class StatusAnswer(Answer):
    """What has become of an experiment."""

    state: Literal["created", "running", "stopped"]
    share: float = Field(description="Share of the layer that it has taken in.", examples=[0.2])
    started: int | None = Field(
        description="Milliseconds since the epoch, UTC; null before.", examples=[1738324800000]
    )
    stopped: int | None = Field(description="Likewise.", examples=[None])
    reason: str | None = Field(description="Why it was stopped.", examples=[None])
    stopped_arms: dict[str, str] = Field(description="Arms that are served no more, and why.", examples=[{}])


class ArmAnswer(Answer):
    """One arm of an experiment."""

    name: str = Field(examples=["control"])
    share: float = Field(description="Share of those in the experiment.", examples=[0.5])
    scenario: str | None = Field(description="Another scenario that answers.", examples=[None])
    parameters: dict[str, Any] | None = Field(description="What it changes.", examples=[None])
    bundle: str | None = Field(description="Another bundle that answers.", examples=[None])
    shadow: bool = Field(description="Computed and logged only.", examples=[False])


class ExperimentAnswer(Answer):
    """An experiment, and what has become of it."""

    name: str = Field(examples=["fewer-neighbours"])
    description: str = Field(examples=["Do 100 candidates do?"])
    scenario: str = Field(examples=["home"])
    kind: Literal["split", "interleaving"]
    layer: str = Field(description="Experiments of one layer share no user.", examples=["home"])
    share: float = Field(description="Share of the layer that it asks for.", examples=[0.2])
    holdout: float = Field(description="Share of the layer that is kept out.", examples=[0.05])
    arms: list[ArmAnswer]
    guardrails: Guardrails
    created: int = Field(description="Milliseconds since the epoch, UTC.", examples=[1738324800000])
    status: StatusAnswer


class ExperimentsAnswer(Answer):
    """All experiments, oldest first."""

    experiments: list[ExperimentAnswer]


class BoundsAnswer(Answer):
    """An estimate with its 95% interval."""

    value: float | None = Field(description="Null of nothing.", examples=[0.0041])
    low: float | None = Field(
        description="Null where there is too little data for bounds.", examples=[0.0007]
    )
    high: float | None = Field(examples=[0.0075])


class ArmFiguresAnswer(Answer):
    """What an arm did."""

    name: str = Field(examples=["fewer"])
    users: int = Field(description="Distinct users.", examples=[5000])
    anonymous: int = Field(description="Answers to nobody in particular.", examples=[120])
    answers: int = Field(examples=[21000])
    impressions: int = Field(description="Items shown, each time they were.", examples=[210000])
    metrics: dict[str, BoundsAnswer] = Field(
        description="`click_through_rate`, `conversion_rate`, `value_per_user`, with intervals of this look.",
        examples=[{"click_through_rate": {"value": 0.041, "low": 0.037, "high": 0.046}}],
    )
    stopped: str | None = Field(description="Why it was stopped before the others.", examples=[None])


class ComparisonAnswer(Answer):
    """A metric of an arm minus that of the first arm."""

    arm: str = Field(examples=["fewer"])
    metric: str = Field(examples=["click_through_rate"])
    difference: BoundsAnswer = Field(description="With an interval that holds at every look at once.")
    relative: float | None = Field(description="By the first arm's metric.", examples=[0.05])
    p_value: float = Field(description="Of no difference; always valid.", examples=[0.012])
    adjusted: bool = Field(description="By what users did before (CUPED).", examples=[True])
    variance_ratio: float = Field(description="What the adjustment left of the variance.", examples=[0.61])
    detectable: float | None = Field(
        description="Change that would have been found by now in four of five cases.", examples=[0.0052]
    )
    users_needed: int | None = Field(description="To find a change of `expected_change`.", examples=[18000])
    verdict: Literal["better", "worse", "undecided"]


class ArmSizesAnswer(Answer):
    """Test for sample ratio mismatch."""

    arms: list[str] = Field(examples=[["control", "fewer"]])
    users: list[int] = Field(examples=[[5012, 5000]])
    expected: list[float] = Field(examples=[[5006.0, 5006.0]])
    p_value: float = Field(description="Always valid.", examples=[0.9])
    mismatch: bool = Field(description="Rely on no other figure before its cause is known.", examples=[False])


class InterleavedAnswer(Answer):
    """Which of two interleaved arms people prefer."""

    arms: list[str] = Field(examples=[["control", "fewer"]])
    users: int = Field(examples=[400])
    answers: int = Field(examples=[800])
    impressions: int = Field(examples=[8000])
    clicks: list[int] = Field(description="Credited to each arm.", examples=[[210, 260]])
    shared: int = Field(description="Clicks on items that both arms stand for.", examples=[90])
    preference: BoundsAnswer = Field(
        description="The second arm's clicks minus the first's by those of both; holds at every look at once."
    )
    p_value: float = Field(examples=[0.03])
    verdict: Literal["better", "worse", "undecided"] = Field(description="Of the second arm.")


class ExperimentReportAnswer(Answer):
    """What an experiment has shown so far."""

    experiment: str = Field(examples=["fewer-neighbours"])
    kind: Literal["split", "interleaving"]
    state: Literal["created", "running", "stopped"]
    reason: str | None = Field(description="Why it was stopped.", examples=[None])
    started: int = Field(description="Milliseconds since the epoch, UTC.", examples=[1738324800000])
    until: int = Field(description="The end of what was counted.", examples=[1738724800000])
    arms: list[ArmFiguresAnswer] = Field(description="The first one is the control; none of an interleaving.")
    comparisons: list[ComparisonAnswer]
    sample_ratio: ArmSizesAnswer | None
    crossed: int = Field(
        description="Users who saw more than one arm; they count for the first.", examples=[0]
    )
    interleaving: InterleavedAnswer | None
    confidence: float = Field(examples=[0.95])
    expected_change: float = Field(description="Relative change that the tests hope for.", examples=[0.1])


def experiment_answer(experiment: Experiment) -> dict[str, Any]:
    """See :class:`ExperimentAnswer`."""
    return plain_of(experiment)
