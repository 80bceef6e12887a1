"""Tuning: search parameters of a component or a pipeline with Ray Tune, scored on validation data only."""

from recserve.training.tuning.cluster import Needs, Place
from recserve.training.tuning.log import StudyFolder, TrialRecord, TrialState
from recserve.training.tuning.results import Comparison, Result
from recserve.training.tuning.study import BEST, REPORT, Study
from recserve.training.tuning.targets import PIPELINE, Target, choose_target

__all__ = [
    "BEST",
    "PIPELINE",
    "REPORT",
    "Comparison",
    "Needs",
    "Place",
    "Result",
    "Study",
    "StudyFolder",
    "Target",
    "TrialRecord",
    "TrialState",
    "choose_target",
]
