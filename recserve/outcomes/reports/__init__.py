"""Reports of outcomes: a question, and the figures that answer it."""

from __future__ import annotations

from recserve.outcomes.reports.figures import Figures
from recserve.outcomes.reports.question import BREAKDOWNS, SHOWN_ROWS, Question, question_of
from recserve.outcomes.reports.report import Freshness, Report, report

__all__ = [
    "BREAKDOWNS",
    "SHOWN_ROWS",
    "Figures",
    "Freshness",
    "Question",
    "Report",
    "question_of",
    "report",
]
