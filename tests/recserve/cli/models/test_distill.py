"""`recserve distill`: a checkpoint that the configuration accepts, from a bundle's own encoder and texts."""

from __future__ import annotations

from pathlib import Path

import pytest
from recserve_bert.parameters import BertParams
from recserve_bert.sources import locate
from typer.testing import CliRunner

from recserve.cli import app
from recserve.errors import BundleError, ConfigError


def distill(home: Path, folder: Path, *options: str) -> str:
    arguments = ["distill", "--home", str(home), "--out", str(folder), "--epochs", "1", *options]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_a_smaller_encoder_is_written_and_what_to_do_with_it_is_said(
    trained_home: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "small"
    said = distill(trained_home, folder, "--layers", "1")
    assert "layers: [0]" in said
    assert f"set encoder.model to {folder} and train again" in said.replace("\n", "")
    found = locate(BertParams(model=str(folder)))
    teacher = locate(BertParams())
    assert (found.dimension, found.pooling, found.max_length) == (384, teacher.pooling, teacher.max_length)
    with pytest.raises(ConfigError, match="there is something already"):
        distill(trained_home, folder)


def test_what_cannot_be_distilled_is_named(trained_home: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"layers = 6: the model has 6; name from 1 to 5"):
        distill(trained_home, tmp_path / "small", "--layers", "6")
    (tmp_path / "empty").mkdir()
    with pytest.raises(BundleError):
        distill(tmp_path / "empty", tmp_path / "other")
    plain = tmp_path / "plain.yaml"
    plain.write_text("encoder: null\nscenarios: {plain: {retrievers: [{use: popular}]}}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="has no text encoder to distill"):
        distill(trained_home, tmp_path / "third", "--config", str(plain))
