"""Ports, state files, run directories and tokens."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
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

from recserve.auth import create_key
from recserve.config import Config
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
        assert ports.is_loopback(host), host
    for host in ("0.0.0.0", "::", "192.0.2.1", "10.0.0.1", "example.org", "localhost.example.org", ""):
        assert not ports.is_loopback(host), host


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
    chosen = ports.choose_ports("some home")
    assert ports.choose_ports("some home") == chosen
    numbers = sorted({int(value) for value in chosen.environment().values()})
    assert numbers[0] == chosen.base
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", chosen.base + 10))
        taken.listen()
        moved = ports.choose_ports("some home")
    assert abs(moved.base - chosen.base) >= numbers[-1] - numbers[0]


def test_the_run_directory_is_private_short_and_ours(tmp_path: Path) -> None:
    home = tmp_path / ("deep" * 40)
    home.mkdir()
    directory = environment.run_directory(home)
    try:
        assert directory == environment.run_directory(home)
        assert directory != environment.run_directory(tmp_path)
        assert directory.stat().st_mode & 0o777 == 0o700
        # HAProxy binds <directory>/h/<node id>/a.sock under a longer temporary name first.
        assert len(str(directory)) + len("/h/") + 56 + len("/a.sock.4194304.tmp") <= 97
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


def test_the_proxy_script_moves_open_pages_to_the_loopback(tmp_path: Path) -> None:
    script = environment._proxy_script(tmp_path)
    config = tmp_path / "haproxy.cfg"
    config.write_text(
        "frontend prometheus\n    bind :9101\n    mode http\nfrontend http_frontend\n"
        "    bind 127.0.0.1:8000\nlisten stats\n  bind *:8404\n"
    )
    done = subprocess.run([str(script), "-f", str(config), "-c"], capture_output=True, text=True)
    assert "HAProxy" in done.stdout + done.stderr or "onfiguration" in done.stdout + done.stderr
    binds = [line.strip() for line in config.read_text().splitlines() if "bind" in line]
    assert binds == ["bind 127.0.0.1:9101", "bind 127.0.0.1:8000", "bind 127.0.0.1:8404"]


def test_the_proxy_script_has_no_final_answer_while_nothing_runs(tmp_path: Path) -> None:
    script = environment._proxy_script(tmp_path)
    config = tmp_path / "haproxy.cfg"
    config.write_text(
        "global\n    log 127.0.0.1:514 local0 info\n"
        "defaults\n    log global\n    option httplog\n    mode http\n"
        "    errorfile 503 /nowhere\n    timeout client 1s\n    timeout connect 1s\n"
        "    timeout server 1s\nfrontend http_frontend\n    bind 127.0.0.1:8000\n"
        "    default_backend default_backend\nbackend default_backend\n"
        '    http-request return status 404 content-type text/plain lf-string "Path not found."\n'
    )
    for _ in range(2):
        done = subprocess.run([str(script), "-f", str(config), "-c"], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        text = config.read_text()
        assert "return status 503 content-type text/plain lf-string" in text
        assert "hdr Retry-After 1" in text
        assert "errorfile" not in text
        assert ":514" not in text, "who asks for what is nobody's business"
        assert text.count("set-header x-recserve-call %[uuid]") == 1
        assert text.count("set-status 503 if { status 500 }") == 1


def test_the_admin_socket_of_the_proxy_is_its_owners(tmp_path: Path) -> None:
    script = environment._proxy_script(tmp_path)
    config, admin = tmp_path / "haproxy.cfg", tmp_path / "a.sock"
    config.write_text(
        f"global\n    stats socket {admin} mode 666 level admin expose-fd listeners\n"
        "defaults\n    mode http\n    timeout client 1s\n    timeout connect 1s\n    timeout server 1s\n"
        f"listen stats\n    bind {tmp_path}/page.sock\n    stats enable\n"
    )
    proxy = subprocess.Popen([str(script), "-f", str(config), "-db"])
    try:
        deadline = time.monotonic() + 20
        while not admin.exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert stat.S_IMODE(admin.stat().st_mode) == 0o600
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(admin))
            connection.sendall(b"show info\n")
            assert b"Name: HAProxy" in connection.recv(4096)
    finally:
        proxy.terminate()
        proxy.wait(20)


def test_the_proxy_refuses_what_the_replicas_cannot_hold(tmp_path: Path) -> None:
    asked, released = threading.Event(), threading.Event()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    class Replica(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            asked.set()
            released.wait(20)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    replica = ThreadingHTTPServer(("127.0.0.1", 0), Replica)
    threading.Thread(target=replica.serve_forever, daemon=True).start()
    script = environment._proxy_script(tmp_path, most=1)
    config = tmp_path / "haproxy.cfg"
    config.write_text(
        "defaults\n    mode http\n    timeout client 30s\n    timeout connect 5s\n    timeout server 30s\n"
        f"frontend http_frontend\n    bind 127.0.0.1:{port}\n    default_backend http-app\n"
        f"backend http-app\n    server one 127.0.0.1:{replica.server_port}\n"
    )
    for _ in range(2):  # HAProxy is started again with a file that it corrected before
        checked = subprocess.run([str(script), "-f", str(config), "-c"], capture_output=True, text=True)
        assert checked.returncode == 0, checked.stdout + checked.stderr
    assert config.read_text().count("overloaded.json") == 1
    proxy = subprocess.Popen([str(script), "-f", str(config), "-db"])
    url = f"http://127.0.0.1:{port}"
    try:
        with httpx.Client(trust_env=False, timeout=30) as client, ThreadPoolExecutor(1) as pool:
            while not ports.accepts(f"127.0.0.1:{port}"):
                time.sleep(0.05)
            held = pool.submit(httpx.post, f"{url}/v1/recommend", json={}, trust_env=False, timeout=30)
            assert asked.wait(20)
            refused = client.post(f"{url}/v1/recommend", json={"user_id": "1"})
            assert refused.status_code == 503
            assert refused.json()["error"]["code"] == "overloaded"
            assert refused.headers["retry-after"] == "1"
            # Events are let in however many wait for recommendations.
            event = threading.Thread(target=lambda: client.post(f"{url}/v1/events", json={}))
            asked.clear()
            event.start()
            assert asked.wait(20)
            released.set()
            event.join(20)
            assert held.result(20).status_code == 200
            assert client.post(f"{url}/v1/recommend", json={}).status_code == 200
    finally:
        released.set()
        proxy.terminate()
        proxy.wait(20)
        replica.shutdown()


@pytest.mark.parametrize(
    ("host", "bound"),
    [
        ("127.0.0.1", "127.0.0.1:8000"),
        ("0.0.0.0", "0.0.0.0:8000"),
        # Serve looks after HAProxy at the loopback.
        ("192.0.2.1", "127.0.0.1:8000,192.0.2.1:8000"),
    ],
)
def test_the_proxy_script_moves_the_public_port_alone(tmp_path: Path, host: str, bound: str) -> None:
    script = environment._proxy_script(tmp_path, (host, 8000))
    config = tmp_path / "haproxy.cfg"
    config.write_text(
        "frontend prometheus\n    bind :9101\n    mode http\nfrontend http_frontend\n"
        "    bind 127.0.0.1:8000\nlisten stats\n  bind *:8404\n  bind 127.0.0.1:18000\n"
        "  server one 127.0.0.1:8000 check\n"
    )
    for _ in range(2):  # HAProxy is started again with a file that it corrected before
        subprocess.run([str(script), "-f", str(config), "-c"], capture_output=True)
        binds = [line.strip() for line in config.read_text().splitlines() if "bind" in line]
        assert binds == [
            "bind 127.0.0.1:9101",
            f"bind {bound}",
            "bind 127.0.0.1:8404",
            "bind 127.0.0.1:18000",
        ]
    assert "server one 127.0.0.1:8000 check" in config.read_text()
