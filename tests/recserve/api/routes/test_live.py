"""`GET /v1/live`: what all replicas have counted, gathered once for all who watch."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx

from recserve.api import create_app
from recserve.api.schemas.about import LiveNowAnswer
from recserve.telemetry.metrics import Metrics, Snapshot


def test_it_counts_what_happens(served: Any) -> None:
    served.post("/v1/recommend", {"user_id": "ada"})
    served.post("/v1/recommend", {"scenario": "nowhere"})
    served.post("/v1/events", {"user_id": "ada", "item_id": "260", "event": "like"})
    answer = LiveNowAnswer.model_validate(served.get("/v1/live").json(), strict=True)
    counts = {(one.route, one.status): one.count for one in answer.requests}
    assert counts["/v1/recommend", "200"] == 1
    assert counts["/v1/recommend", "404"] == 1
    assert [(one.code, one.count) for one in answer.errors] == [("not_found", 1)]
    assert sum(one.count for one in answer.events.accepted) == 1
    assert [stage.stage for stage in answer.stages] == ["ingress"]
    timed = {one.route: sum(one.buckets) for one in answer.latency.requests}
    assert timed["/v1/recommend"] == 2


def test_all_who_watch_share_one_scrape(tmp_path: Path) -> None:
    scrapes = 0
    metrics = Metrics()

    async def scrape() -> list[Snapshot]:
        nonlocal scrapes
        scrapes += 1
        await asyncio.sleep(0.01)
        return [metrics.snapshot()]

    async def watch() -> list[httpx.Response]:
        transport = httpx.ASGITransport(create_app(metrics=metrics, scrape=scrape))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await asyncio.gather(*(client.get("/v1/live") for _ in range(12)))

    answers = asyncio.run(watch())
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["at"] for answer in answers}) == 1
    assert scrapes == 1


def test_the_metrics_page_shows_the_same_scrape(served: Any) -> None:
    served.post("/v1/recommend", {"user_id": "ada"})
    assert "recserve_requests_total{node=" in served.get("/v1/metrics").text
