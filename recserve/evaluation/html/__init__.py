"""The report of an evaluation as a folder: one HTML page without a network, JSON, and a value a user."""

from recserve.evaluation.findings import Findings
from recserve.evaluation.html.folder import write_report

__all__ = ["Findings", "write_report"]
