"""Request ids and spans of a request's stages, through the application."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from recserve.serving.requests.request import Request
from recserve.telemetry.requests import RequestContext, current, enter, leave
from recserve.telemetry.tracing import disable, recorder
from tests.support.otlp import OtlpReceiver, recording

TRACE = "0af7651916cd43dd8448eb211c80319c"
HEADERS = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01", "x-request-id": "checkout-42"}
STAGES = {"store", "batch", "encoding", "retrieval", "ranking", "reranking", "explaining"}


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[OtlpReceiver]:
    with recording(monkeypatch, "ingress") as started:
        yield started


def test_the_answer_has_the_id_of_its_request(served: Any) -> None:
    answer = served.post("/v1/recommend", {"user_id": "ada"}, headers=HEADERS)
    assert answer.headers.get_list("x-request-id") == ["checkout-42"]
    refused = served.post("/v1/recommend", {"n": 0}, headers=HEADERS)
    assert refused.headers["x-request-id"] == "checkout-42"
    made = {served.get("/v1/about").headers["x-request-id"] for _ in range(3)}
    assert len(made) == 3


def test_log_lines_know_their_request_in_threads_of_plugins_too(
    served: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[tuple[str, RequestContext]] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append((record.name, current()))

    handler = Collect()
    monkeypatch.setattr(logging.getLogger("recserve"), "level", logging.INFO)
    logging.getLogger("recserve").addHandler(handler)
    logging.getLogger("a.plugin").addHandler(handler)
    logging.getLogger("a.plugin").setLevel(logging.INFO)

    def explain(reasons: Any) -> Any:
        logging.getLogger("a.plugin").info("explaining")
        raise RuntimeError("no words for this")

    pipeline = served.app.state.backend._served()
    monkeypatch.setattr(pipeline.context.explainers["home"], "explain", explain, raising=False)
    try:
        served.post("/v1/recommend", {"user_id": "ada"}, headers=HEADERS)
    finally:
        logging.getLogger("recserve").removeHandler(handler)
        logging.getLogger("a.plugin").removeHandler(handler)
    names = [name for name, _ in lines]
    assert "a.plugin" in names
    assert "recserve.serving.guard.failures" in names
    assert {context.request_ids for _, context in lines} == {("checkout-42",)}


def test_each_stage_of_a_request_is_a_span_of_its_trace(served: Any, receiver: OtlpReceiver) -> None:
    served.post("/v1/recommend", {"user_id": "ada", "query": "space"}, headers=HEADERS)
    disable()
    found = {span.name: span for span in receiver.of(TRACE)}
    assert set(found) == {"ingress", *STAGES}
    assert found["ingress"].parent == "b7ad6b7169203331"
    assert found["ingress"].attributes["http.response.status_code"] == 200
    assert {name: span.parent for name, span in found.items() if name != "ingress"} == {
        "store": found["ingress"].id,
        "batch": found["ingress"].id,
        **dict.fromkeys(STAGES - {"store", "batch"}, found["batch"].id),
    }
    assert {tuple(span.attributes["recserve.request_ids"]) for span in found.values()} == {("checkout-42",)}


def test_requests_of_one_batch_share_spans_by_links(served: Any, receiver: OtlpReceiver) -> None:
    spans = recorder()
    assert spans is not None
    requests: list[Request] = []
    for number in range(3):
        token = enter(RequestContext((f"r{number}",)))
        with spans.request(None):
            requests.append(Request(user_id=f"user-{number}"))
        leave(token)
    pipeline = served.app.state.backend._served()
    asyncio.run(pipeline.recommend(requests))
    disable()
    ingress = {span.id: span.trace for span in receiver.spans if span.name == "ingress"}
    for name in ("store", "batch"):
        mine = [span for span in receiver.spans if span.name == name]
        assert {span.trace for span in mine} == set(ingress.values())
        (whole,) = [span for span in mine if len(span.links) == 2]
        assert whole.links | {whole.parent} == set(ingress)
    (ranking,) = [span for span in receiver.spans if span.name == "ranking"]
    assert sorted(ranking.attributes["recserve.request_ids"]) == ["r0", "r1", "r2"]
