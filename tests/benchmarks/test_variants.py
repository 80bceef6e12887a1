"""Variants of a model beside it: how they are written, configured and compared."""

from __future__ import annotations

import argparse
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks import quality, variants
from recserve.config import parse_config


def test_a_variant_is_read_with_values_of_their_types():
    one = variants.parse("plain=bert_lstm:text=false,min_id_count=1,dropout=0.3")
    assert (one.name, one.model) == ("plain", "bert_lstm")
    assert one.params == {"text": False, "min_id_count": 1, "dropout": 0.3}


@pytest.mark.parametrize(
    "text", ["plain", "plain=bert_lstm", "=mf:dimension=8", "a b=mf:x=1", "x=mf:dimension"]
)
def test_a_variant_written_otherwise_is_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match="NAME=MODEL:PARAMETER=VALUE"):
        variants.parse(text)


def test_parameters_go_where_the_scenario_uses_the_component():
    plain = variants.parse("plain=bert_lstm:text=false").configure({})
    home = parse_config(plain, "test").scenarios["home"]
    assert home.ranker is not None
    assert (home.ranker.use, home.ranker.params) == ("bert_lstm", {"text": False})

    trained = variants.parse("head=content:encoder.tune=head,recent=20").configure(
        {"encoder": {"model": "m"}}
    )
    config = parse_config(trained, "test")
    assert config.encoder is not None
    assert (config.encoder.model, config.encoder.params) == ("m", {"tune": "head"})
    assert config.scenarios["home"].retrievers[2].params == {"recent": 20}

    other = variants.parse("flat=ease:l2=9").configure(
        {"scenarios": {"home": {"retrievers": [{"use": "mf"}]}}}
    )
    retrievers = parse_config(other, "test").scenarios["home"].retrievers
    assert [(one.use, one.params) for one in retrievers] == [("mf", {}), ("ease", {"l2": 9})]


def test_names_that_are_taken_are_refused():
    one = variants.parse("mf=bert_lstm:text=false")
    with pytest.raises(SystemExit, match="another row of this name"):
        variants.check([one], ["mf"], ["mf", "bert_lstm"])
    with pytest.raises(SystemExit, match="no model is called 'lstm'"):
        variants.check([variants.parse("x=lstm:text=false")], ["mf"], ["mf", "bert_lstm"])


def test_differences_are_paired_over_the_users_of_a_slice(tmp_path):
    cold = "cold items (< 5 training events)"
    nan = float("nan")

    def measured(
        name: str, everyone: list[float], part: list[float], of: str | None = None
    ) -> quality.Measured:
        folder = tmp_path / name
        folder.mkdir()
        pq.write_table(
            pa.table({"ndcg@10": everyone, f"ndcg@10 | {cold}": part}), folder / "per_user.parquet"
        )
        report = {"slices": [{"slice": cold, "metrics": {}}], "metrics": {}}
        return quality.Measured("d", "temporal", name, report, folder, 1.0, 1.0, of)

    model = measured("m", [0.5, 0.4, 0.3], [0.5, nan, 0.3])
    variant = measured("v", [0.1, 0.1, 0.1], [0.2, nan, 0.0], "m")
    whole = quality.over_variant(model, variant, "ndcg@10", None)
    part = quality.over_variant(model, variant, "ndcg@10", "cold items")
    assert whole is not None
    assert whole.mean == pytest.approx(0.3)
    assert part is not None
    assert part.mean == pytest.approx(0.3)
    assert part.excludes_zero
    assert quality.over_variant(model, variant, "ndcg@10", "warm items") is None


@pytest.mark.slow
def test_a_variant_is_one_more_row(tmp_path, capsys):
    folder = tmp_path / "data" / "pairs"
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    rows = [
        f"u{generator.integers(40)},i{generator.integers(30)},{1_600_000_000 + moment}"
        for moment in range(900)
    ]
    (folder / "events.csv").write_text("user_id,item_id,timestamp\n" + "\n".join(rows) + "\n")
    arguments = ["--sets", str(folder), "--models", "mf", "--splits", "leave-one-out", "--out"]
    wanted = ["--variant", "tiny=mf:dimension=2"]
    assert quality.main([*arguments, str(tmp_path / "out"), *wanted]) == 0
    printed = capsys.readouterr().out
    mf, tiny = json.loads((tmp_path / "out" / "quality.json").read_text())["results"]
    assert (mf["model"], tiny["model"], tiny["variant_of"]) == ("mf", "tiny", "mf")
    assert mf["report"]["metrics"] != tiny["report"]["metrics"]
    assert "| tiny | " in printed
    assert "mf over tiny, nDCG@10: " in printed

    # Other parameters under the same name are measured anew.
    assert quality.main([*arguments, str(tmp_path / "out"), "--variant", "tiny=mf:dimension=3"]) == 0
    again = json.loads((tmp_path / "out" / "quality.json").read_text())["results"][1]
    assert again["report"]["metrics"] != tiny["report"]["metrics"]
