"""What the cost of experiments is worked out from: states of a server, and ratios of its rounds."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from benchmarks import loop_cost
from benchmarks.loop_cost import Beside, Loop, table
from benchmarks.serving_load import Summary

METRICS = """# TYPE recserve_arm_answers counter
recserve_arm_answers_total{experiment="a",arm="x",outcome="shown"} 9.0
recserve_arm_answers_total{experiment="a",arm="y",outcome="shadow"} 2.0
recserve_arm_answers_total{experiment="b",arm="y",outcome="shadow"} 3.0
recserve_arm_answers_total{experiment="b",arm="y",outcome="dropped"} 1.0
"""


class Server:
    """Server that takes down what it is asked.

    Args:
        refusing: Whether it refuses what is posted.
    """

    def __init__(self, refusing: bool = False) -> None:
        asked = self.asked = []  # type: ignore[var-annotated]
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append((self.path, None))
                self._answer(200, METRICS if self.path == "/v1/metrics" else "{}")

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                asked.append((self.path, json.loads(body)))
                self._answer(409 if server.refusing else 200, "it is there already")

            def _answer(self, status: int, text: str) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        self.refusing = refusing
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        threading.Thread(target=self._http.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stop."""
        self._http.shutdown()
        self._http.server_close()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Such a server, whose experiments run at once."""
    monkeypatch.setattr(loop_cost, "FOLLOWED_SECONDS", 0.0)
    with closing(Server()) as opened:
        yield opened


def summary(rate: float, ingress: float, **more: Any) -> Summary:
    return Summary(
        **{"p50": 1.0, "p95": 2.0, "p99": 3.0, "longest": 4.0, "failed": 0, **more},
        rate=rate,
        degraded=0,
        cpu={"Ingress": ingress},
    )


def test_each_state_is_an_experiment_that_ends(server: Server) -> None:
    with closing(Loop(server.url, "home")) as loop:
        for state in ("off", "a/a", "a/b", "shadow"):
            with loop.state(state):
                server.asked.append((state, None))
    paths = [path for path, _ in server.asked]
    created = [body for path, body in server.asked if path == "/v1/experiments"]
    names = [body["name"] for body in created]
    assert len(set(names)) == 3
    assert paths[0] == "off", "nothing was asked for it"
    assert paths[1:5] == [
        "/v1/experiments",
        f"/v1/experiments/{names[0]}/start",
        "a/a",
        f"/v1/experiments/{names[0]}/stop",
    ]
    first, second, third = ([{**arm, "name": ""} for arm in body["arms"]] for body in created)
    assert first[0] == first[1]
    assert second[0] != second[1]
    assert [arm.get("shadow", False) for arm in third] == [False, False, True]


def test_reports_are_read_as_long_as_the_state_lasts(server: Server) -> None:
    seen = threading.Event()
    with closing(Loop(server.url, "home")) as loop:
        with loop.state("all"):
            while not loop.reports:
                assert not seen.wait(0.01)
        number = loop.reports
        assert sum(path.startswith("/v1/reports/outcomes") for path, _ in server.asked) == number


def test_an_experiment_that_cannot_be_made_ends_the_measurement(server: Server) -> None:
    server.refusing = True
    with (
        closing(Loop(server.url, "home")) as loop,
        pytest.raises(SystemExit, match="it is there already"),
        loop.state("a/a"),
    ):
        raise AssertionError("it has not begun")


def test_shadow_answers_are_read_from_the_metrics(server: Server) -> None:
    with closing(Loop(server.url, "home")) as loop:
        assert loop.shadows() == {"shadow": 5.0, "dropped": 1.0}


def test_ratios_are_to_what_was_measured_right_before_and_after() -> None:
    runs = [
        Beside(summary(90.0, 1.1, failed=1), (summary(110.0, 1.0), summary(90.0, 1.0))),
        Beside(summary(100.0, 2.2), (summary(220.0, 1.9), summary(180.0, 2.1))),
        Beside(summary(50.0, 0.9), (summary(50.0, 1.0), summary(50.0, 1.0))),
    ]
    assert [run.rate for run in runs] == [0.9, 0.5, 1.0]
    console = Console(width=120, record=True, file=StringIO())
    console.print(table({"repeat": {"a/a": runs}}))
    rows = [line.split("│") for line in console.export_text().splitlines() if "a/a" in line]
    cells = [cell.strip() for cell in rows[0][2:-1]]
    assert (cells[:3], cells[4], cells[-1]) == (["a/a", "90", "0.900"], "1.100", "1")
