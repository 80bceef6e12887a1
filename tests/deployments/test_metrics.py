"""One scrape shows every replica of every stage."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any, Protocol

import httpx
import psutil
import pytest

from tests.support.scrape import Scrape

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(600)]

STAGES = {"ingress", "retrieval", "encoding", "ranking"}


class Server(Protocol):
    """What these tests use of the fixture in conftest.py."""

    home: Path
    url: str

    def replicas(self, deployment: str) -> list[psutil.Process]: ...
    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]: ...


def wait_for_scrape(server: Server, wanted: Any, seconds: float = 60) -> Scrape:
    end = time.monotonic() + seconds
    while not wanted(found := Scrape(server.url)):
        assert time.monotonic() < end, "this did not happen in time"
        time.sleep(0.2)
    return found


def test_every_scrape_shows_all_stages(server: Server) -> None:
    before = Scrape(server.url)
    for number in range(3):
        server.post("/v1/recommend", {"user_id": f"metrics-{number}", "query": f"trains {number}"})
    server.post("/v1/events", {"user_id": "metrics-0", "item_id": "item-1", "event": "view"})
    after = Scrape(server.url)

    def more(name: str, **labels: str) -> float:
        return after.total(name, **labels) - before.total(name, **labels)

    for stage in STAGES:
        assert len(after.replicas(stage)) == 1
        assert after.total("recserve_bundle_info", stage=stage) == 1
        assert after.total("recserve_process_memory_bytes", stage=stage) > 10_000_000
        assert after.total("recserve_scrape_missing_replicas", stage=stage) == 0
    assert more("recserve_requests_total", route="/v1/recommend", status="200") == 3
    assert more("recserve_exposures_total", scenario="home") == 3
    assert more("recserve_events_accepted_total", event="view") == 1
    for stage, call in (("retrieval", "retrieve"), ("encoding", "encode"), ("ranking", "rank")):
        assert more("recserve_call_seconds_count", stage=stage, call=call) == 3
        assert more("recserve_batch_size_sum", stage=stage, call=call) == 3
    for step in ("history", "encoding", "retrieval", "ranking", "reranking", "explaining"):
        assert more("recserve_step_seconds_count", stage="ingress", step=step) == 3
    assert more("recserve_cache_lookups_total", stage="ingress", cache="result", outcome="miss") == 3
    assert more("recserve_cache_lookups_total", stage="encoding", cache="text", outcome="miss") == 3
    (node,) = {sample.labels["node"] for sample in after.samples} - {""}
    assert node


def test_a_replica_that_hangs_is_missed_and_costs_the_others_nothing(server: Server) -> None:
    (hanging,) = server.replicas("Encoding")
    hanging.send_signal(signal.SIGSTOP)
    try:
        scrape = Scrape(server.url)
    finally:
        hanging.send_signal(signal.SIGCONT)
    assert scrape.total("recserve_scrape_missing_replicas", stage="encoding") == 1
    assert {stage for stage in STAGES if scrape.replicas(stage)} == STAGES - {"encoding"}
    wait_for_scrape(server, lambda found: found.replicas("encoding"))


def test_a_replica_that_died_leaves_no_stale_series(server: Server) -> None:
    (old,) = Scrape(server.url).replicas("retrieval")
    (process,) = server.replicas("Retrieval")
    process.kill()
    scrape = wait_for_scrape(server, lambda found: found.replicas("retrieval") - {old})
    assert old not in scrape.replicas("retrieval")
    assert {stage for stage in STAGES if scrape.replicas(stage)} == STAGES


def test_the_console_is_told_of_every_stage(server: Server) -> None:
    server.post("/v1/recommend", {"user_id": "watched", "query": "trains to watch"})
    time.sleep(2.1)  # what was gathered before may be given for two seconds
    live = httpx.get(f"{server.url}/v1/live", timeout=20, trust_env=False).json()
    assert [stage["stage"] for stage in live["stages"]] == ["ingress", "encoding", "retrieval", "ranking"]
    assert [stage["missing"] for stage in live["stages"]] == [0, 0, 0, 0]
    (bundle,) = {one["bundle"] for stage in live["stages"] for one in stage["replicas"]}
    ready = httpx.get(f"{server.url}/v1/health/ready", timeout=20, trust_env=False).json()
    assert bundle == live["bundle"]["id"] == ready["bundle"]
    assert live["bundle"]["age_seconds"] > 0
    asked = {"user_id": "watched", "preview": True}
    assert server.post("/v1/recommend", {**asked, "bundle": bundle})["bundle"] == bundle
    other = httpx.post(
        f"{server.url}/v1/recommend", json={**asked, "bundle": "x"}, timeout=20, trust_env=False
    )
    assert (other.status_code, bundle in other.json()["error"]["message"]) == (404, True)
    assert {"history", "retrieval", "ranking"} <= {step["step"] for step in live["latency"]["steps"]}
    scrape = Scrape(server.url)
    for stage in live["stages"]:
        assert {one["replica"] for one in stage["replicas"]} == scrape.replicas(stage["stage"])
