"""Report of an experiment: what each arm did, what may be concluded, and whether the comparison is sound."""

from recserve.experiments.report.figures import (
    EXPECTED_CHANGE,
    ArmFigures,
    ArmSizes,
    Comparison,
    ExperimentReport,
    Interleaved,
)
from recserve.experiments.report.report import check_started, experiment_report, read_report

__all__ = [
    "EXPECTED_CHANGE",
    "ArmFigures",
    "ArmSizes",
    "Comparison",
    "ExperimentReport",
    "Interleaved",
    "check_started",
    "experiment_report",
    "read_report",
]
