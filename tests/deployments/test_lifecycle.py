"""Starting and stopping: two servers beside each other, Ctrl-C, sudden death, and what cannot start."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from recserve_deployments.local_server.environment import run_directory
from recserve_deployments.local_server.state_file import read_state

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(600)]

NewServer = Callable[[], Any]


def fused(server: Any) -> Any:
    """Everything in the ingress, and no model: the quickest server there is."""
    config = {
        "encoder": None,
        "scenarios": {"home": {"retrievers": [{"use": "popular"}]}},
        "server": {"topology": "fused"},
    }
    (server.home / "recserve.yaml").write_text(yaml.safe_dump(config))
    return server


def test_a_fused_server_beside_the_other_one_ends_with_ctrl_c(server: Any, new_server: NewServer) -> None:
    other = fused(new_server())
    # Shells have what they start in the background ignore Ctrl-C, these tests and their children included.
    usual = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(
        other.command("serve", "--port", str(other.port)), stdout=subprocess.PIPE, text=True
    )
    signal.signal(signal.SIGINT, usual)
    assert process.stdout is not None
    first = process.stdout.readline()
    assert other.url in first
    answer = other.post("/v1/recommend", {"user_id": "user-1", "n": 4})
    assert len(answer["items"]) == 4
    assert answer["degraded"] == []
    shown = other.run("status").stdout
    assert "Ingress" in shown
    assert "Retrieval" not in shown
    state = other.state
    assert state.address != server.state.address

    process.send_signal(signal.SIGINT)
    assert process.wait(120) == 0
    assert "stopped" in process.stdout.read()
    assert state.processes() == []
    assert read_state(other.home) is None
    # The other cluster on this machine goes on.
    assert server.get("/v1/health/ready")["ready"] is True


@pytest.mark.long
def test_a_killed_supervisor_leaves_nothing_that_stop_does_not_find(new_server: NewServer) -> None:
    other = fused(new_server())
    other.start()
    state = other.state
    os.kill(state.pid, signal.SIGKILL)
    psutil.wait_procs([psutil.Process(state.pid)] if psutil.pid_exists(state.pid) else [], timeout=30)
    dead = other.run("status", check=False)
    assert dead.returncode == 1
    assert "died" in dead.stdout
    other.run("stop")
    assert state.processes() == []
    assert "no server" in other.run("stop").stdout
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", other.port))


def test_a_server_in_the_foreground_follows_its_command_into_death(new_server: NewServer) -> None:
    other = fused(new_server())
    command = subprocess.Popen(
        other.command("serve", "--port", str(other.port)), stdout=subprocess.PIPE, text=True
    )
    assert command.stdout is not None
    assert other.url in command.stdout.readline()
    state = other.state
    command.kill()
    command.wait()
    end = time.monotonic() + 90
    while state.processes():
        assert time.monotonic() < end, "the server goes on without its command"
        time.sleep(0.2)
    assert read_state(other.home) is None


def error_line(done: Any) -> str:
    """The one line of an error; nothing may have been left behind."""
    assert done.returncode == 2, done.stdout + done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(lines) == 1, done.stderr
    assert "Traceback" not in done.stderr
    return str(lines[0])


def test_a_port_in_use_is_named_before_anything_starts(new_server: NewServer) -> None:
    other = fused(new_server())
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", other.port))
        taken.listen()
        done = other.run("serve", "--detach", "--port", str(other.port), check=False)
    line = error_line(done)
    assert f"port {other.port} on 127.0.0.1 is in use by" in line
    assert str(os.getpid()) in line
    assert "--port" in line
    assert read_state(other.home) is None


def test_a_host_that_others_reach_is_refused_without_a_key(new_server: NewServer) -> None:
    other = fused(new_server())
    line = error_line(other.run("serve", "--detach", "--host", "0.0.0.0", check=False))
    assert "no API key" in line
    assert "recserve keys create" in line
    assert read_state(other.home) is None


def test_a_cluster_that_does_not_answer_is_one_line(new_server: NewServer) -> None:
    other = fused(new_server())
    done = other.run("serve", "--address", f"127.0.0.1:{other.port}", check=False)
    assert "no Ray cluster answers" in error_line(done)


def test_a_ray_that_cannot_start_is_one_line_with_the_log(new_server: NewServer) -> None:
    other = fused(new_server())
    blocked = run_directory(other.home) / "ray"
    blocked.write_text("Ray wants a folder here")
    try:
        line = error_line(other.run("serve", "--detach", "--port", str(other.port), check=False))
    finally:
        blocked.unlink()
    assert "Ray cannot start" in line
    log = Path(line.rpartition("log: ")[2].rstrip(")"))
    assert "Ray wants a folder" not in line
    assert log.read_text()
    assert read_state(other.home) is None


def test_a_home_without_a_bundle_is_one_line(tmp_path: Path, new_server: NewServer) -> None:
    other = new_server()
    other.home = tmp_path / "empty"
    assert "there is no home folder" in error_line(other.run("serve", "--detach", check=False))
    other.home.mkdir()
    assert "recserve train" in error_line(other.run("serve", "--detach", check=False))


@pytest.mark.long
def test_what_the_bundle_lacks_is_one_line(new_server: NewServer) -> None:
    other = fused(new_server())
    config = {"server": {"topology": "fused"}, "scenarios": {"home": {"retrievers": [{"use": "item_knn"}]}}}
    (other.home / "recserve.yaml").write_text(yaml.safe_dump(config))
    line = error_line(other.run("serve", "--detach", "--port", str(other.port), check=False))
    assert "has no trained retriever.item_knn; run `recserve train`" in line
    assert read_state(other.home) is None


def test_a_missing_plugin_is_one_line(new_server: NewServer) -> None:
    other = fused(new_server())
    (other.home / "recserve.yaml").write_text("scenarios: {home: {retrievers: [{use: populr}]}}")
    line = error_line(other.run("serve", "--detach", check=False))
    assert "did you mean 'popular'" in line
