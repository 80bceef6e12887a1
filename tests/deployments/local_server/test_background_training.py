"""A server that begins with a quick bundle: the rest is trained beside it, swapped in, and stops with it."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psutil
import pytest
import yaml

from recserve.training.retraining.status import RetrainingStatus, read_status

pytestmark = [pytest.mark.cluster, pytest.mark.long, pytest.mark.slow, pytest.mark.timeout(600)]

NewServer = Callable[[], Any]


def prepared(server: Any, **ranker: int) -> str:
    """Train quickly; the whole is promoted whatever it is worth."""
    path = server.home / "recserve.yaml"
    config = yaml.safe_load(path.read_text())
    config["scenarios"]["home"]["ranker"]["params"].update(ranker)
    config |= {"promotion": {"margin": 1.0}, "server": {"topology": "fused"}}
    path.write_text(yaml.safe_dump(config))
    said: str = server.run("train", "--quick").stdout
    assert "trained without ranker.bert_lstm" in said
    (line,) = (line for line in said.splitlines() if " is current: " in line)
    return line.split()[1]


@contextmanager
def serving(server: Any) -> Iterator[subprocess.Popen[str]]:
    # Shells have what they start in the background ignore Ctrl-C, these tests and their children included.
    usual = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(
        server.command("serve", "--retrain", "--port", str(server.port)),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    signal.signal(signal.SIGINT, usual)
    try:
        yield process
    finally:
        process.kill()
        process.wait(30)


def until(process: subprocess.Popen[str], text: str) -> str:
    """The first line with a text."""
    assert process.stdout is not None
    seen = []
    for line in process.stdout:
        seen.append(line)
        if text in line:
            return line
    raise AssertionError("".join(seen))


def waited(found: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not found():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def status(server: Any) -> RetrainingStatus:
    found = read_status(server.home)
    assert found is not None
    return found


def interrupted(server: Any, process: subprocess.Popen[str]) -> None:
    """Ctrl-C leaves nothing."""
    state = server.state
    process.send_signal(signal.SIGINT)
    assert process.wait(120) == 0
    assert state.processes() == []


def test_what_was_left_out_is_swapped_in(new_server: NewServer) -> None:
    server = new_server()
    quick = prepared(server)
    with serving(server) as process:
        until(process, f"serving bundle {quick}")
        assert "a better one is being trained in the background" in until(process, "without ranker.bert_lstm")
        assert len(server.post("/v1/recommend", {"user_id": "user-1", "n": 4})["items"]) == 4
        told = until(process, "is being swapped in")
        whole = told.split()[1]
        assert "both measured in training on the same data" in told
        waited(lambda: server.get("/v1/health/ready")["bundle"] == whole)
        found = server.get("/v1/bundles")
        assert (found["retraining"]["state"], found["retraining"]["before"]) == ("promoted", quick)
        assert [one["postponed"] for one in found["bundles"][:2]] == [[], ["ranker.bert_lstm"]]
        assert server.post("/v1/recommend", {"user_id": "user-1", "n": 4})["degraded"] == []
        assert f"last retraining: promoted: bundle {quick} was trained quickly" in server.run("status").stdout
        interrupted(server, process)


def test_a_training_that_dies_costs_the_server_nothing_and_begins_anew(new_server: NewServer) -> None:
    server = new_server()
    quick = prepared(server, epochs=1000, patience=1000)
    with serving(server) as process:
        until(process, "In the background: Fitting bert_lstm")
        assert "retraining for 0 min: Fitting bert_lstm" in server.run("status").stdout
        psutil.Process(status(server).process).kill()
        told = until(process, "retraining failed, the server goes on with the bundle it has")
        assert "it ended with exit status -9" in told
        assert server.get("/v1/health/ready")["bundle"] == quick
        assert server.get("/v1/bundles")["retraining"]["state"] == "failed"
        interrupted(server, process)
    with serving(server) as process:
        until(process, "In the background: Fitting")
        interrupted(server, process)
    assert (status(server).state, status(server).detail) == ("stopped", "the server was stopped")
