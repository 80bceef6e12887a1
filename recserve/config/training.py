"""Training, tuning and promotion."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from recserve.config.strict import Strict


class TrainConfig(Strict):
    """Windows and seed of a training run; windows are fractions of the events in time order."""

    seed: int = Field(0, ge=0, lt=2**32)
    next_window: float = Field(
        0.1, gt=0, lt=0.5, description="Share of the training events the ranker learns to blend on."
    )
    test_window: float = Field(
        0.1, gt=0, lt=0.5, description="Share of the newest events that the model is evaluated on."
    )
    ranking_examples: int = Field(
        4000, ge=10, description="At most this many queries teach the ranker to blend."
    )
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: int = Field(0, ge=0, description="CPU threads; 0 takes as many as the process may use.")


class TuneConfig(Strict):
    """How ``recserve tune`` searches; the command's options come before."""

    trials: int = Field(20, ge=1, le=10_000, description="Trials, the first of which is the configuration.")
    max_concurrent: int | None = Field(
        None, ge=1, description="Trials at a time; default: as many as their resources allow."
    )
    cpus: float = Field(1.0, gt=0, description="CPUs of a trial.")
    gpus: float = Field(0.0, ge=0, description="GPUs of a trial; 0.5 lets two trials share one.")
    validation_window: float = Field(
        0.1,
        gt=0,
        lt=0.5,
        description="Share of the newest events before the test window that trials are scored on.",
    )
    queries_per_user: int = Field(50, ge=1, description="At most this many validation queries of a user.")
    grace: int = Field(
        3, ge=1, description="Validations of its own that a fit may do before it can be stopped early."
    )
    reduction: float = Field(
        3.0, gt=1, description="At each halving the best 1/reduction of the trials go on."
    )


class PromotionConfig(Strict):
    """The gate of ``recserve promote``."""

    margin: float = Field(
        0.005,
        ge=0,
        le=1,
        description="A bundle whose nDCG@10 is lower than the current one's by more than this is refused.",
    )


class RetrainConfig(Strict):
    """When ``recserve retrain`` trains, and what it keeps."""

    min_events: int = Field(1000, ge=1, description="Fewer new events than this are no reason to train.")
    keep: int = Field(
        5,
        ge=1,
        description="Newest bundles that stay; the current one and the one before it always do.",
    )
    every_hours: float | None = Field(
        None,
        gt=0,
        description="A server of this machine retrains in the background this often; null leaves it to cron "
        "or a job of the cluster.",
    )
    at_start: bool = Field(
        False,
        description="A server of this machine also retrains in the background once it is ready, if there is "
        "a reason to.",
    )
