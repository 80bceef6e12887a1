"""Evaluation: full ranking on honest splits, with intervals.

``evaluate(model, split)`` measures any :class:`Recommender` on a :class:`Split` made by
:func:`temporal`, :func:`leave_one_out` or :func:`given`.
"""

from recserve.evaluation.bootstrap import Interval, mean_intervals, paired_difference
from recserve.evaluation.checks.feature_leaks import check_feature_leaks
from recserve.evaluation.checks.leaks import (
    LeakCheck,
    LeakError,
    check_attributes,
    check_leaks,
    check_vocabulary,
)
from recserve.evaluation.checks.shuffled_labels import check_shuffled, shuffled
from recserve.evaluation.comparison import (
    Difference,
    differences,
    over_best_part,
    stage_summary,
    trade_off_view,
    trade_offs,
)
from recserve.evaluation.html import Findings, write_report
from recserve.evaluation.metrics.by_stage import StagedRecommender, StageFigure, Stages
from recserve.evaluation.metrics.calibration import choose_attribute
from recserve.evaluation.metrics.cost import Cost, stored_bytes
from recserve.evaluation.metrics.pareto import ParetoRow, ParetoTable
from recserve.evaluation.metrics.slices import SliceFigures
from recserve.evaluation.report import Report, comparison_table
from recserve.evaluation.runner import DEFAULT_KS, Recommender, RetrieverRecommender, evaluate
from recserve.evaluation.splits import Split, given, leave_one_out, temporal

__all__ = [
    "DEFAULT_KS",
    "Cost",
    "Difference",
    "Findings",
    "Interval",
    "LeakCheck",
    "LeakError",
    "ParetoRow",
    "ParetoTable",
    "Recommender",
    "Report",
    "RetrieverRecommender",
    "SliceFigures",
    "Split",
    "StageFigure",
    "StagedRecommender",
    "Stages",
    "check_attributes",
    "check_feature_leaks",
    "check_leaks",
    "check_shuffled",
    "check_vocabulary",
    "choose_attribute",
    "comparison_table",
    "differences",
    "evaluate",
    "given",
    "leave_one_out",
    "mean_intervals",
    "over_best_part",
    "paired_difference",
    "shuffled",
    "stage_summary",
    "stored_bytes",
    "temporal",
    "trade_off_view",
    "trade_offs",
    "write_report",
]
