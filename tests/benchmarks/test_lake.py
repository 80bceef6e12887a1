"""The benchmark of a lake does all steps of a training run, and measures each."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.lake import DAYS, MODELS, measure, power_law, write_lake


def test_every_step_is_measured(tmp_path: Path) -> None:
    write_lake(tmp_path, 4_000)
    assert len(list((tmp_path / "events").iterdir())) == DAYS
    found = measure(tmp_path, dimension=8, asked=50)
    assert (found["events"], found["asked"]) == (4_000, 50)
    assert set(found["ndcg@10"]) == set(MODELS)
    steps = ["lake to columns", "coverage", "data set", "split", "bundle"]
    assert set(found["steps"]) == {
        *steps, *(f"{what} {name}" for what in ("fit", "evaluate") for name in MODELS)
    }  # fmt: skip
    assert all(0 < step["anonymous_mb"] <= step["peak_mb"] for step in found["steps"].values())
    assert len(list((tmp_path / "bundles").iterdir())) == 1


def test_rows_are_popular_by_a_power_law() -> None:
    rows = power_law(np.random.default_rng(0), 100, 20_000)
    assert (rows.min(), rows.max()) == (0, 99)
    assert (rows < 25).mean() > 0.45
