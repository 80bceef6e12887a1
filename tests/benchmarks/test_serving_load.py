"""The load generator against a real HTTP server: what is sent, counted, refused, and never answered."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections import Counter
from collections.abc import Iterator

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from benchmarks import serving_load
from benchmarks.serving_line import connect
from benchmarks.serving_load import LOAD, Load, Outcome, Plan


class Api:
    """Answers recommendations, refuses those for ``refused``, hangs up on ``broken``, and keeps count."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.events: Counter[str] = Counter()
        self.early: list[str] = []
        self.left_out: list[tuple[str, ...]] = []
        self.queries: list[str] = []
        self.searches: list[str] = []
        self.port = 0

    async def recommend(self, request: Request) -> Response:
        body = await request.json()
        user = body["user_id"]
        self.asked[user] += 1
        self.left_out.append(tuple(body.get("exclude", ())))
        self.queries.extend(body[key] for key in ("query",) if key in body)
        if self.asked[user] > self.events[user]:
            self.early.append(user)
        if user == "slow":
            await asyncio.sleep(0.3)
        if user == "refused":
            return JSONResponse({"error": {}}, 503, {"Connection": "close"})
        return JSONResponse({"items": [], "degraded": ["ranking"] if user == "degraded" else []})

    async def store(self, request: Request) -> Response:
        listed = (await request.json())["events"]
        self.events.update(event["user_id"] for event in listed)
        self.searches.extend(event["text"] for event in listed if event["event"] == "search")
        assert all("item_id" in event for event in listed if event["event"] != "search")
        return JSONResponse({"accepted": len(listed)}, 202)

    async def live(self, request: Request) -> Response:
        self.asked["live"] += 1
        return PlainTextResponse("")


@pytest.fixture
def api() -> Iterator[Api]:
    served = Api()
    app = Starlette(
        routes=[
            Route("/v1/recommend", served.recommend, methods=["POST"]),
            Route("/v1/events", served.store, methods=["POST"]),
            Route("/v1/health/live", served.live),
        ]
    )
    listening = socket.create_server(("127.0.0.1", 0))
    served.port = listening.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    yield served
    server.should_exit = True
    thread.join(20)


def test_every_answer_of_a_closed_loop_is_counted_once(api: Api) -> None:
    outcome = serving_load.run(Plan(api.port, "/v1/health/live", connections=4, seconds=0.3))
    assert len(outcome.answers) == api.asked["live"] > 4
    assert {status for status, _ in outcome.answers} == {200}
    assert outcome.seconds >= 0.3
    assert outcome.cpu[LOAD] > 0


def test_what_is_refused_or_degraded_is_told_apart(api: Api) -> None:
    users = ("good", "refused", "degraded")
    outcome = asyncio.run(Load(Plan(api.port, "/v1/recommend", 3, 0.4, users=users)).go())
    statuses = Counter(status for status, _ in outcome.answers)
    # The first answer of each is not counted.
    assert statuses == {200: api.asked["good"] + api.asked["degraded"] - 2, 503: api.asked["refused"] - 1}
    assert len(outcome.latencies()) == statuses[200]
    assert len(outcome.latencies(good=False)) == statuses[503]
    assert outcome.degraded == api.asked["degraded"] - 1 > 0


def test_a_fresh_load_stores_an_event_before_each_request(api: Api) -> None:
    users = [f"user {number}" for number in range(30)]
    plan = Plan(api.port, "/v1/recommend", 5, 0.2, users=users, items=["a", "b"], fresh=True)
    outcome = asyncio.run(Load(plan).go())
    assert len(outcome.answers) == api.asked.total() >= 30
    # Never twice for one event: every user once a round, and the last round may end early.
    assert api.early == []
    (rounds,) = set(api.events.values())
    assert set(api.asked.values()) <= {rounds, rounds - 1}


def test_a_mixed_load_asks_what_nobody_has_asked_before(api: Api) -> None:
    users, items = ["a", "b"], [f"i{n}" for n in range(500)]
    plan = Plan(api.port, "/v1/recommend", 4, 0.5, users=users, items=items, novel=0.5)
    outcome = serving_load.run(plan)
    usual, others = api.left_out.count(()), [one for one in api.left_out if one]
    assert len(outcome.answers) + len(users) == len(api.left_out)
    assert 0.2 < len(others) / len(outcome.answers) < 0.8
    assert len({frozenset(one) for one in others}) > 0.9 * len(others)
    assert usual > len(users)


def test_texts_are_written_once(api: Api) -> None:
    users, texts = [f"u{n}" for n in range(50)], ["a film", "a crime", "a joke"]
    queries = Plan(api.port, "/v1/recommend", 4, 0.5, users=users, texts=texts, queries=0.5)
    asked = len(serving_load.run(queries).answers)
    assert 0.2 < len(api.queries) / asked < 0.8
    assert len(set(api.queries)) > 0.9 * len(api.queries)
    searches = Plan(
        api.port, "/v1/recommend", 4, 0.3, users=users, items=["i"], fresh=True, texts=texts, searches=0.5
    )
    serving_load.run(searches)
    assert 0.2 < len(api.searches) / api.events.total() < 0.8
    assert len(set(api.searches)) > 0.9 * len(api.searches)


def test_an_open_loop_does_not_wait_for_answers(api: Api) -> None:
    plan = Plan(api.port, "/v1/recommend", 500, 1.0, rate=100, users=["slow"])
    outcome = asyncio.run(Load(plan).go())
    assert len(outcome.answers) == api.asked["slow"] > 50
    # One connection that waits 0.3 s for each answer would get 4.
    assert outcome.most > 10
    assert min(spent for _, spent in outcome.answers) >= 290


def test_an_open_loop_survives_refusals_that_close_the_connection(api: Api) -> None:
    plan = Plan(api.port, "/v1/recommend", 500, 0.5, rate=200, users=["refused"])
    outcome = asyncio.run(Load(plan).go())
    assert {status for status, _ in outcome.answers} == {503}
    assert len(outcome.answers) == api.asked["refused"]


def test_an_open_loop_gives_up_on_what_is_never_answered(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving_load, "WAIT_SECONDS", 0.1)
    plan = Plan(api.port, "/v1/recommend", 500, 0.5, rate=100, users=["slow"])
    outcome = asyncio.run(Load(plan).go())
    assert {status for status, _ in outcome.answers} == {0}
    assert len(outcome.answers) == api.asked["slow"] > 10
    assert outcome.latencies(good=False)[0] >= 100


def test_an_open_loop_without_a_connection_left_fails_at_once(api: Api) -> None:
    plan = Plan(api.port, "/v1/recommend", 2, 0.5, rate=200, users=["slow"])
    outcome = asyncio.run(Load(plan).go())
    assert outcome.most == 3
    # Two at a time are asked, all others count as not answered.
    assert len(outcome.latencies()) == api.asked["slow"]
    assert len(outcome.latencies(good=False)) == len(outcome.answers) - api.asked["slow"] > 10


def test_the_figures_of_an_outcome() -> None:
    answers = [(200, 2.0)] * 98 + [(200, 8.0), (200, 9.0), (503, 0.1), (0, 30_000.0)]
    found = Outcome(seconds=2.0, answers=answers, degraded=1, cpu={LOAD: 0.204}).summary()
    assert (found.rate, found.p50, found.p95, found.p99, found.longest) == (50.0, 2.0, 2.0, 8.0, 9.0)
    assert (found.failed, found.degraded) == (2, 1)
    assert found.cpu == pytest.approx({LOAD: 2.0})


class Pieces(asyncio.Protocol):
    """Answers each request the same, in pieces of some size, which arrive one by one."""

    def __init__(self, raw: bytes, size: int) -> None:
        self._raw = raw
        self._size = size

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        raw = self._raw
        pieces = [raw[place : place + self._size] for place in range(0, len(raw), self._size)]
        for number, piece in enumerate(pieces):
            asyncio.get_running_loop().call_later(0.002 * number, self._transport.write, piece)


@pytest.mark.parametrize("size", [3, 40, 1000])
@pytest.mark.parametrize(
    ("head", "body"),
    [
        (b"Content-length: 14", b'{"degraded":1}'),
        (b"Transfer-Encoding: chunked", b'6\r\n{"degr\r\n8\r\naded":1}\r\n0\r\n\r\n'),
        (b"transfer-encoding: chunked", b"0\r\n\r\n"),
        (b"Content-Length: 0", b""),
    ],
)
def test_an_answer_may_come_in_pieces(size: int, head: bytes, body: bytes) -> None:
    raw = b"HTTP/1.1 503 Busy\r\n" + head + b"\r\nX: y\r\n\r\n" + body

    async def ask_twice() -> list[tuple[int, bytes]]:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Pieces(raw, size), "127.0.0.1", 0)
        line = await connect(server.sockets[0].getsockname()[1])
        told: asyncio.Queue[tuple[int, bytes]] = asyncio.Queue()
        answers = []
        for _ in range(2):
            line.send(b"?", lambda _, status, body: told.put_nowait((status, body)))
            answers.append(await asyncio.wait_for(told.get(), 10))
        line.close()
        server.close()
        return answers

    assert asyncio.run(ask_twice()) == [(503, body)] * 2


def test_nobody_there_is_an_answer_too() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with pytest.raises(SystemExit, match="load failed"):
        serving_load.run(Plan(port, "/v1/health/live", 1, 0.2))
