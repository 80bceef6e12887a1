"""The report of an evaluation as a folder: one HTML page without a network, JSON, and a value a user."""

from recserve.evaluation.html.folder import Findings, write_report

__all__ = ["Findings", "write_report"]
