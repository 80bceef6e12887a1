"""HAProxy with the configuration of the installed Ray Serve, corrected: the real program, the real file."""

from __future__ import annotations

import json
import os
import re
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from recserve_deployments.local_server import haproxy, ports
from recserve_deployments.local_server.environment import PROXY_FLAG
from recserve_deployments.local_server.haproxy_config import (
    ProxySettings,
    UnknownConfigurationError,
    corrected,
    edits,
)
from recserve_deployments.local_server.haproxy_config import become as become_haproxy

from recserve.config import ServerConfig
from recserve.errors import RuntimeEnvironmentError
from recserve.serving.requests.request import CALL_HEADER
from tests.deployments.conftest import free_port

WAIT_SECONDS = 30
SETTINGS = ProxySettings("/answers", "x-call", 10, 18_000, "127.0.0.1:18000", 100, 50)


class Replica(BaseHTTPRequestHandler):
    """Stands where an ingress replica does, and answers as Serve would."""

    protocol_version = "HTTP/1.1"
    server: ReplicaServer

    def do_GET(self) -> None:
        status = int(self.path.rpartition("/")[2]) if self.path.startswith("/status/") else 200
        self._answer(status, b"Request timed out after 30s.")

    def do_POST(self) -> None:
        self.server.asked.set()
        self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/v1/recommend":
            with self.server.lock:
                self.server.holding += 1
            self.server.released.wait(WAIT_SECONDS)
        self._answer(200, b"fine")

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


class ReplicaServer(ThreadingHTTPServer):
    """A replica whose recommendations wait until they are released."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Replica)
        self.asked, self.released = threading.Event(), threading.Event()
        self.holding, self.lock = 0, threading.Lock()
        threading.Thread(target=self.serve_forever, daemon=True).start()


@pytest.fixture
def replica() -> Iterator[ReplicaServer]:
    server = ReplicaServer()
    yield server
    server.released.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def config() -> ServerConfig:
    """A server that is small in everything."""
    return ServerConfig(
        port=free_port(),
        receive_seconds=2,
        max_connections=200,
        max_connections_per_address=40,
        max_batch=1,
        batches_in_flight=1,
        max_queue=1,
    )


@contextmanager
def started(
    folder: Path, config: ServerConfig, replica_port: int, most: int, files: int | None = None
) -> Iterator[None]:
    """HAProxy, started as Serve starts it, for so many connections and with so many open files at most."""
    script = haproxy.write_script(folder, "127.0.0.1", config)
    file = haproxy.generated(folder, config.port, replica_port)
    file.write_text(re.sub(r"(?m)^( *maxconn) \d+$", rf"\1 {most}", file.read_text()))
    limit = [] if files is None else ["prlimit", f"--nofile={files}:{files}"]
    process = subprocess.Popen([*limit, str(script), "-db", "-f", str(file)])
    deadline = time.monotonic() + WAIT_SECONDS
    while not ports.accepts(f"127.0.0.1:{config.port}"):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    try:
        yield
    finally:
        process.terminate()
        process.wait(WAIT_SECONDS)


@pytest.fixture
def url(tmp_path: Path, config: ServerConfig, replica: ReplicaServer) -> Iterator[str]:
    """The API behind HAProxy."""
    with started(tmp_path, config, replica.server_port, config.max_connections):
        yield f"http://127.0.0.1:{config.port}"


def test_haproxy_starts_with_as_many_connections_as_its_limit_of_open_files_allows(
    tmp_path: Path, config: ServerConfig
) -> None:
    files = min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 4096)
    with started(tmp_path, config, 1, haproxy.connections_of(files), files):
        pass
    assert haproxy.most_connections(config) == config.max_connections


def ask(method: str, url: str, **options: object) -> httpx.Response:
    return httpx.request(method, url, trust_env=False, timeout=WAIT_SECONDS, **options)  # type: ignore[arg-type]


def test_the_installed_ray_suits(tmp_path: Path, config: ServerConfig) -> None:
    script = haproxy.write_script(tmp_path, "127.0.0.1", config)
    haproxy.check_script(script, config.port)
    with pytest.raises(RuntimeEnvironmentError, match=r"works with Ray 2\.60.*API: 0 lines") as refused:
        haproxy.check_script(script, config.port + 1)
    assert "\n" not in refused.value.message


@pytest.mark.parametrize("number", [number for number, edit in enumerate(edits(SETTINGS)) if edit.least])
def test_a_line_that_is_gone_is_missed(tmp_path: Path, number: int) -> None:
    text = haproxy.generated(tmp_path, SETTINGS.port).read_text()
    edit = edits(SETTINGS)[number]
    without = re.sub(f"^{edit.pattern}\n", "# gone\n", text, flags=re.MULTILINE)
    with pytest.raises(UnknownConfigurationError, match=f"^{edit.what}: 0 lines"):
        corrected(without, SETTINGS)


def test_what_is_corrected_already_stays(tmp_path: Path) -> None:
    once = corrected(haproxy.generated(tmp_path, SETTINGS.port).read_text(), SETTINGS)
    assert corrected(once, SETTINGS) == once


def test_only_the_api_is_moved_and_nothing_else_is_open(tmp_path: Path) -> None:
    generated = haproxy.generated(tmp_path, SETTINGS.port).read_text()
    public = ProxySettings(**{**vars(SETTINGS), "binds": ",".join(ports.binds("192.0.2.1", SETTINGS.port))})
    text = corrected(generated, public)
    found = [line.split()[1] for line in text.splitlines() if line.lstrip().startswith("bind ")]
    assert sorted(found) == ["127.0.0.1:18000,192.0.2.1:18000", "127.0.0.1:8404", "127.0.0.1:9101"]
    assert "server one 127.0.0.1:" in text
    assert " mode 600 level admin" in text
    assert "mode 666" not in text
    assert ":514" not in text, "who asks for what is nobody's business"


def test_on_a_joined_cluster_pages_are_closed_and_requests_repeated(tmp_path: Path) -> None:
    port = free_port()
    file = haproxy.generated(tmp_path, port, host="0.0.0.0")
    become = f"from {become_haproxy.__module__} import become; become()"
    command = [sys.executable, "-c", become, "-c", "-f", str(file)]
    # As on a node, where the variable names the program itself; with -c HAProxy checks the file.
    environment = {**os.environ, PROXY_FLAG: "/bin/false"}
    subprocess.run(command, env=environment, check=True, timeout=60)
    text = file.read_text()
    found = [line.split()[1] for line in text.splitlines() if line.lstrip().startswith("bind ")]
    assert sorted(found) == [f"*:{port}", "127.0.0.1:8404", "127.0.0.1:9101"]
    assert "retry-on conn-failure empty-response" in text
    assert re.search(r"server one \S+ check .*tcp-ut 1s$", text, re.MULTILINE)
    assert f"set-header {CALL_HEADER} " in text
    assert "sc0_conn_cur" not in text, "all requests may come by one load balancer"
    file.write_text("global\n")
    refused = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert refused.returncode == 1
    assert refused.stderr.startswith("HAProxy's configuration cannot be corrected: pages: 0 lines")


def test_silent_connections_of_one_address_lock_nobody_out(url: str, config: ServerConfig) -> None:
    silent = []
    for _ in range(2 * config.max_connections):
        # One beyond the address's share may be reset before it counts as connected here.
        with suppress(ConnectionResetError):
            silent.append(
                socket.create_connection(("127.0.0.1", config.port), source_address=("127.0.0.2", 0))
            )
    assert len(silent) >= (config.max_connections_per_address or 0)
    for _ in range(20):
        assert ask("GET", f"{url}/v1/about").status_code == 200
    for connection in silent:  # those beyond the address's share at once, the others after the time limit
        connection.settimeout(WAIT_SECONDS)
        try:
            while connection.recv(4096):
                pass
        except ConnectionResetError:
            pass
        connection.close()
    assert ask("GET", f"{url}/v1/about").status_code == 200


HEADERS = b"POST /v1/events HTTP/1.1\r\nHost: localhost\r\n"


@pytest.mark.parametrize("sent", [b"", HEADERS, HEADERS + b"Content-Length: 10\r\n\r\n{"])
def test_requests_that_do_not_arrive_are_ended(
    url: str, config: ServerConfig, replica: ReplicaServer, sent: bytes
) -> None:
    with socket.create_connection(("127.0.0.1", config.port), timeout=WAIT_SECONDS) as slow:
        slow.sendall(sent)
        answer = b""
        while data := slow.recv(4096):
            answer += data
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408 ")
    if sent.endswith(b"{"):
        assert json.loads(body)["error"]["code"] == "timeout"
    assert not replica.asked.is_set()


@pytest.mark.parametrize(
    ("status", "code"), [(408, "timeout"), (500, "outcome_unknown"), (503, "overloaded")]
)
def test_what_serve_says_in_plain_text_becomes_json(url: str, status: int, code: str) -> None:
    answer = ask("GET", f"{url}/status/{status}")
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["retry-after"] == "1"
    assert answer.json()["error"]["code"] == code


def test_without_a_replica_the_answer_is_json_and_not_final(url: str, replica: ReplicaServer) -> None:
    replica.shutdown()
    replica.server_close()
    answer = ask("POST", f"{url}/v1/events", json={})
    assert answer.status_code in (502, 503, 504)
    assert answer.headers["retry-after"] == "1"
    assert answer.json()["error"]["code"] == "outcome_unknown"


def test_the_proxy_refuses_what_the_replicas_cannot_hold(url: str, replica: ReplicaServer) -> None:
    with httpx.Client(trust_env=False, timeout=WAIT_SECONDS) as client, ThreadPoolExecutor(2) as pool:
        held = [pool.submit(ask, "POST", f"{url}/v1/recommend", json={}) for _ in range(2)]
        deadline = time.monotonic() + WAIT_SECONDS
        while replica.holding < 2:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        refused = client.post(f"{url}/v1/recommend", json={"user_id": "1"})
        assert refused.json()["error"]["code"] == "overloaded"
        assert refused.headers["retry-after"] == "1"
        # Events are let in however many wait for recommendations.
        assert client.post(f"{url}/v1/events", json={}).status_code == 200
        replica.released.set()
        assert [one.result(WAIT_SECONDS).status_code for one in held] == [200] * 2
        assert client.post(f"{url}/v1/recommend", json={}).status_code == 200
