"""Tuning on hosts that share no disk: a lost host costs its trials' time only, and the fence holds."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from recserve.data.system.folder import Folder
from recserve.training.tuning.cluster import FENCE
from tests.deployments.cluster.conftest import GCS, HOME, TestBed
from tests.support.bed import HEAD

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(900)]

LOST = 3
# A trial takes some seconds, enough to take its host away.
CONFIG: dict[str, Any] = {
    "encoder": None,
    "train": {"threads": 1},
    "scenarios": {
        "home": {"retrievers": [{"use": "mf", "params": {"dimension": 256, "iterations": 1000}}]},
    },
}


@pytest.fixture(scope="module")
def filled(bed: TestBed, files: dict[str, Path]) -> TestBed:
    """The bed, with a store on the first host's own disk."""
    bed.configure(HEAD, CONFIG)
    for name, path in files.items():
        bed.copy(HEAD, path, f"{HOME}/{name}")
    bed.recserve(HEAD, "import", "--events", f"{HOME}/events.csv", "--items", f"{HOME}/items.jsonl")
    return bed


def wait_for_a_trial(bed: TestBed, number: int) -> None:
    """Wait until a trial computes on a host."""
    end = time.monotonic() + 180
    while time.monotonic() < end:
        for process in bed.hosts.processes(number):
            try:
                if "ImplicitFunc.train" in " ".join(psutil.Process(process).cmdline()):
                    return
            except psutil.Error:
                continue
        time.sleep(0.1)
    raise AssertionError(f"no trial ran on host {number}")


def test_a_lost_host_costs_the_time_of_its_trials_only(filled: TestBed) -> None:
    tune = ["tune", "mf", "--trials", "4", "--param", "nu", "--no-confirm", "--address", GCS]
    process = filled.popen_recserve(HEAD, *tune, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    wait_for_a_trial(filled, LOST)
    filled.hosts.kill(LOST)
    output, _ = process.communicate(timeout=500)
    print(output)
    assert process.returncode == 0, output
    assert f"which offers no resource {FENCE}: one of its 4 CPUs is left free, 3 trials at a time" in output
    assert "was lost with its process or its host, and begins anew" in output
    assert "Traceback" not in output
    # Nothing but the first host's own disk holds the study.
    read = filled.hosts.run(HEAD, ["cat", f"{HOME}/tuning/mf/trials.json"])
    trials = json.loads(read.stdout)
    assert [trial["state"] for trial in trials] == ["complete"] * 4
    repeats = sum(trial["repeats"] for trial in trials)
    assert repeats >= 1
    assert f"{repeats} times a trial was begun anew" in output
    page = filled.hosts.run(HEAD, ["cat", f"{HOME}/tuning/mf/report.html"]).stdout
    assert f"{repeats} begun anew, their process or host was lost" in page
    repeated = {trial["node"] for trial in trials if trial["repeats"]}
    assert repeated == {filled.hosts.address(2)}


def test_trials_stay_behind_a_joined_clusters_fence_and_write_nothing_here(filled: TestBed) -> None:
    """Only the host that offers the resource runs trials, as many as it offers."""
    filled.hosts.start(LOST)
    filled.start_ray(LOST, 2, {FENCE: 1})
    before = filled.hosts.run(HEAD, ["find", f"{HOME}/tuning"]).stdout
    storage = filled.bucket.replace("/recserve?", "/studies/mf?")
    tune = ["tune", "mf", "--trials", "3", "--param", "nu", "--no-confirm", "--address", GCS]
    done = filled.recserve(HEAD, *tune, "--storage", storage)
    print(done.stdout)
    assert f"behind its resource {FENCE}, 1 of 4 CPUs, 1 trial at a time" in done.stdout
    folder = Folder.at(storage, "--storage")
    trials = json.loads(folder.read("trials.json"))
    assert [trial["state"] for trial in trials] == ["complete"] * 3
    assert {trial["node"] for trial in trials} == {filled.hosts.address(LOST)}
    assert {"best.yaml", "report.html", "study.json"} <= set(folder.names())
    assert filled.hosts.run(HEAD, ["find", f"{HOME}/tuning"]).stdout == before
    refused = filled.recserve(HEAD, *tune, "--storage", storage, "--resume", "--cpus", "2", check=False)
    assert refused.returncode == 2
    assert "can spare at most 1 CPUs and 0 GPUs of a node" in refused.stdout
