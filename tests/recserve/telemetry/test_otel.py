"""Spans, sent by OTLP to a real receiver."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from recserve.telemetry.otel import parsed
from recserve.telemetry.requests import RequestContext, current, enter, leave
from recserve.telemetry.tracing import disable, recorder, span
from tests.support.otlp import OtlpReceiver, recording

TRACE = "0af7651916cd43dd8448eb211c80319c"
GIVEN = f"00-{TRACE}-b7ad6b7169203331-01"


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[OtlpReceiver]:
    with recording(monkeypatch, "ranking") as started:
        yield started


def test_work_lies_below_the_request_that_came_with_a_traceparent(receiver: OtlpReceiver) -> None:
    spans = recorder()
    assert spans is not None
    token = enter(RequestContext(("r1",)))
    with spans.request(GIVEN.encode()) as answered:
        with span("batch", queries=3), pytest.raises(ValueError), span("rank"):
            raise ValueError("a secret")
        answered("POST", "/v1/recommend", 503)
    leave(token)
    disable()
    found = {one.name: one for one in receiver.spans}
    assert {one.trace for one in receiver.spans} == {TRACE}
    assert found["ingress"].parent == "b7ad6b7169203331"
    assert found["batch"].parent == found["ingress"].id
    assert found["rank"].parent == found["batch"].id
    assert found["batch"].attributes["recserve.queries"] == 3
    assert found["ingress"].attributes["http.route"] == "/v1/recommend"
    assert found["ingress"].attributes["recserve.request_ids"] == ["r1"]
    assert {name: one.failed for name, one in found.items()} == {
        "ingress": True,
        "batch": False,
        "rank": True,
    }
    assert {one.service for one in receiver.spans} == {"recserve-ranking"}
    assert "a secret" not in str(receiver.spans)


def test_a_batch_links_to_all_its_requests_and_each_of_them_to_it(receiver: OtlpReceiver) -> None:
    spans = recorder()
    assert spans is not None
    requests = []
    for _ in range(3):
        with spans.request(None):
            requests += current().traceparents
    token = enter(RequestContext((), tuple(requests)))
    with span("batch"), span("rank"):
        pass
    leave(token)
    disable()
    ingress = [one for one in receiver.spans if one.name == "ingress"]
    assert len({one.trace for one in ingress}) == 3
    (batch,) = [one for one in receiver.spans if one.name == "batch" and len(one.links) == 2]
    shared = [one for one in receiver.spans if one.name == "batch" and one is not batch]
    first, *others = sorted(ingress, key=lambda one: one.id != batch.parent)
    assert batch.parent == first.id
    assert batch.links == {one.id for one in others}
    assert {one.parent for one in shared} == {one.id for one in others}
    assert {one.links for one in shared} == {frozenset({batch.id})}
    assert [one.parent for one in receiver.spans if one.name == "rank"] == [batch.id]


def test_a_request_that_is_not_sampled_is_not_recorded(receiver: OtlpReceiver) -> None:
    spans = recorder()
    assert spans is not None
    with spans.request(f"{GIVEN[:-2]}00".encode()):
        unsampled = current().traceparents
        with span("rank"):
            pass
    with spans.request(None):
        sampled = current().traceparents
    token = enter(RequestContext((), (*unsampled, *sampled)))
    with span("batch"):
        pass
    leave(token)
    disable()
    assert receiver.of(TRACE) == []
    assert sorted(one.name for one in receiver.spans) == ["batch", "ingress"]


@pytest.mark.parametrize(
    "header",
    [
        "",
        "00",
        f"00-{TRACE}-b7ad6b7169203331",
        f"ff-{TRACE}-b7ad6b7169203331-01",
        f"00-{TRACE}-b7ad6b7169203331-01-more",
        f"00-{'0' * 32}-b7ad6b7169203331-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[:-1]}-b7ad6b7169203331-01",
        f"00-{TRACE[:-1]}x-b7ad6b7169203331-01",
    ],
)
def test_a_bad_traceparent_begins_a_new_trace(header: str) -> None:
    assert parsed(header) is None


def test_off_nothing_is_recorded_or_imported() -> None:
    script = (
        "import sys, recserve.api, recserve.serving.pipeline\n"
        "from recserve.telemetry.tracing import recorder, span\n"
        "assert recorder() is None\n"
        "with span('rank', size=1): pass\n"
        "ours = ('recserve.telemetry.otel', 'opentelemetry.sdk', 'opentelemetry.exporter')\n"
        "print([name for name in sys.modules if name.startswith(ours)])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
