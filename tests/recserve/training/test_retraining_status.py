"""Status of a retraining run: what others read while it goes on, and after it ended, however it ended."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from recserve.data.entities import now_ms
from recserve.errors import DataError
from recserve.training.retraining import status as module
from recserve.training.retraining.status import (
    RetrainingStatus,
    StatusReporter,
    end_silent_run,
    read_status,
    write_status,
)


def reporter(home: Path, said: list[str] | None = None) -> StatusReporter:
    heard: list[str] = [] if said is None else said
    return StatusReporter(home, lambda description, done, total: heard.append(description))


def found(home: Path) -> RetrainingStatus:
    status = read_status(home)
    assert status is not None
    return status


def test_a_run_tells_each_step_and_how_it_ended(tmp_path: Path) -> None:
    said: list[str] = []
    run = reporter(tmp_path, said)
    assert read_status(tmp_path) is None
    with run.reporting():
        assert (found(tmp_path).state, found(tmp_path).step) == ("running", "starting")
        run.step("Fitting mf", 0, 3)
        run.step("Fitting mf", 1, 3)
        now = found(tmp_path)
        assert (now.step, now.done, now.total, now.process) == ("Fitting mf", 0, 3, os.getpid())
        run.end("promoted", "it is better", "new", "old")
    done = found(tmp_path)
    assert (done.state, done.detail, done.bundle_id, done.before) == (
        "promoted",
        "it is better",
        "new",
        "old",
    )
    assert (done.step, done.done) == ("Fitting mf", 1)
    assert said == ["Fitting mf", "Fitting mf"]
    assert [file.name for file in tmp_path.iterdir()] == ["retraining.json"]


def test_a_run_says_that_it_is_alive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RENEWED_SECONDS", 0.01)
    with reporter(tmp_path).reporting():
        first = found(tmp_path).updated
        deadline = now_ms() + 10_000
        while found(tmp_path).updated == first:
            assert now_ms() < deadline


@pytest.mark.parametrize(
    ("error", "state", "detail"),
    [
        (DataError("no event to learn from"), "failed", "no event to learn from"),
        (RuntimeError("postgresql://shop:hush@db"), "failed", "RuntimeError; see the log of the run"),
        (KeyboardInterrupt(), "stopped", "it was stopped"),
    ],
)
def test_a_run_that_fails_says_so(tmp_path: Path, error: BaseException, state: str, detail: str) -> None:
    with pytest.raises(type(error)), reporter(tmp_path).reporting():
        raise error
    assert (found(tmp_path).state, found(tmp_path).detail) == (state, detail)


def test_one_that_can_no_longer_speak_is_spoken_for(tmp_path: Path) -> None:
    write_status(tmp_path, RetrainingStatus.begun(11))
    end_silent_run(tmp_path, 12, "failed", "of another process")
    assert found(tmp_path).state == "running"
    end_silent_run(tmp_path, 11, "failed", "it ended with exit status 9")
    assert (found(tmp_path).state, found(tmp_path).detail) == ("failed", "it ended with exit status 9")
    end_silent_run(tmp_path, 11, "stopped", "too late")
    assert found(tmp_path).state == "failed"


def test_one_that_says_nothing_is_gone(tmp_path: Path) -> None:
    old = now_ms() - 61_000
    write_status(tmp_path, RetrainingStatus(process=1, started=old - 9, updated=old))
    assert found(tmp_path).state == "failed"
    assert "it has said nothing for 61 s" in found(tmp_path).detail


def test_a_file_that_nobody_understands_tells_nothing(tmp_path: Path) -> None:
    (tmp_path / "retraining.json").write_text('{"state": "dancing"}')
    assert read_status(tmp_path) is None


def test_a_home_that_takes_no_file_ends_no_run(tmp_path: Path) -> None:
    with reporter(tmp_path / "gone").reporting():
        pass
    assert read_status(tmp_path / "gone") is None
