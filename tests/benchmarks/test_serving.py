"""Which generator drives what, and what the table of the serving benchmark compares."""

from __future__ import annotations

import pytest
from rich.console import Console

from benchmarks.serving import LIMIT, PYTHON, WRK, Run, Target, driven, show
from benchmarks.serving_load import Summary

TARGETS = [
    Target(LIMIT, 1, "/v1/health/live"),
    Target("repeat", 1),
    Target("fresh", 1, fresh=True),
    Target("plain, fresh", 2, fresh=True, most=1),
]


def measured(target: Target, connections: int, rate: float, p50: float = 1.0) -> Run:
    found = Summary(
        rate, p50, 2 * p50, 3.5 * p50, 9.0, failed=0, degraded=0, cpu={"load": 0.017, "idle": 0.001}
    )
    return Run(target, connections, found)


def table_of(targets: list[Target], runs: list[Run]) -> list[list[str]]:
    """The cells of each row."""
    console = Console(width=130, force_terminal=False, color_system=None)
    with console.capture() as captured:
        show(targets, runs, console)
    lines = captured.get().splitlines()
    assert max(map(len, lines)) <= 130
    return [[cell.strip() for cell in one.split("│")[1:-1]] for one in lines if one.startswith("│")]


def test_what_needs_events_is_driven_by_python() -> None:
    found = driven(TARGETS, WRK)
    assert [(target.name, target.generator) for target in found] == [
        ("no-op", WRK),
        ("no-op, python", PYTHON),
        ("repeat", WRK),
        ("fresh", PYTHON),
        ("plain, fresh", PYTHON),
    ]
    # One generator, one limit.
    assert driven(TARGETS, PYTHON) == TARGETS
    assert [target.name for target in driven(TARGETS[:2], WRK)] == ["no-op", "repeat"]


def test_ratios_are_to_the_limit_of_the_same_generator() -> None:
    targets = driven(TARGETS, WRK)
    rates = {"no-op": 5000.0, "no-op, python": 2000.0, "repeat": 1000.0, "fresh": 1000.0, "plain, fresh": 100}
    runs = [
        measured(target, connections, rates[target.name], 0.25 if target.limit else 2.0)
        for connections in (1, 64)
        for target in reversed(targets)
        if connections <= target.most
    ]
    rows = table_of(targets, runs)
    assert [row[:2] for row in rows] == [
        *(["1", target.name] for target in targets),
        *(["64", target.name] for target in targets[:-1]),
    ]
    of_limit = {(row[0], row[1]): (row[7], row[8]) for row in rows}
    assert of_limit["1", "repeat"] == ("0.20", "8.0")
    assert of_limit["1", "fresh"] == ("0.50", "8.0")
    assert of_limit["1", "plain, fresh"] == ("0.05", "8.0")
    # The ratio of latencies is shown where nobody queues.
    assert of_limit["64", "fresh"] == ("0.50", "")


def test_rows_are_medians_of_the_runs() -> None:
    limit = TARGETS[0]
    runs = [measured(limit, 16, rate, p50) for rate, p50 in ((100.0, 30.0), (300.0, 10.0), (200.0, 12.0))]
    (row,) = table_of([limit], runs)
    assert row[2:7] == ["200 (100-300)", "12.0", "24.0", "42.0", "3.5"]


def test_processes_without_a_share_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    show(TARGETS[:1], [measured(TARGETS[0], 1, 10.0)], Console(width=130))
    printed = capsys.readouterr().out
    assert "1 no-op: load 0.02\n" in printed
    assert "idle" not in printed


def test_a_run_is_written_flat() -> None:
    written = measured(driven(TARGETS, WRK)[0], 4, 10.0).flat()
    assert (written["target"], written["generator"], written["connections"]) == ("no-op", WRK, 4)
    assert written["rate"] == 10.0
