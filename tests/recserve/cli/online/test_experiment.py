"""``recserve experiment`` as a person types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from recserve.cli import app
from recserve.errors import RecserveError
from recserve.store import open_store

TRIAL = """
name: fewer
scenario: home
share: 0.2
arms:
  - name: control
  - name: fewer
    parameters: {budget: 100, retrievers: {mf: {weight: 0.5}}}
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with the default configuration, and a definition."""
    folder = tmp_path / "home"
    folder.mkdir()
    (tmp_path / "trial.yaml").write_text(TRIAL)
    return folder


def recserve(home: Path, *arguments: str) -> str:
    result = CliRunner().invoke(app, ["experiment", *arguments, "--home", str(home)])
    if result.exception is not None:
        raise result.exception
    return result.stdout


def test_an_experiment_from_its_creation_to_its_end(home: Path) -> None:
    file = str(home.parent / "trial.yaml")
    assert "start it with: recserve experiment start fewer" in recserve(home, "create", file)
    assert recserve(home, "start", "fewer") == "experiment fewer runs over 20.00% of layer home\n"
    assert "50.00%" in recserve(home, "start", "fewer", "--share", "0.5")
    shown = json.loads(recserve(home, "show", "fewer"))
    assert (shown["status"]["state"], shown["status"]["share"]) == ("running", 0.5)
    (line,) = [line for line in recserve(home, "list").splitlines() if "fewer" in line]
    assert "running" in line
    assert recserve(home, "stop", "fewer", "--reason", "enough") == "experiment fewer is stopped\n"
    assert "stopped" in recserve(home, "list")
    with open_store(None, home) as store:
        entries = store.audit(9)
    assert [entry.action for entry in entries] == [
        f"experiment.{what}" for what in ("stop", "start", "start", "create")
    ]
    assert all(entry.actor.startswith("cli:") for entry in entries)


def test_one_command_creates_and_starts(home: Path) -> None:
    assert "runs over 20.00%" in recserve(home, "create", str(home.parent / "trial.yaml"), "--start")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("scenario: home", "scenario: hom"), "unknown scenario 'hom'; did you mean 'home'?"),
        (("mf:", "fm:"), "unknown retriever of scenario 'home' 'fm'"),
        (("budget: 100", "rules: {mmrr: {}}"), "unknown reranker 'mmrr'"),
        (("share: 0.2", "share: [0.2"), "is not valid YAML"),
        (("- name: fewer", "- name: control"), "arm 'control' is listed twice"),
    ],
)
def test_mistakes_in_a_definition_are_one_line(home: Path, change: tuple[str, str], said: str) -> None:
    file = home.parent / "trial.yaml"
    file.write_text(TRIAL.replace(*change))
    with pytest.raises(RecserveError) as refusal:
        recserve(home, "create", str(file))
    assert said in refusal.value.message
    assert "\n" not in refusal.value.message


@pytest.mark.parametrize(
    "arguments", [("start", "gone"), ("stop", "gone"), ("show", "gone"), ("create", "gone.yaml")]
)
def test_what_is_not_there_is_said(home: Path, arguments: tuple[str, ...]) -> None:
    with pytest.raises(RecserveError, match="gone"):
        recserve(home, *arguments)
