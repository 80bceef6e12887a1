"""Traces across the processes of a server, and JSON logs that name the request in each of them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.evil.site import SCENARIO, EvilSite
from recserve.telemetry.instruments import (
    ARM_ANSWERS,
    COMPONENT_OUTCOMES,
    EVENT_TEXTS,
    STREAM_BEHIND,
    STREAM_CHANGES,
    UNASSIGNED,
)
from tests.support.otlp import OtlpReceiver
from tests.support.promql import problems, queries

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(600)]

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
REPLICA_SPANS = {
    ("retrieve", "recserve-retrieval"),
    ("encode", "recserve-encoding"),
    ("rank", "recserve-ranking"),
}
INGRESS_SPANS = {"ingress", "store", "batch", "encoding", "retrieval", "ranking", "reranking", "explaining"}


@pytest.fixture(scope="module")
def receiver() -> Iterator[OtlpReceiver]:
    with OtlpReceiver() as started:
        yield started


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> EvilSite:
    return EvilSite(tmp_path_factory.mktemp("evil"))


@pytest.fixture(scope="module")
def server(site: EvilSite, receiver: OtlpReceiver, new_server: Callable[[], Any]) -> Iterator[Any]:
    """A server that traces and writes JSON, with the scenario ``evil`` beside the usual ones."""
    made = new_server()
    path = made.home / "recserve.yaml"
    config = yaml.safe_load(path.read_text())
    config["scenarios"]["evil"] = dict(SCENARIO)
    config["server"] = {"topology": "staged", "tracing": True, "log_format": "json"}
    path.write_text(yaml.safe_dump(config))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in site.environment.items():
            patch.setenv(name, value)
        patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.endpoint)
        patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "200")
        made.start()
        yield made
        made.run("stop")


def ask(server: Any, headers: dict[str, str], **body: Any) -> httpx.Response:
    return httpx.post(f"{server.url}/v1/recommend", json=body, headers=headers, timeout=30, trust_env=False)


def scrape(server: Any) -> str:
    return httpx.get(f"{server.url}/v1/metrics", timeout=20, trust_env=False).text


def test_one_trace_goes_through_all_stages(server: Any, receiver: OtlpReceiver) -> None:
    headers = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01", "x-request-id": "trace-1"}
    answer = ask(server, headers, user_id="user-1", query="trains", n=5)
    assert answer.status_code == 200
    assert answer.headers.get_list("x-request-id") == ["trace-1"]
    receiver.wait(lambda spans: {(span.name, span.service) for span in receiver.of(TRACE)} >= REPLICA_SPANS)
    receiver.wait(lambda spans: {span.name for span in receiver.of(TRACE)} >= INGRESS_SPANS)
    found = {span.name: span for span in receiver.of(TRACE)}
    assert found["ingress"].parent == "00f067aa0ba902b7"
    assert found["ingress"].attributes["http.route"] == "/v1/recommend"
    for stage, call in (("retrieval", "retrieve"), ("encoding", "encode"), ("ranking", "rank")):
        assert found[stage].parent == found["batch"].id
        assert found[call].parent == found[stage].id
        assert found[call].attributes["recserve.request_ids"] == ["trace-1"]


def test_a_request_that_is_not_sampled_leaves_no_spans(server: Any, receiver: OtlpReceiver) -> None:
    silent, loud = "5" * 32, "6" * 32
    ask(server, {"traceparent": f"00-{silent}-00f067aa0ba902b7-00"}, user_id="user-2", query="boats")
    ask(server, {"traceparent": f"00-{loud}-00f067aa0ba902b7-01"}, user_id="user-3", query="planes")
    receiver.wait(lambda spans: {"ingress", "rank"} <= {span.name for span in receiver.of(loud)})
    assert receiver.of(silent) == []


def test_the_log_of_each_stage_names_the_request(server: Any, site: EvilSite) -> None:
    site.tell({"retriever": "panic", "ranker": "exit", "explainer": "interrupt"})
    try:
        answer = ask(server, {"x-request-id": "evil-1"}, user_id="user-3", scenario="evil", n=5)
    finally:
        site.tell({})
    assert answer.status_code == 200
    assert answer.json()["degraded"]
    logs = Path(server.state.ray_logs) / "serve"
    lines = [
        json.loads(line)
        for path in logs.glob("replica_recserve_*.log")
        for line in path.read_text(errors="replace").splitlines()
    ]
    about = {line["stage"] for line in lines if line.get("request_ids") == ["evil-1"]}
    assert about == {"ingress", "retrieval", "ranking"}
    assert all(line["replica"] and line["node"] for line in lines if "stage" in line)


def test_every_query_of_the_dashboard_finds_its_metrics(server: Any) -> None:
    """On a server that has answered, refused, degraded, stored, and has an experiment."""
    ask(server, {}, user_id="user-1", scenario="nowhere")
    server.post("/v1/events", {"user_id": "user-1", "item_id": "item-1", "event": "view"})
    server.post("/v1/events", {"user_id": "user-1", "event": "search", "text": "trains"})
    experiment = {"name": "seen", "scenario": "home", "arms": [{"name": "control"}, {"name": "other"}]}
    server.post("/v1/experiments", experiment)
    server.post("/v1/experiments/seen/start", {})
    # The text's vector is stored in the background, and replicas follow experiments.
    awaited = [instrument.name + "{" for instrument in (EVENT_TEXTS, ARM_ANSWERS, UNASSIGNED)]
    deadline = time.monotonic() + 60
    while missing := [name for name in awaited if name not in (text := scrape(server))]:
        assert time.monotonic() < deadline, missing
        ask(server, {}, user_id="user-1", scenario="home")
        ask(server, {}, item_id="item-1", scenario="home")
        time.sleep(0.2)
    known: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            known.setdefault(sample.name, set()).update(sample.labels)
    # Of commands of their own, and of components that this server does not have.
    for instrument in (COMPONENT_OUTCOMES, STREAM_CHANGES, STREAM_BEHIND):
        known.setdefault(instrument.name, set()).update(instrument.labels)
    dashboard = Path(__file__).parents[2] / "deployments" / "observability" / "grafana.json"
    assert [wrong for query, legend in queries(dashboard) for wrong in problems(query, legend, known)] == []
