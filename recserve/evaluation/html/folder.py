"""Writes the report's folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recserve.evaluation.findings import Findings
from recserve.evaluation.report import Report

HTML = "report.html"
JSON = "report.json"
PER_USER = "per_user.parquet"


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
