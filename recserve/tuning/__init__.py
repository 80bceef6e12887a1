"""Tuning: search parameters of a component or a pipeline with Ray Tune, scored on validation data only."""

from recserve.tuning.cluster import Needs, Place
from recserve.tuning.log import StudyFolder, TrialRecord, TrialState
from recserve.tuning.study import BEST, REPORT, Comparison, Result, Study
from recserve.tuning.targets import PIPELINE, Target, choose_target

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
