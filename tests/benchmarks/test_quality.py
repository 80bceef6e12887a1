"""The benchmark of models, on a small data set, by the commands that it runs."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import quality


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One data set: users who keep to a third of the items each, the first items more popular."""
    target = tmp_path / "data" / "thirds"
    target.mkdir(parents=True)
    generator = np.random.default_rng(0)
    share = 1.0 / np.arange(1, 21)
    with (target / "events.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("user_id", "item_id", "timestamp"))
        for moment in range(1200):
            user = int(generator.integers(60))
            item = int(generator.choice(20, p=share / share.sum())) * 3 + user % 3
            writer.writerow((f"u{user}", f"i{item}", 1_600_000_000 + moment))
    return tmp_path / "data"


@pytest.mark.slow
def test_models_of_a_folder_side_by_side(folder, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ["--sets", str(folder / "thirds"), "--models", "popular", "mf", "content", "--out", str(out)]
    assert quality.main([*arguments, "--splits", "leave-one-out"]) == 0
    printed = capsys.readouterr()
    assert "thirds, content: left out, no item has a text" in printed.err
    value = json.loads((out / "quality.json").read_text())
    assert value["failed"] == 0
    popular, mf = value["results"]
    assert (popular["model"], mf["model"], mf["split"]) == ("popular", "mf", "leave-one-out")
    assert popular["peak_mb"] > 50
    assert mf["report"]["metrics"]["ndcg@10"]["mean"] > popular["report"]["metrics"]["ndcg@10"]["mean"]
    text = (out / "quality.md").read_text()
    assert text.strip() == printed.out.strip()
    assert "## thirds, leave-one-out" in text
    mean = mf["report"]["metrics"]["ndcg@10"]["mean"]
    assert f"| mf | **{mean:.4f}** (" in text
    assert "leaky" in text

    # What is there is not measured again.
    stamp = (out / "thirds" / "leave-one-out" / "mf" / "report.json").stat().st_mtime_ns
    assert quality.main([*arguments, "--splits", "leave-one-out"]) == 0
    assert (out / "thirds" / "leave-one-out" / "mf" / "report.json").stat().st_mtime_ns == stamp


@pytest.mark.slow
def test_the_pipeline_is_paired_with_the_best_of_its_parts(folder, tmp_path):
    out = tmp_path / "out"
    quality.main(
        ["--sets", str(folder / "thirds"), "--models", "popular", "trending", "--splits", "temporal",
         "--out", str(out)]
    )  # fmt: skip
    found = [
        quality.Measured(
            "thirds",
            "temporal",
            name,
            json.loads((out / "thirds" / "temporal" / kept / "report.json").read_text())["models"][0],
            out / "thirds" / "temporal" / kept,
            1.0,
            100.0,
        )
        for name, kept in (("trending", "popular"), ("pipeline", "trending"))
    ]
    gain = quality.over_best_part(found, "ndcg@10")
    assert gain is not None
    pipeline, other, interval = gain
    assert (pipeline.model, other.model) == ("pipeline", "trending")
    expected = pipeline.figure("ndcg@10")["mean"] - other.figure("ndcg@10")["mean"]
    assert interval.mean == pytest.approx(expected, abs=1e-6)
    assert "pipeline over trending, the best of the others" in quality.markdown(found, {})
    assert quality.over_best_part(found[:1], "ndcg@10") is None


def test_a_model_that_fails_is_said_and_counted(folder, tmp_path, capsys):
    arguments = ["--sets", str(folder / "thirds"), "--models", "populr", "--splits", "temporal"]
    assert quality.main([*arguments, "--out", str(tmp_path / "out")]) == 1
    assert "unknown model 'populr'" in " ".join(capsys.readouterr().err.split())


def test_a_folder_without_data_is_refused(tmp_path):
    with pytest.raises(SystemExit, match="no data set whose format is known"):
        quality.main(["--sets", str(tmp_path), "--out", str(tmp_path / "out")])
