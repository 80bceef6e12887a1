"""The scale benchmark: made-up people look like people, and replicas answer what they are asked."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from recserve_mf.parameters import MfParams

from benchmarks.scale import main, some_data, some_likes, trained_in


def test_likes_are_distinct_reproducible_and_follow_a_power_law() -> None:
    users, items = some_likes(3000, 2000, seed=1)
    again = some_likes(3000, 2000, seed=1)
    np.testing.assert_array_equal(users, again[0])
    np.testing.assert_array_equal(items, again[1])
    assert len(np.unique(users * 3000 + items)) == len(users)
    assert items.min() >= 0
    assert items.max() < 3000
    by_item = np.sort(np.bincount(items, minlength=3000))[::-1]
    # A tenth of the items gets at least a third of the events, and most get some.
    assert by_item[:300].sum() > by_item.sum() / 3
    assert (by_item > 0).mean() > 0.7


def test_the_data_are_fit_to_learn_from() -> None:
    data = some_data(500, 300)
    assert (data.n_items, data.n_users) == (500, 300)
    assert (np.diff(data.timestamps) > 0).all()
    assert data.histories.lengths.max() <= 500


@pytest.mark.slow
@pytest.mark.long
def test_small_sizes_run_through(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures = tmp_path / "figures.json"
    arguments = [
        "--items",
        "300",
        "3000",
        "--dimension",
        "8",
        "--iterations",
        "2",
        "-k",
        "50",
        "--repeats",
        "2",
    ]
    arguments += ["--rounds", "1", "--replicas", "2", "--approximate-above", "1000"]
    arguments += ["--people", "4", "--requests", "8"]
    main([*arguments, "--keep", str(tmp_path / "homes"), "--json", str(figures)])
    found = json.loads(figures.read_text("utf-8"))
    small, large = found["trained"]
    assert small["index"] is None
    assert large["index"]["product"]["recall"] > 0.9
    assert found["timed"]["300"][0]["recall"] == 1.0
    assert found["timed"]["3000"][0]["recall"] >= 0.97
    assert all(value > 0 for one in found["timed"]["3000"] for value in one["ms"].values())
    for one in found["memory"].values():
        assert not one["torch"]
        # What two replicas map counts once.
        assert one["mapped_node_mb"] < 1.5 * one["mapped_mb"]
        assert one["private_mb"] <= one["beside_mb"] + one["mapped_mb"]
    for served in found["served"]:
        assert min(served["beside_mb"].values()) > 50
        assert 0 <= served["change_s"] < 60
    printed = capsys.readouterr().out
    assert "3,000" in printed
    assert "times the smallest" in printed
    # What is kept is taken the next time.
    home = tmp_path / "homes" / "3000-8"
    assert trained_in(home, 3000, MfParams()).index == large["index"]
