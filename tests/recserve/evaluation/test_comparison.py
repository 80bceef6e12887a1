"""Models against each other, with known answers."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from recserve.evaluation.bootstrap import paired_difference
from recserve.evaluation.comparison import (
    PIPELINE,
    differences,
    over_best_part,
    trade_off_view,
    trade_offs,
)
from recserve.evaluation.metrics.cost import Cost
from recserve.evaluation.report import Report
from tests.support.reports import report_of, slice_of


@given(st.lists(st.floats(0, 1), min_size=6, max_size=6), st.lists(st.floats(0, 1), min_size=6, max_size=6))
@settings(max_examples=25, deadline=None)
def test_a_difference_is_the_paired_one(first: list[float], second: list[float]) -> None:
    (found,) = differences([report_of("a", first), report_of("b", second)], "ndcg@10")
    expected = paired_difference(np.array(first), np.array(second))
    assert (found.first, found.second, found.part) == ("a", "b", None)
    assert found.interval == expected
    assert found.interval.low <= found.interval.mean + 1e-12
    assert found.interval.mean <= found.interval.high + 1e-12
    assert found.to_json()["significant"] == expected.excludes_zero


def test_all_pairs_are_compared_once_the_earlier_first() -> None:
    reports = [report_of(name, [0.1, 0.2, 0.3]) for name in "abc"]
    pairs = [(found.first, found.second) for found in differences(reports, "ndcg@10")]
    assert pairs == [("a", "b"), ("a", "c"), ("b", "c")]
    assert differences(reports[:1], "ndcg@10") == []


def test_only_users_with_a_part_in_a_slice_count() -> None:
    whole = [0.0] * 6
    first = report_of("a", whole, slices=(slice_of("cold", [1.0, 1.0, np.nan, np.nan, np.nan, np.nan]),))
    second = report_of("b", whole, slices=(slice_of("cold", [0.5, 0.0, np.nan, np.nan, np.nan, np.nan]),))
    (found,) = differences([first, second], "ndcg@10", "cold")
    assert found.interval.mean == 0.75
    assert found.to_json()["slice"] == "cold"
    with pytest.raises(KeyError, match="warm"):
        differences([first, second], "ndcg@10", "warm")


@pytest.mark.parametrize("change", [{"split": "other"}, {"queries": 7}])
def test_reports_of_different_splits_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="different splits"):
        differences([report_of("a", [0.1, 0.2]), report_of("b", [0.1, 0.2], **change)], "ndcg@10")


def test_the_pipeline_is_compared_with_the_best_of_the_others() -> None:
    reports = [
        report_of("weak", [0.1, 0.1]),
        report_of("strong", [0.4, 0.2]),
        report_of(PIPELINE, [0.9, 0.5]),
    ]
    found = over_best_part(reports, "ndcg@10")
    assert found is not None
    assert (found.first, found.second) == (PIPELINE, "strong")
    assert found.interval.mean == pytest.approx(0.4)
    assert over_best_part(reports[:2], "ndcg@10") is None
    assert over_best_part(reports[2:], "ndcg@10") is None


def shown(reports: Sequence[Report]) -> list[str]:
    """Lines of the trade-offs as text without colours."""
    file = io.StringIO()
    Console(file=file, width=80, no_color=True).print(trade_off_view(trade_offs(reports), "trade-offs"))
    return [line.strip() for line in file.getvalue().splitlines()]


def test_trade_offs_hold_accuracy_against_what_it_costs() -> None:
    cheap = report_of("cheap", [0.1, 0.2], cost=Cost(0.5, 1e6), fit_seconds=1.0)
    dear = report_of("dear", [0.3, 0.4], cost=Cost(20.0, 3e6), fit_seconds=9.0)
    vain = report_of("vain", [0.1, 0.2], cost=Cost(0.5, 2e6), fit_seconds=1.0)
    table = trade_offs([vain, cheap, dear])
    assert table.front == ["dear", "cheap"]
    lines = shown([vain, cheap, dear])
    start = next(number for number, line in enumerate(lines) if line.startswith("vain"))
    # All accuracy metrics of these reports are equal, coverage among them.
    assert lines[start].split() == ["vain", "0.1500", "0.150", "0.5", "2", "1"]
    assert lines[start + 1] == "dominated by cheap"
    assert [line.split()[1] for line in lines if line.startswith("* ")] == ["dear", "cheap"]
    text = " ".join(lines)
    assert "not measured: novelty@10, bits of any model; popularity lift@10 of any model" in text


def test_a_fit_that_nobody_timed_is_no_fast_one() -> None:
    untimed = report_of("untimed", [0.1], cost=Cost(1.0, 1e6), fit_seconds=0.0)
    timed = report_of("timed", [0.1], cost=Cost(1.0, 1e6), fit_seconds=500.0)
    assert trade_offs([untimed, timed]).front == ["timed"]
