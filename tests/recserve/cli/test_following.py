"""What ``recserve serve --retrain`` and ``recserve status`` show of the training beside a server."""

from __future__ import annotations

from pathlib import Path

import pytest

from recserve.cli import serve
from recserve.cli.serve import follow_retraining, report_retraining
from recserve.training.retraining.status import RetrainingStatus, RunState, ended, write_status


@pytest.fixture
def begun() -> RetrainingStatus:
    """A run that begins with the test: one that says nothing for a minute counts as gone."""
    return RetrainingStatus.begun(1)


def test_a_run_is_followed_until_it_has_ended(
    begun: RetrainingStatus,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(serve, "_LOOK_SECONDS", 0.0)
    write_status(tmp_path, ended(begun, "promoted", "of the server before").model_copy(update={"started": 1}))
    running = begun.model_copy(update={"step": "Fitting mf", "done": 1, "total": 3})
    told = iter([lambda: None, lambda: write_status(tmp_path, running)])
    done = ended(running, "promoted", "it is better")

    def alive() -> object:
        next(told, lambda: write_status(tmp_path, done))()
        return self

    self = object()
    assert follow_retraining(tmp_path, begun.started, alive) == done
    assert "In the background: Fitting mf" in capsys.readouterr().err


def test_with_the_server_its_run_is_gone(begun: RetrainingStatus, tmp_path: Path) -> None:
    write_status(tmp_path, begun)
    assert follow_retraining(tmp_path, begun.started, lambda: None) is None


def test_a_run_that_does_not_begin_is_not_waited_for(
    begun: RetrainingStatus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve, "_BEGIN_SECONDS", -1.0)
    found = follow_retraining(tmp_path, begun.started, object)
    assert found is not None
    assert found.state == "failed"
    assert found.detail.startswith("it has not begun; see ")


@pytest.mark.parametrize(
    ("state", "line"),
    [
        ("promoted", "bundle b2 is being swapped in: why"),
        ("nothing to do", "retraining: nothing to do: why"),
        ("stopped", "retraining: stopped: why"),
        ("failed", "retraining failed, the server goes on with the bundle it has: why"),
        ("refused", "retraining was refused by the gate, the server goes on with the bundle it has: why"),
    ],
)
def test_how_it_ended_is_one_line(
    begun: RetrainingStatus, state: RunState, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    report_retraining(ended(begun, state, "why").model_copy(update={"bundle_id": "b2"}))
    said = capsys.readouterr()
    assert (said.out + said.err).strip() == line
