"""Tuning on the cluster of a server that goes on answering, behind a fence."""

from __future__ import annotations

import os
import subprocess
import time
from typing import TYPE_CHECKING

import httpx
import psutil
import pytest

from recserve.data.system.cpus import NICENESS
from recserve.training.tuning import StudyFolder, TrialState

if TYPE_CHECKING:
    from tests.deployments.conftest import Server

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


def trial_processes(server: Server) -> list[psutil.Process]:
    found = []
    for process in server.state.processes():
        try:
            if "ImplicitFunc" in " ".join(process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="a server keeps one core to itself")
@pytest.mark.long
def test_trials_take_what_a_server_can_spare_while_it_answers(server: Server) -> None:
    options = ("--trials", "4", "--param", "dropout", "--param", "learning_rate")
    process = subprocess.Popen(
        server.command("tune", "bert_lstm", *options),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "COLUMNS": "200"},
    )
    answered, most, niceness = 0, 0, set[int]()
    end = time.monotonic() + 400
    while process.poll() is None and time.monotonic() < end:
        answer = httpx.post(
            f"{server.url}/v1/recommend", json={"user_id": "user-1"}, timeout=30, trust_env=False
        )
        assert answer.status_code == 200, answer.text
        assert answer.json()["items"]
        answered += 1
        running = trial_processes(server)
        most = max(most, len(running))
        for one in running:
            try:
                niceness.add(max(os.getpriority(os.PRIO_PROCESS, thread.id) for thread in one.threads()))
            except (psutil.Error, ProcessLookupError):
                continue
        time.sleep(0.1)
    output = process.communicate(timeout=30)[0]
    assert process.returncode == 0, output
    room = (os.cpu_count() or 1) - 1
    assert f"4 trials on the cluster at {server.state.address}" in output
    assert f"{room} trial{'s' if room > 1 else ''} at a time" in output
    assert answered > 10
    # A process that ends may overlap with the next one that starts.
    assert 1 <= most <= room + 1
    assert NICENESS in niceness
    records = StudyFolder(server.home / "tuning" / "bert_lstm").trials()
    assert [one.number for one in records] == [0, 1, 2, 3]
    assert all(one.state in (TrialState.COMPLETE, TrialState.STOPPED) for one in records)
    # The cluster is the server's again, and it still serves.
    deadline = time.monotonic() + 30
    while trial_processes(server) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert trial_processes(server) == []
    assert server.get("/v1/health/ready")["store"] is True


def test_a_trial_larger_than_what_is_spared_is_refused(server: Server) -> None:
    cpus = str((os.cpu_count() or 1) + 1)
    done = server.run("tune", "mf", "--cpus", cpus, check=False)
    assert done.returncode == 2
    assert "beside what it serves, but a trial wants" in done.stderr
    assert "--address local" in done.stderr
