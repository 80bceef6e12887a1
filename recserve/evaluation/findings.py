"""Findings: reports, leak checks and differences of one evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from recserve.evaluation.checks.leaks import LeakCheck
from recserve.evaluation.comparison import Difference, differences, over_best_part, trade_offs
from recserve.evaluation.metrics.pareto import ParetoTable
from recserve.evaluation.report import Report


@dataclass(frozen=True)
class Findings:
    """Everything that one evaluation found.

    Attributes:
        reports: Of every model, all of one split, at least one.
        checks: Leak checks of the split.
        command: What was typed, to be shown; None leaves it out.
        choices: Trade-offs between what training chose from, by scenario.
    """

    reports: Sequence[Report]
    checks: Sequence[LeakCheck] = ()
    command: str | None = None
    choices: Mapping[str, ParetoTable] = field(default_factory=dict)

    @property
    def metric(self) -> str:
        """The headline metric: nDCG at the first cut-off."""
        return f"ndcg@{self.reports[0].ks[0]}"

    @cached_property
    def differences(self) -> list[Difference]:
        """All pairs of models in the headline metric."""
        return differences(self.reports, self.metric)

    @cached_property
    def slice_differences(self) -> list[Difference]:
        """All pairs of models in the headline metric on each slice."""
        parts = [part.name for part in self.reports[0].slices]
        return [difference for part in parts for difference in differences(self.reports, self.metric, part)]

    @cached_property
    def over_best_part(self) -> Difference | None:
        """The pipeline over its best part in the headline metric."""
        return over_best_part(self.reports, self.metric)

    @cached_property
    def trade_offs(self) -> ParetoTable:
        """Accuracy beside coverage, novelty, popularity lift and cost of all models."""
        return trade_offs(self.reports)

    @property
    def models(self) -> list[dict[str, Any]]:
        """Each model as :meth:`Report.to_json` gives it, with what dominates it."""
        dominated = {row.model: row.dominated_by for row in self.trade_offs.rows}
        return [
            {**report.to_json(), "dominated_by": list(dominated[report.model])} for report in self.reports
        ]

    @property
    def all_checks(self) -> list[LeakCheck]:
        """Of the split and of the models."""
        return [*self.checks, *(check for report in self.reports for check in report.checks)]

    def to_json(self) -> dict[str, Any]:
        """A JSON object; the models as :meth:`Report.to_json` gives them."""
        first, best = self.reports[0], self.over_best_part
        return {
            "split": first.split,
            "note": first.note,
            "users": first.users,
            "queries": first.queries,
            "items": first.items,
            "command": self.command,
            "leak_checks": [asdict(check) for check in self.all_checks],
            "pipeline_over_best_part": None if best is None else best.to_json(),
            "differences": [difference.to_json() for difference in self.differences],
            "slice_differences": [difference.to_json() for difference in self.slice_differences],
            "trade_offs": self.trade_offs.to_json(),
            "choices": {name: table.to_json() for name, table in self.choices.items()},
            "models": self.models,
        }
