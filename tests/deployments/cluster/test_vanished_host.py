"""HAProxy of a joined cluster and a host that vanishes without a word; the real program and file, no Ray."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from recserve_deployments.local_server import haproxy, ports

from tests.deployments.conftest import free_port
from tests.support.bed import proxy_program
from tests.support.hosts import Hosts

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(300)]

REPLICA_PORT = 30_000
WAIT_SECONDS = 30
REPLICA = """
import sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Replica(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.answer(b"fine")

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(0.2)
        self.answer(f"{sys.argv[1]} {self.headers['x-recserve-call']}".encode())

    def answer(self, body):
        # In one piece: an answer that was begun cannot be begun again.
        head = f"HTTP/1.1 200 OK\\r\\nContent-Length: {len(body)}\\r\\n\\r\\n"
        self.wfile.write(head.encode() + body)

    def log_message(self, *arguments):
        pass

class Server(ThreadingHTTPServer):
    request_queue_size = 128

Server((sys.argv[1], %d), Replica).serve_forever()
"""


@pytest.fixture
def url(hosts: Hosts, programs: Path, tmp_path: Path) -> Iterator[str]:
    """The API behind HAProxy, with a replica on each of two hosts."""
    replicas = []
    for number in (1, 2):
        command = [sys.executable, "-c", REPLICA % REPLICA_PORT, hosts.address(number)]
        replicas.append(hosts.popen(number, command, stderr=subprocess.DEVNULL))
    port = free_port()
    file = haproxy.generated(tmp_path, port, host="0.0.0.0")
    lines = [rf"    server r{number} {hosts.address(number)}:{REPLICA_PORT}\1" for number in (1, 2)]
    file.write_text(re.sub(r" *server one \S+( check.*)", "\n".join(lines), file.read_text()))
    proxy = subprocess.Popen([str(proxy_program(programs)), "-db", "-f", str(file)])
    end = time.monotonic() + WAIT_SECONDS
    while not ports.accepts(f"127.0.0.1:{port}"):
        assert proxy.poll() is None
        assert time.monotonic() < end
        time.sleep(0.05)
    yield f"http://127.0.0.1:{port}"
    for process in (proxy, *replicas):
        process.kill()
        process.wait(WAIT_SECONDS)


def test_what_was_on_its_way_to_a_host_that_vanished_is_answered_by_another(url: str, hosts: Hosts) -> None:
    asked: list[tuple[float, float, int, str]] = []
    failed: list[tuple[float, str]] = []
    ended = threading.Event()

    def ask() -> None:
        with httpx.Client(trust_env=False, timeout=WAIT_SECONDS) as client:
            while not ended.is_set():
                began = time.monotonic()
                try:
                    answer = client.post(f"{url}/v1/events", json={})
                except httpx.HTTPError as error:
                    failed.append((began, repr(error)))
                else:
                    asked.append((began, time.monotonic() - began, answer.status_code, answer.text))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    time.sleep(3)
    hosts.cut(2)
    cut = time.monotonic()
    time.sleep(6)
    ended.set()
    for thread in threads:
        thread.join(WAIT_SECONDS)
    before = [call for call in asked if call[0] + call[1] < cut]
    waiting = [call for call in asked if call[0] < cut <= call[0] + call[1]]
    longest = max(took for _, took, _, _ in asked)
    print(f"{len(asked)} requests, {len(waiting)} under way at the cut, the longest took {longest:.2f} s")
    assert not failed, [(began - cut, error) for began, error in failed]
    assert {status for _, _, status, _ in asked} == {200}
    assert {text.split()[0] for *_, text in before} == {hosts.address(1), hosts.address(2)}
    assert {text.split()[0] for began, _, _, text in asked if began > cut} == {hosts.address(1)}
    assert len({text.split()[1] for *_, text in asked}) == len(asked), "each call has a name of its own"
