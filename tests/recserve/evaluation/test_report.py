"""Reports as JSON for programs and as tables for people."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from recserve.evaluation.bootstrap import Interval, mean_intervals
from recserve.evaluation.report import Report, as_json, comparison_table
from tests.support.reports import report_of, slice_of


def shown(reports: Sequence[Report]) -> str:
    """The table as text without colours."""
    file = io.StringIO()
    Console(file=file, width=200, no_color=True).print(comparison_table(reports))
    return file.getvalue()


@given(st.lists(st.floats(0, 1) | st.just(math.nan), min_size=1, max_size=9))
@settings(max_examples=30, deadline=None)
def test_json_has_the_figures_and_null_where_there_is_none(ndcg: list[float]) -> None:
    report = report_of("mf", ndcg)
    text = json.dumps(report.to_json(), allow_nan=False)
    figure = json.loads(text)["metrics"]["ndcg@10"]
    interval = report.metrics["ndcg@10"]
    if all(math.isnan(value) for value in ndcg):
        assert figure == {"mean": None, "ci95": None}
    else:
        assert figure == {"mean": interval.mean, "ci95": [interval.low, interval.high]}


def test_no_figure_is_null_throughout() -> None:
    assert as_json(Interval(math.nan, math.nan, math.nan)) == {"mean": None, "ci95": None}


def test_a_part_is_found_by_name() -> None:
    report = report_of("mf", [0.2, 0.4], slices=(slice_of("cold", [math.nan, 0.4]),))
    assert report.part("cold").users == 1
    np.testing.assert_array_equal(report.values("ndcg@10", "cold"), [math.nan, 0.4])
    np.testing.assert_array_equal(report.values("ndcg@10"), [0.2, 0.4])
    for missing in (lambda: report.part("warm"), lambda: report.values("speed@10")):
        with pytest.raises(KeyError):
            missing()


def test_the_table_marks_what_is_not_significantly_below_the_best() -> None:
    """The best model, its near twin, and a model that is plainly worse."""
    best = np.linspace(0.5, 0.9, 40)
    twin = best - np.where(np.arange(40) % 2, 0.05, -0.049)
    lines = shown([report_of("a", best), report_of("b", twin), report_of("c", best / 10)]).splitlines()
    (row,) = [line.strip() for line in lines if line.strip().startswith("nDCG@10")]
    assert row.split() == ["nDCG@10", ".7000", "=", ".6995", ".0700"]


def test_models_are_compared_with_the_baseline_where_there_is_one() -> None:
    mf, popular = report_of("mf", [0.4, 0.6]), report_of("popular", [0.1, 0.1])
    text = shown([popular, mf])
    assert "nDCG@10 over popular" in text
    assert ".4000" in text
    assert "over popular" not in shown([mf, report_of("content", [0.1, 0.1])])
    assert "over popular" not in shown([popular])


def test_many_models_become_rows() -> None:
    reports = [report_of(name, [0.1, 0.2]) for name in ("popular", "mf", "ease", "content", "bert_lstm")]
    lines = [line.strip() for line in shown(reports).splitlines()]
    for report in reports:
        assert any(line.startswith(report.model) for line in lines)
    assert any("every metric is in --json" in line for line in lines)


def test_a_reservation_is_said_once() -> None:
    note = "times are ties"
    assert shown([report_of("a", [0.1], note=note), report_of("b", [0.1], note=note)]).count(note) == 1


def test_differences_need_the_same_queries() -> None:
    with pytest.raises(ValueError, match="different splits"):
        report_of("a", [0.1, 0.2]).difference(report_of("b", [0.1]), "ndcg@10")
    (same,) = mean_intervals(np.zeros((2, 1)))
    report = report_of("a", [0.1, 0.2])
    assert report.difference(report, "ndcg@10") == same
