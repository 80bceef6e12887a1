"""Commands as jobs: output and exit status come here, and an interruption stops them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from recserve.bundles.repository import BundleRepository
from tests.conftest import Domain, run
from tests.support.bed import ObjectStore
from tests.support.parts import CONFIG

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.fixture
def home(domain: Domain, tmp_path: Path, s3: ObjectStore, empty_postgres: Callable[[str], str]) -> Path:
    """A home whose store and bundles can be reached from everywhere, with data and without a bundle."""
    made = tmp_path / "here"
    made.mkdir()
    shared = {"store": {"url": empty_postgres("jobs")}, "bundles": s3.uri(tmp_path.name)}
    (made / "recserve.yaml").write_text(yaml.safe_dump({**CONFIG, **shared}))
    run("import", "--events", domain.events, "--items", domain.items, "--home", made)
    return made


def submitted(home: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "recserve", "submit", "--home", str(home), *arguments]
    environment = {**os.environ, "RECSERVE_HOME": str(home.parent / "there")}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )


def bundles(home: Path) -> list[str]:
    config = yaml.safe_load((home / "recserve.yaml").read_text())
    return BundleRepository(home, config["bundles"]).ids()


def test_a_job_trains_and_its_exit_status_comes_here(home: Path, dashboard: str) -> None:
    training = submitted(home, dashboard, "train", "--no-evaluate", "--workers", "1")
    out, err = training.communicate(timeout=200)
    assert training.returncode == 0, out + err
    assert "is current:" in out
    assert len(bundles(home)) == 1

    wrong = submitted(home, dashboard, "train", "--no-such-option")
    out, _ = wrong.communicate(timeout=100)
    assert wrong.returncode == 2
    assert "No such option: --no-such-option" in out


@pytest.mark.long
def test_a_job_that_is_interrupted_leaves_nothing(home: Path, dashboard: str) -> None:
    interrupted = submitted(home, dashboard, "train", "--workers", "1", "--seed", "5")
    assert interrupted.stdout is not None
    seen = ""
    for line in interrupted.stdout:
        seen += line
        if line.startswith("Fitting"):
            break
    os.kill(interrupted.pid, signal.SIGINT)
    rest, err = interrupted.communicate(timeout=60)
    assert interrupted.returncode == 130, seen + rest + err
    assert "the job is stopped" in rest
    assert bundles(home) == []
