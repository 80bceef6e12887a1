"""Commands on workers: the same figures as in one process, clear refusals, and nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml
from recserve_deployments.local_server.environment import run_directory

from recserve.bundles.bundle import Bundle
from tests.conftest import Domain, run
from tests.support.parts import CONFIG

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

TOLERANCE = 1e-5
MINUTES = 300


@pytest.fixture
def home(domain: Domain, tmp_path: Path) -> Path:
    """A home with data and without a bundle."""
    made = tmp_path / "home"
    made.mkdir()
    (made / "recserve.yaml").write_text(yaml.safe_dump(CONFIG))
    run("import", "--events", domain.events, "--items", domain.items, "--home", made)
    return made


def command(home: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "recserve", *arguments, "--home", str(home)]


def called(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(home, *arguments), capture_output=True, text=True, timeout=MINUTES)


def bundles(home: Path) -> list[Bundle]:
    folders = [path for path in (home / "bundles").iterdir() if not path.name.startswith(".")]
    return [Bundle.open(path) for path in sorted(folders, key=lambda path: path.stat().st_mtime_ns)]


def flat(metrics: dict[str, dict]) -> list[float]:
    return [
        value
        for figure in metrics.values()
        for value in (figure["mean"], *(figure["ci95"] or ()))
        if value is not None
    ]


@pytest.mark.long
def test_a_bundle_of_workers_is_that_of_one_process(home: Path) -> None:
    run("train", "--home", home, "--no-auto")
    (here,) = bundles(home)
    done = called(home, "train", "--no-auto", "--seed", "0", "--address", "local", "--workers", "2")
    assert done.returncode == 0, done.stderr
    assert "workers on a Ray of its own" in done.stderr
    assert "Fitting mf" in done.stderr, "progress is shown here"
    there = bundles(home)[-1]
    assert set(there.manifest.metrics) == set(here.manifest.metrics)
    assert flat(there.manifest.metrics) == pytest.approx(flat(here.manifest.metrics), abs=TOLERANCE)
    assert not list((home / "checkpoints").glob("*"))


def test_an_evaluation_of_workers_is_that_of_one_process(home: Path, tmp_path: Path) -> None:
    files = [tmp_path / "here.json", tmp_path / "there.json"]
    options = ("evaluate", "--users", "30", "--model", "pipeline", "--model", "item_knn")
    run(*options, "--json", files[0], "--home", home)
    done = called(home, *options, "--json", str(files[1]), "--address", "local")
    assert done.returncode == 0, done.stderr
    assert "users, drawn at random with seed 0" in done.stdout
    here, there = (json.loads(path.read_text()) for path in files)
    for first, second in zip(here, there, strict=True):
        assert (first["model"], first["users"], first["items"]) == (second["model"], 30, second["items"])
        assert first["note"] == second["note"]
        assert first["note"].startswith("30 of ")
        assert flat(second["metrics"]) == pytest.approx(flat(first["metrics"]), abs=TOLERANCE)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--address", "127.0.0.1:1"), "no Ray cluster answers at 127.0.0.1:1"),
        (("--address", "local", "--cpus-per-worker", "512"), "a worker wants 512 CPUs, but this machine has"),
        (("--gpus-per-worker", "1"), "--gpus-per-worker needs --workers or --address"),
    ],
)
def test_what_cannot_be_is_a_line(home: Path, options: tuple[str, ...], reason: str) -> None:
    done = called(home, "train", *options)
    assert done.returncode == 2
    assert reason in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_leaves_nothing(home: Path, number: signal.Signals) -> None:
    process = subprocess.Popen(
        command(home, "train", "--no-auto", "--address", "local"),
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("Fitting"):
            break
    os.kill(process.pid, number)
    rest = process.stderr.read()
    assert process.wait(timeout=60) == 130, rest
    assert "interrupted; nothing is left running" in rest
    assert "Traceback" not in rest
    directory = str(run_directory(home) / f"t{process.pid}")
    end = time.monotonic() + 30
    while running(directory) and time.monotonic() < end:
        time.sleep(0.1)
    assert running(directory) == []
    assert not Path(directory).exists()
    assert not (home / "bundles").exists() or bundles(home) == []


def running(directory: str) -> list[str]:
    """Processes of a Ray session."""
    found = []
    for process in psutil.process_iter():
        try:
            line = " ".join(process.cmdline())
            if directory in line or process.environ().get("RAY_TMPDIR", "") == directory:
                found.append(line)
        except psutil.Error:
            continue
    return found
