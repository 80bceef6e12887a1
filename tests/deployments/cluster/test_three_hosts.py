"""A server on three hosts that share no disk: the loop works, and a lost host costs nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks import cluster, cluster_cost
from benchmarks.cluster_strength import replicas
from tests.support.bed import TestBed
from tests.support.scrape import Scrape

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def key(bed: TestBed, files: dict[str, Path]) -> str:
    """The API key of a server on the three hosts."""
    return bed.serve(cluster.CONFIG, files)


def test_every_next_answer_sees_the_event_through_every_proxy(bed: TestBed, key: str) -> None:
    for number in (1, 2, 3):
        for step in range(10):
            user = f"new-{number}-{step}"
            before = bed.call(number, "POST", "/v1/recommend", {"user_id": user, "n": 5}, key)
            liked = before["items"][0]["item_id"]
            bed.call(number, "POST", "/v1/events", {"user_id": user, "item_id": liked, "event": "like"}, key)
            after = bed.call(number % 3 + 1, "POST", "/v1/recommend", {"user_id": user, "n": 5}, key)
            assert not before["degraded"]
            assert not after["degraded"]
            assert liked not in [item["item_id"] for item in after["items"]]
    found = bed.call(2, "POST", "/v1/recommend", {"query": "rockets in space", "n": 5}, key)
    assert not found["degraded"]
    assert {item["attributes"]["topic"] for item in found["items"][:3]} == {"space"}


def test_a_scrape_through_any_proxy_shows_every_replica_of_every_host(bed: TestBed, key: str) -> None:
    before = Scrape(bed.url(1), key)
    for number in (1, 2, 3):
        bed.call(number, "POST", "/v1/recommend", {"user_id": f"counted-{number}", "n": 5}, key)
        scrape = Scrape(bed.url(number), key)
        for stage, count in cluster.WANTED.items():
            assert len(scrape.replicas(stage.lower())) == count
            assert scrape.total("recserve_scrape_missing_replicas", stage=stage.lower()) == 0
        # The head has no replicas.
        assert len({sample.labels["node"] for sample in scrape.samples} - {""}) == 2

    def more(name: str, **labels: str) -> float:
        return scrape.total(name, **labels) - before.total(name, **labels)

    assert more("recserve_requests_total", route="/v1/recommend", status="200") == 3
    assert more("recserve_call_seconds_count", stage="retrieval", call="retrieve") == 3


def test_a_host_without_power_loses_no_event(bed: TestBed, key: str) -> None:
    """Reads and writes go on through the proxy of another host."""
    (cost,) = asyncio.run(cluster.measure(cluster.Parts(bed, key), ["worker-killed"], rate=6.0))
    harmless(cost)


@pytest.mark.long
def test_a_host_that_is_back_takes_replicas_again(bed: TestBed, key: str) -> None:
    """All replicas stood on the other host; full strength is when no host is all of a stage."""
    faults = [] if not replicas([cluster.LOST]) else ["worker-killed"]
    *_, back = asyncio.run(cluster.measure(cluster.Parts(bed, key), [*faults, "worker-back"], rate=6.0))
    harmless(back)
    assert back.strong is not None
    assert set(replicas([cluster.LOST])) == set(cluster.WANTED)


def harmless(cost: cluster_cost.Cost) -> None:
    cluster_cost.show([cost], Console(width=160))
    assert cost.reads > 10
    assert cost.answered > 0
    assert cost.lost == 0
    assert cost.errors_500 == 0
