"""What an open loop's answers mean, and what a server's log says of its start."""

from __future__ import annotations

import math
from datetime import datetime
from pathlib import Path

from benchmarks.overload import Overload, peaks_of
from benchmarks.serving_load import Outcome, Plan
from benchmarks.startup import phases_of


def test_goodput_counts_good_answers_only() -> None:
    answers = [(200, 50.0)] * 6 + [(503, 1.0)] * 2 + [(429, 3.0), (500, 9.0), (0, 30_000.0)]
    outcome = Outcome(seconds=2.0, answers=answers, cpu={"load": 1.0})
    found = Overload.of(4.0, Plan(1, "/v1/recommend", 10, 1.0, rate=11.0), outcome)
    assert found.goodput == 3.0
    assert found.offered == 11.0
    assert found.refused == 3 / 11
    # An error and a broken connection are neither.
    assert found.lost == 2
    assert (found.refusal_p50, found.refusal_max) == (1.0, 3.0)
    assert found.p99 == 50.0
    assert found.cpu == {"load": 0.5}


def test_without_refusals_there_is_nothing_to_time() -> None:
    found = Overload.of(1.0, Plan(1, "/", 1, 1.0), Outcome(seconds=1.0, answers=[(200, 1.0)]))
    assert found.lost == found.refused == 0
    assert math.isnan(found.refusal_max)


def test_the_peak_is_that_of_the_best_connections_around_a_measurement() -> None:
    # 128 are best once, by luck; 64 are best mostly.
    loops = [{64: 10.0, 128: 9.0, 256: 1.0}, {64: 8.0, 128: 20.0, 256: 1.0}, {64: 12.0, 128: 6.0, 256: 1.0}]
    assert peaks_of(loops) == [9.0, 10.0]


def test_the_phases_of_a_start_are_read_from_the_log(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "server.log").write_text(
        "2026-01-02 10:00:01,500 INFO recserve.supervisor: starting starting Ray\n"
        "2026-01-02 10:00:04,000 INFO recserve.supervisor: deploying starting Serve\n"
        'INFO 2026-01-02 10:00:05,114 serve 1 -- Started Serve in namespace "serve".\n'
        "2026-01-02 10:00:06,000 INFO recserve.supervisor: deploying starting Ranking, Ingress\n"
        "2026-01-02 10:00:08,000 INFO recserve.supervisor: deploying waiting for the API (no answer)\n"
        "2026-01-02 10:00:08,500 INFO recserve.supervisor: deploying waiting for the API (refused)\n"
        "2026-01-02 10:00:09,000 INFO recserve.supervisor: ready \n"
    )
    began = datetime(2026, 1, 2, 10, 0, 0).timestamp()
    assert phases_of(tmp_path, began) == {
        "starting starting Ray": 1.5,
        "deploying starting Serve": 4.0,
        "deploying starting": 6.0,
        "deploying waiting for the API": 8.0,
        "ready": 9.0,
    }
