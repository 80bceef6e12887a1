"""Writes the report's folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recserve.evaluation.comparison import Difference, differences, over_best_part
from recserve.evaluation.leaks import LeakCheck
from recserve.evaluation.report import Report

HTML = "report.html"
JSON = "report.json"
PER_USER = "per_user.parquet"


@dataclass(frozen=True)
class Findings:
    """Everything that one evaluation found.

    Attributes:
        reports: Of every model, all of one split, at least one.
        checks: Leak checks of the split.
        command: What was typed, to be shown; None leaves it out.
    """

    reports: Sequence[Report]
    checks: Sequence[LeakCheck] = ()
    command: str | None = None

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
        return [one for part in parts for one in differences(self.reports, self.metric, part)]

    @cached_property
    def over_best_part(self) -> Difference | None:
        """The pipeline over its best part in the headline metric."""
        return over_best_part(self.reports, self.metric)

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
            "leak_checks": [asdict(one) for one in self.all_checks],
            "pipeline_over_best_part": None if best is None else best.to_json(),
            "differences": [one.to_json() for one in self.differences],
            "slice_differences": [one.to_json() for one in self.slice_differences],
            "models": [report.to_json() for report in self.reports],
        }


def write_report(folder: Path, findings: Findings) -> None:
    """Write ``report.html``, ``report.json`` and ``per_user.parquet`` into a folder, which is made.

    ``per_user.parquet`` holds a row for each model and user (numbered as in the split, without ids) and a
    column for each metric, and for each metric of each slice, so that others can test what they want.
    """
    from recserve.evaluation.html.page import page

    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(findings.to_json(), indent=1, allow_nan=False, ensure_ascii=False)
    (folder / JSON).write_text(text + "\n", encoding="utf-8")
    (folder / HTML).write_text(page(findings), encoding="utf-8")
    pq.write_table(per_user_table(findings.reports), folder / PER_USER)


def per_user_table(reports: Sequence[Report]) -> pa.Table:
    """Values of each model and user; null where a user has none."""
    return pa.concat_tables([_rows_of(report) for report in reports], promote_options="default")


def _rows_of(report: Report) -> pa.Table:
    columns: dict[str, pa.Array] = {
        "model": pa.array([report.model] * report.users).dictionary_encode(),
        "user": pa.array(np.arange(report.users, dtype=np.int32)),
    }
    values = dict(report.per_user)
    for part in report.slices:
        values.update({f"{name} | {part.name}": column for name, column in part.per_user.items()})
    for name, column in values.items():
        columns[name] = pa.array(column.astype(np.float32), mask=np.isnan(column))
    return pa.table(columns)
