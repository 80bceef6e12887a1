"""Evaluation: full ranking on honest splits, with intervals.

``evaluate(model, split)`` measures any :class:`Recommender` on a :class:`Split` made by
:func:`temporal`, :func:`leave_one_out` or :func:`given`.
"""

from recserve.evaluation.bootstrap import Interval, mean_intervals, paired_difference
from recserve.evaluation.leaks import LeakError, check_leaks
from recserve.evaluation.report import Report, comparison_table
from recserve.evaluation.runner import DEFAULT_KS, Recommender, RetrieverRecommender, evaluate
from recserve.evaluation.splits import Split, given, leave_one_out, temporal

__all__ = [
    "DEFAULT_KS",
    "Interval",
    "LeakError",
    "Recommender",
    "Report",
    "RetrieverRecommender",
    "Split",
    "check_leaks",
    "comparison_table",
    "evaluate",
    "given",
    "leave_one_out",
    "mean_intervals",
    "paired_difference",
    "temporal",
]
