"""Reports are the same in a process of their own, which also counts days."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from recserve.data.entities import DAY_MS, now_ms
from recserve.errors import StoreError
from recserve.experiments.report.process import ReportProcess
from recserve.outcomes.reports import plain_report, question_of, report
from recserve.store import open_store
from tests.support.outcomes import config, done, fill, shown


@pytest.fixture
def reports(tmp_path: Path) -> Iterator[ReportProcess]:
    """Reports of a store in a folder."""
    made = ReportProcess(config(), tmp_path)
    yield made
    made.close()


def test_a_report_of_another_process_is_the_same(reports: ReportProcess, tmp_path: Path) -> None:
    at = now_ms() - 5 * DAY_MS
    with open_store(None, tmp_path) as store:
        fill(store, [shown("r", at=at), shown("s", at=at + DAY_MS)], [done("u", "a", at + 9)])
        question = question_of(config(), "day", None, None)
        found = json.loads(reports.outcomes(question))
        assert found["total"]["clicks"] == 1
        expected = plain_report(report(store, config(), question))
        assert found | {"freshness": None} == expected | {"freshness": None}
        store.begin_counting(0, [at // DAY_MS])
        assert reports.count_days() == 1
        assert len(store.daily_days()) == 2


def test_a_store_that_cannot_be_read_is_said(reports: ReportProcess, tmp_path: Path) -> None:
    (tmp_path / "recserve.db").write_bytes(b"this is no database" * 100)
    with pytest.raises(StoreError, match="not a database"):
        reports.outcomes(question_of(config(), None, None, None))
