"""``recserve new plugin`` writes a distribution that passes its own tests and is found once installed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from recserve.cli import app
from recserve.errors import ConfigError


def new(*arguments: str | Path) -> str:
    result = CliRunner().invoke(app, ["new", "plugin", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.slow
def test_a_new_plugin_passes_its_own_tests_at_once(tmp_path: Path) -> None:
    folder, site = tmp_path / "plugin", tmp_path / "site"
    assert f"wrote {folder}" in new("same_brand", "--directory", folder).replace("\n", "")
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        "--no-build-isolation",
    ]
    subprocess.run([*pip, "--target", str(site), str(folder)], check=True, capture_output=True)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH")])),
    }
    tests = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder / "tests")]
    done = subprocess.run(tests, capture_output=True, text=True, cwd=folder, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout
    listed = subprocess.run(
        [sys.executable, "-m", "recserve", "plugins"],
        capture_output=True,
        text=True,
        check=True,
        env={**environment, "COLUMNS": "200"},
    )
    assert "recserve-same-brand 0.1.0" in listed.stdout


@pytest.mark.parametrize("name", ["Same", "same-brand", "class", "", "2nd", "a b"])
def test_a_name_that_python_cannot_import_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="must consist of"):
        new(name, "--directory", tmp_path / "plugin")
    assert not (tmp_path / "plugin").exists()


def test_what_is_there_is_left_alone(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="exists already"):
        new("same_brand", "--directory", tmp_path)
