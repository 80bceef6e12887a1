"""What a study found: the best trial, compared with the configuration it started from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from recserve.evaluation import Interval
from recserve.training.tuning.log import StudyRecord, TrialRecord


@dataclass(frozen=True)
class Comparison:
    """A trial beside the configured values, on one window.

    Attributes:
        best: nDCG@10 of the trial's values.
        default: nDCG@10 of the configured values.
        difference: The former minus the latter, with its paired bootstrap interval over users.
        users: Users that it is taken over.
    """

    best: float
    default: float
    difference: Interval
    users: int


@dataclass(frozen=True)
class Result:
    """What a study found.

    Attributes:
        study: What it was about.
        trials: All trials.
        best: The complete trial with the highest score.
        challenger: The best one beside trial 0, which is trial 0 itself if no other is complete.
        validation: The challenger beside trial 0, on the window that it was chosen by: flattering if there
            were many.
        test: The same on the test window, which nothing was chosen by; None if that was not asked for, or
            trial 0 is the best.
    """

    study: StudyRecord
    trials: Sequence[TrialRecord]
    best: TrialRecord
    challenger: TrialRecord
    validation: Comparison
    test: Comparison | None

    @property
    def default_is_best(self) -> bool:
        """Whether no trial beat the configured values."""
        return self.best.number == 0
