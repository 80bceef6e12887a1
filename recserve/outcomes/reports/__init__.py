"""Reports of outcomes: a question, and the figures that answer it."""

from __future__ import annotations

from recserve.outcomes.reports.figures import Figures
from recserve.outcomes.reports.plain import plain_report
from recserve.outcomes.reports.question import BREAKDOWNS, SHOWN_ROWS, Question, date_of, question_of
from recserve.outcomes.reports.report import Freshness, Report, report

__all__ = [
    "BREAKDOWNS",
    "SHOWN_ROWS",
    "Figures",
    "Freshness",
    "Question",
    "Report",
    "date_of",
    "plain_report",
    "question_of",
    "report",
]
