"""Closed loops driven by wrk: what its line means, and wrk itself against a real HTTP server."""

from __future__ import annotations

import asyncio
import json
import os
import random
import socket
import threading
from collections import Counter
from collections.abc import Iterator

import pytest

from benchmarks import serving_wrk
from benchmarks.common import quantile
from benchmarks.serving_load import LOAD, Plan

needs_wrk = pytest.mark.skipif(not serving_wrk.available(), reason="wrk is not on the PATH")


class Server:
    """Answers by user: ``refused`` with 503, ``degraded`` without a stage, ``dropped`` never."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.port = 0
        self.started = threading.Event()
        self.stop: asyncio.Event
        self.loop: asyncio.AbstractEventLoop

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
                body = json.loads(await reader.readexactly(length) or "{}")
                user = body.get("user_id", "")
                self.asked[user] += 1
                if user == "dropped" and self.asked[user] > 1:
                    break
                status = "503 Refused" if user == "refused" else "200 OK"
                answer = {"degraded": ["ranking"] if user == "degraded" else [], "items": []}
                content = json.dumps(answer, separators=(",", ":")).encode()
                writer.write(
                    f"HTTP/1.1 {status}\r\nContent-Length: {len(content)}\r\n\r\n".encode() + content
                )
        except (OSError, EOFError):
            pass
        writer.close()

    async def serve(self) -> None:
        self.loop, self.stop = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self.answer, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self.started.set()
        await self.stop.wait()
        server.close()


@pytest.fixture
def server() -> Iterator[Server]:
    served = Server()
    thread = threading.Thread(target=lambda: asyncio.run(served.serve()))
    thread.start()
    assert served.started.wait(20)
    yield served
    served.loop.call_soon_threadsafe(served.stop.set)
    thread.join(20)


def line(spent: list[tuple[int, int]], seconds: float = 1.0, **changes: int) -> dict[str, object]:
    """What the script prints; JSON has lists for pairs."""
    answered = sum(count for _, count in spent)
    counts = dict.fromkeys(("degraded", "connect", "read", "write", "status", "timeout"), 0)
    found = {"microseconds": int(seconds * 1e6), "sent": answered, "answered": answered, **counts, **changes}
    return {**found, "spent": [list(pair) for pair in spent]}


def corrected(spent: list[tuple[int, int]], mean: int) -> list[tuple[int, int]]:
    """As wrk 4.1 corrects what it recorded, written as it does it."""
    counts = Counter(dict(spent))
    for value, count in sorted(spent):
        if value >= 2 * mean:
            other = value - mean
            while other > mean:
                counts[other] += count
                other -= mean
    # What is shorter than the shortest that was recorded is not in the line.
    return sorted((value, count) for value, count in counts.items() if value >= min(dict(spent)))


def test_the_figures_of_a_run() -> None:
    spent = [(1000, 50), (2000, 45), (3000, 4), (9000, 1)]
    found = serving_wrk.summary_of(line(spent, seconds=2.0, degraded=3), 4, {"server": 0.3, LOAD: 0.01})
    assert found.rate == 50.0
    assert (found.p50, found.p95, found.p99, found.longest) == (1.0, 2.0, 3.0, 9.0)
    assert (found.failed, found.degraded) == (0, 3)
    assert found.cpu == pytest.approx({"server": 3.0, LOAD: 0.1})


def test_whatever_was_not_answered_well_counts_as_failed() -> None:
    # 100 answers, 7 of them refusals; 130 were sent, at most 10 are under way: 20 were lost, and wrk saw 5.
    found = serving_wrk.summary_of(line([(1000, 100)], sent=130, status=7, read=5, connect=2), 10, {})
    assert found.failed == 7 + 20 + 2
    assert found.rate == 93.0
    # Late answers are answers, but have no latency.
    found = serving_wrk.summary_of(line([(1000, 100)], answered=104, sent=104, timeout=4), 10, {})
    assert (found.failed, found.rate) == (4, 100.0)


def test_without_an_answer_there_is_no_latency() -> None:
    found = serving_wrk.summary_of(line([], sent=3), 4, {LOAD: 0.1})
    assert found.rate == 0
    assert found.p50 != found.p50


@pytest.mark.parametrize("seed", range(5))
def test_what_wrk_adds_to_latencies_is_taken_out_again(seed: int) -> None:
    chooser = random.Random(seed)
    connections = chooser.choice((1, 16))
    recorded = Counter(int(chooser.lognormvariate(6, 1.5)) + 1 for _ in range(5000))
    spent = sorted(recorded.items())
    seconds = sum(value * count for value, count in spent) / connections / 1e6
    mean = int(seconds * 1e6) // (5000 // connections)
    counted = line(spent, seconds)
    counted["spent"] = [list(pair) for pair in corrected(spent, mean)]
    assert counted["spent"] != [list(pair) for pair in spent]
    found = serving_wrk.summary_of(counted, connections, {})
    values = list(recorded.elements())
    assert [found.p50, found.p95, found.p99] == [quantile(values, q) / 1000 for q in (0.5, 0.95, 0.99)]


def test_a_wrk_that_counts_otherwise_is_refused() -> None:
    with pytest.raises(SystemExit, match="another way"):
        serving_wrk.summary_of(line([(1000, 100), (5000, 10)], answered=100), 1, {})


def test_loads_with_events_are_not_for_wrk() -> None:
    with pytest.raises(SystemExit, match="closed loops"):
        serving_wrk.run(Plan(1, "/v1/recommend", 1, 1.0, users=["a"], items=["b"], fresh=True))


@needs_wrk
def test_every_answer_of_a_real_run_is_counted_once(server: Server) -> None:
    users = [f"user {number}" for number in range(50)]
    plan = Plan(server.port, "/v1/recommend", 4, 1.0, users=users, processes={"tests": [os.getpid()]})
    found = serving_wrk.run(plan)
    assert set(server.asked) == set(users)
    # Everybody once beforehand; the run is a second long, or somewhat longer.
    assert 0 < found.rate <= server.asked.total() - len(users)
    assert (found.failed, found.degraded) == (0, 0)
    assert 0 < found.p50 <= found.p95 <= found.p99 <= found.longest
    assert found.cpu[LOAD] > 0
    assert found.cpu["tests"] > 0


@needs_wrk
def test_a_real_run_tells_refused_and_degraded_answers_apart(server: Server) -> None:
    users = ("good", "refused", "degraded")
    found = serving_wrk.run(Plan(server.port, "/v1/recommend", 4, 1.0, users=users, seed=7))
    # The first answer of each is not counted, and four may be under way at the end.
    assert found.failed == pytest.approx(server.asked["refused"] - 1, abs=4)
    assert found.degraded == pytest.approx(server.asked["degraded"] - 1, abs=4)
    assert found.failed > 10 < found.degraded


@needs_wrk
def test_requests_that_are_never_answered_are_noticed(server: Server) -> None:
    found = serving_wrk.run(Plan(server.port, "/v1/recommend", 2, 1.0, users=("good", "dropped")))
    assert found.failed == pytest.approx(server.asked["dropped"] - 1, abs=4)
    assert found.failed > 10


@needs_wrk
def test_a_page_without_users_is_asked_for_by_get(server: Server) -> None:
    found = serving_wrk.run(Plan(server.port, "/v1/health/live", 2, 1.0))
    assert set(server.asked) == {""}
    assert found.failed == 0
    assert found.rate > 0


@needs_wrk
def test_nobody_there_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with pytest.raises(SystemExit, match="wrk failed"):
        serving_wrk.run(Plan(port, "/v1/health/live", 1, 1.0))
