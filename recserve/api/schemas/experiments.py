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
    description: str
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


def experiment_answer(experiment: Experiment) -> dict[str, Any]:
    """See :class:`ExperimentAnswer`."""
    return plain_of(experiment)
