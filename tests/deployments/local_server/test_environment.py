"""Ports, state files, run directories and tokens."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from recserve_deployments.local_server import control as runtime
from recserve_deployments.local_server import environment, ports
from recserve_deployments.local_server.state_file import (
    MARKER,
    STATE_FILE,
    ServerState,
    read_state,
    remove_state,
    write_state,
)

from recserve.auth.keys import create_key
from recserve.config import Config
from recserve.data.system.addresses import is_loopback
from recserve.errors import RuntimeEnvironmentError
from recserve.store import open_store


def state(**changes: object) -> ServerState:
    base: dict[str, object] = {
        "server_id": "one",
        "owned": True,
        "host": "127.0.0.1",
        "port": 8000,
        "started_at": 1,
    }
    return ServerState.model_validate({**base, **changes})


def test_state_file_round_trip_and_damage(tmp_path: Path) -> None:
    assert read_state(tmp_path) is None
    write_state(tmp_path, state(detail="é"))
    assert read_state(tmp_path) == state(detail="é")
    assert (tmp_path / STATE_FILE).stat().st_mode & 0o077 == 0
    assert [path.name for path in tmp_path.iterdir()] == [STATE_FILE]
    remove_state(tmp_path, "another")
    assert read_state(tmp_path) is not None
    remove_state(tmp_path, "one")
    assert read_state(tmp_path) is None
    (tmp_path / STATE_FILE).write_text('{"half": ')
    assert read_state(tmp_path) is None


def test_a_reused_pid_is_not_taken_for_the_supervisor() -> None:
    me = psutil.Process()
    assert state(pid=me.pid, created=me.create_time()).supervisor() is not None
    assert state(pid=me.pid, created=me.create_time() - 60).supervisor() is None
    gone = subprocess.Popen([sys.executable, "-c", ""])
    created = psutil.Process(gone.pid).create_time()
    gone.wait()
    assert state(pid=gone.pid, created=created).supervisor() is None


def test_processes_are_found_by_their_marker_alone() -> None:
    sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
    ours = subprocess.Popen(sleep, env={**os.environ, MARKER: "one"}, start_new_session=True)
    other = subprocess.Popen(sleep, env={**os.environ, MARKER: "two"})
    try:
        assert [process.pid for process in state().processes()] == [ours.pid]
    finally:
        for process in (ours, other):
            process.kill()
            process.wait()


def test_hosts_are_ipv4_addresses() -> None:
    assert ports.check_host("localhost") == ports.check_host("127.0.0.1") == "127.0.0.1"
    assert ports.check_host("0.0.0.0") == "0.0.0.0"
    assert ports.check_host("192.0.2.1") == "192.0.2.1"
    for host in ("", "::", "::1", "example.org", "127.0.0.1:80", "1.2.3", "*"):
        with pytest.raises(RuntimeEnvironmentError, match="not an IPv4 address"):
            ports.check_host(host)


def test_what_only_this_machine_reaches() -> None:
    for host in ("localhost", "127.0.0.1", "127.8.9.10", "::1"):
        assert is_loopback(host), host
    for host in ("0.0.0.0", "::", "192.0.2.1", "10.0.0.1", "example.org", "localhost.example.org", ""):
        assert not is_loopback(host), host


def test_an_address_of_another_machine_cannot_be_listened_on() -> None:
    with pytest.raises(RuntimeEnvironmentError, match=r"192\.0\.2\.1 is not an address of this machine"):
        ports.check_port("192.0.2.1", 18_000)


def test_the_url_of_a_server_is_one_that_answers_here() -> None:
    assert state().url == "http://127.0.0.1:8000"
    assert state(host="0.0.0.0").url == "http://127.0.0.1:8000"
    assert state(host="192.0.2.1").url == "http://192.0.2.1:8000"
    joined = state(host="0.0.0.0", owned=False, address="192.0.2.7:6379")
    assert joined.url == "http://192.0.2.7:8000"
    assert state(owned=False, address="192.0.2.7:6379").url == "http://127.0.0.1:8000"


@pytest.mark.parametrize("key", ["none", "revoked", "good"])
def test_other_machines_are_let_near_only_with_a_good_key(tmp_path: Path, key: str) -> None:
    with open_store(None, tmp_path) as store:
        if key != "none":
            _, made = create_key("n", ["read"], 1)
            store.add_key(made)
            if key == "revoked":
                store.revoke_key(made.key_id, 2)
    runtime._need_key(tmp_path, Config(), "127.0.0.1")
    if key == "good":
        runtime._need_key(tmp_path, Config(), "0.0.0.0")
        return
    with pytest.raises(RuntimeEnvironmentError) as refused:
        runtime._need_key(tmp_path, Config(), "0.0.0.0")
    assert "recserve keys create" in refused.value.message
    assert refused.value.field == "server.host"


def test_what_guards_each_socket_is_told(tmp_path: Path) -> None:
    window = ports.ServePorts(20_000)
    told = {
        guarded: runtime.Status(state(ports=window.base), True, None, [], "", guarded)
        for guarded in (True, False, None)
    }

    def guard(port: int, guarded: bool | None = True) -> str:
        return told[guarded].guard_of(ports.Listener("0.0.0.0", port, "a process", 1))

    numbers = {name: int(value) for name, value in window.environment().items()}
    first_replica = numbers["RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT"]
    last_replica = numbers["RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT"] - 1
    for port in (8000, numbers["RAY_SERVE_FALLBACK_PROXY_HTTP_PORT"], first_replica, last_replica):
        assert guard(port) == "API key"
        assert guard(port, False) == "nothing: no key exists"
        assert guard(port, None) == "unknown"
    for name in ("RAY_SERVE_HAPROXY_METRICS_PORT", "RAY_SERVE_HAPROXY_STATS_PORT"):
        assert guard(numbers[name]) == "nothing (read only)"
    assert guard(last_replica + 1) == guard(6379) == guard(41_234) == "Ray's token"


@pytest.mark.parametrize("bound", ["127.0.0.1", ""])
def test_a_port_in_use_is_found_and_its_holder_named(bound: str) -> None:
    with socket.socket() as taken:
        taken.bind((bound, 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(RuntimeEnvironmentError, match=rf"port {port} .*\(process {os.getpid()}\)"):
            ports.check_port("127.0.0.1", port)
        assert ports.accepts(f"127.0.0.1:{port}")
    ports.check_port("127.0.0.1", port)
    assert not ports.accepts(f"127.0.0.1:{port}")
    assert not ports.accepts("nonsense")


def test_windows_of_ports_are_stable_disjoint_and_avoid_what_is_taken() -> None:
    chosen, held = ports.reserve_ports("some home")
    held.close()
    with ports.reserve_ports("some home")[1]:
        # Another one that starts before the first has bound anything.
        other, also_held = ports.reserve_ports("some home")
        also_held.close()
    again, held = ports.reserve_ports("some home")
    held.close()
    assert again == chosen
    numbers = sorted({int(value) for value in chosen.environment().values()})
    assert numbers[0] == chosen.base
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", chosen.base + 10))
        taken.listen()
        moved, held = ports.reserve_ports("some home")
        held.close()
    for one in (other, moved):
        assert abs(one.base - chosen.base) > numbers[-1] - numbers[0]


def test_the_run_directory_is_private_short_and_ours(tmp_path: Path) -> None:
    home = tmp_path / ("deep" * 40)
    home.mkdir()
    directory = environment.run_directory(home)
    try:
        assert directory == environment.run_directory(home)
        assert directory != environment.run_directory(tmp_path)
        assert directory.stat().st_mode & 0o777 == 0o700
        # HAProxy binds <directory>/h/<node id>/a under a longer temporary name first.
        assert len(str(directory)) + len("/h/") + 56 + len("/a.4194304.tmp") <= 97
        assert environment.LONGEST_RUN_DIRECTORY + len("/h/") + 56 + len("/a.4194304.tmp") <= 97
        directory.rmdir()
        directory.symlink_to(tmp_path)
        with pytest.raises(RuntimeEnvironmentError, match="somebody else"):
            environment.run_directory(home)
        directory.unlink()
    finally:
        environment.run_directory(tmp_path).rmdir()


def test_the_token_is_made_once_and_private(tmp_path: Path) -> None:
    path = environment.ensure_token(tmp_path)
    token = path.read_text()
    assert len(token) == 64
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o644)
    assert environment.ensure_token(tmp_path).read_text() == token
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.fixture
def noexec() -> Iterator[Path]:
    """A folder of a file system that is mounted with noexec, as hardened machines mount /tmp."""
    folder = Path(tempfile.mkdtemp(prefix="x", dir="/tmp"))
    mount = ["mount", "-t", "tmpfs", "-o", "noexec,size=1m", "tmpfs", str(folder)]
    try:
        if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
            pytest.skip("needs the right to mount a file system")
        yield folder
        subprocess.run(["umount", str(folder)], check=True)
    finally:
        folder.rmdir()


def test_a_folder_that_forbids_programs_is_passed_over(noexec: Path, tmp_path: Path) -> None:
    other = Path(f"/tmp/y{os.getpid() % 10_000}")
    other.mkdir()
    try:
        chosen = environment.run_directory(tmp_path, (noexec, other))
        assert chosen.parent == other
        assert list(noexec.iterdir()) == []
        chosen.rmdir()
    finally:
        other.rmdir()
    with pytest.raises(RuntimeEnvironmentError, match="noexec") as refused:
        environment.run_directory(tmp_path, (noexec,))
    assert "\n" not in refused.value.message


def test_folders_whose_sockets_would_have_too_long_names_are_passed_over(tmp_path: Path) -> None:
    deep = tmp_path / "deep"
    deep.mkdir()
    with pytest.raises(
        RuntimeEnvironmentError, match=f"too long a name.*{environment.LONGEST_RUN_DIRECTORY} bytes"
    ):
        environment.run_directory(tmp_path, (deep,))
    with pytest.raises(RuntimeEnvironmentError, match="may not be written to"):
        environment.run_directory(tmp_path, (tmp_path / "none",))


def test_calls_within_a_cluster_do_not_go_by_a_web_proxy(tmp_path: Path) -> None:
    """gRPC, which replicas call each other by, reaches a server of this machine although a proxy is set."""
    web = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    plain = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}

    def reaches(variables: dict[str, str]) -> bool:
        probe = [sys.executable, "-c", GRPC_PROBE]
        return subprocess.run(probe, env=variables, capture_output=True, timeout=100).returncode == 0

    assert not reaches({**plain, **web})
    assert reaches({**plain, **web, **environment.without_web_proxy(web)})
    given = environment.without_web_proxy({"no_proxy": "example.org, .corp"}, "192.0.2.7")
    assert given["NO_PROXY"] == given["no_proxy"] == "example.org,.corp,localhost,127.0.0.1,::1,192.0.2.7"
    assert given["no_grpc_proxy"].startswith("example.org,.corp,localhost,")


def test_a_server_that_does_not_answer_names_the_web_proxy_that_may_be_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from recserve_deployments.local_server.deploy import wait_until_ready

    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    with pytest.raises(RuntimeEnvironmentError, match=r"not ready.*https_proxy is set: no_proxy"):
        wait_until_ready("http://127.0.0.1:9", 0.2, lambda line: None)
    for name in ("https_proxy", "http_proxy", "grpc_proxy"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(RuntimeEnvironmentError) as failed:
        wait_until_ready("http://127.0.0.1:9", 0.2, lambda line: None)
    assert "proxy" not in failed.value.message


GRPC_PROBE = """
import grpc
from concurrent import futures
server = grpc.server(futures.ThreadPoolExecutor(1))
port = server.add_insecure_port("127.0.0.1:0")
server.start()
for host in ("127.0.0.1", "localhost"):
    grpc.channel_ready_future(grpc.insecure_channel(f"{host}:{port}")).result(4)
server.stop(0)
"""
