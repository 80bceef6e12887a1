"""Retraining beside a server: when a run starts, that there is one at a time, and how it ends."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import psutil
import pytest
import yaml
from recserve_deployments.local_server.schedule import RetrainingSchedule

from recserve.config import load_config
from recserve.store import open_store
from recserve.training.retraining.status import read_status

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def home(trained_home: Path, tmp_path: Path) -> Path:
    home = tmp_path / "home"
    shutil.copytree(trained_home, home)
    path = home / "recserve.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"retrain": {"every_hours": 2.0}}))
    with open_store(None, home) as store:
        store.delete_user(store.recent_users(1)[0])
    return home


def runs(home: Path) -> list[psutil.Process]:
    """Processes that retrain this home, started by this one."""
    return [
        child
        for child in psutil.Process().children()
        if child.status() != psutil.STATUS_ZOMBIE and str(home) in child.cmdline()
    ]


def told(home: Path) -> tuple[int, str, str]:
    status = read_status(home)
    assert status is not None
    return status.process, status.state, status.detail


def test_a_run_starts_when_it_is_due_and_trains_the_home(home: Path) -> None:
    now = 0.0
    schedule = RetrainingSchedule(home, load_config(home / "recserve.yaml"), lambda: now)
    schedule.tick()
    now = 7199.0
    schedule.tick()
    assert runs(home) == []
    now = 7200.0
    schedule.tick()
    now = 15000.0
    schedule.tick()
    (run,) = runs(home)
    assert run.nice() == 10
    deadline = time.monotonic() + 240
    while runs(home) and time.monotonic() < deadline:
        time.sleep(0.2)
    schedule.stop()
    log = (home / "logs" / "retrain.log").read_text()
    assert "promoted bundle" in log, log
    with open_store(None, home) as store:
        assert store.current_bundle() is not None


def test_a_run_ends_with_the_server(home: Path) -> None:
    now = 0.0
    schedule = RetrainingSchedule(home, load_config(home / "recserve.yaml"), lambda: now)
    now = 7200.0
    schedule.tick()
    (run,) = runs(home)
    schedule.stop()
    assert not run.is_running()
    assert told(home) == (run.pid, "stopped", "the server was stopped")


def test_a_run_at_the_start_tells_how_it_goes(home: Path) -> None:
    config = load_config(home / "recserve.yaml")
    retrain = config.retrain.model_copy(update={"at_start": True, "every_hours": None})
    schedule = RetrainingSchedule(home, config.model_copy(update={"retrain": retrain}))
    schedule.tick()
    (run,) = runs(home)
    assert told(home) == (run.pid, "running", "")
    run.kill()
    deadline = time.monotonic() + 30
    while told(home)[1] == "running" and time.monotonic() < deadline:
        schedule.tick()
    assert told(home) == (run.pid, "failed", "it ended with exit status -9; see logs/retrain.log")
    schedule.tick()
    assert runs(home) == [], "once"


def test_without_an_interval_nothing_is_started(home: Path) -> None:
    now = 0.0
    config = load_config(home / "recserve.yaml")
    config = config.model_copy(update={"retrain": config.retrain.model_copy(update={"every_hours": None})})
    schedule = RetrainingSchedule(home, config, lambda: now)
    now = 1e9
    schedule.tick()
    assert runs(home) == []
