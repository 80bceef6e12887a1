"""What a server counts of itself, as a scrape of Prometheus reads it."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from recserve.api import ApiSettings, create_app
from recserve.telemetry.instruments import (
    DEGRADED,
    EVENTS_STORED,
    LIVE_ITEMS,
    ORIGIN_LABELS,
    QUEUE_LENGTH,
    REQUEST_SECONDS,
    REQUESTS,
)
from recserve.telemetry.metrics import Metrics, Origin, render

VIEW = {"user_id": "ada", "item_id": "1", "event": "view", "event_id": "once"}

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def parsed(text: str) -> Samples:
    """Samples without the labels that say where they come from."""
    return {
        (sample.name, labels_of(sample)): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def labels_of(sample: Any) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((name, value) for name, value in sample.labels.items() if name not in ORIGIN_LABELS))


def scrape(served: Any) -> Samples:
    answer = served.get("/v1/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return parsed(answer.text)


def requests(samples: Samples, route: str, status: int) -> float:
    return samples.get(("recserve_requests_total", (("route", route), ("status", str(status)))), 0.0)


def test_requests_are_counted_by_route_and_status(served: Any) -> None:
    for _ in range(3):
        served.post("/v1/recommend", {"user_id": "ada"})
    served.post("/v1/recommend", {"n": 0})
    served.get("/v1/recommend")
    for item in ("1", "2", "nobody has this id"):
        served.get(f"/v1/items/{item}")
    served.get("/static/console/main.js")
    served.get("/docs")
    served.get("/an/unknown/path")
    served.get("/another/unknown/path")
    samples = scrape(served)
    assert requests(samples, "/v1/recommend", 200) == 3
    assert requests(samples, "/v1/recommend", 422) == 1
    assert requests(samples, "/v1/recommend", 405) == 1
    assert requests(samples, "/v1/items/{item_id}", 200) == 2
    assert requests(samples, "/v1/items/{item_id}", 404) == 1
    assert requests(samples, "/static/*", 200) == 1
    assert requests(samples, "/docs", 200) == 1
    assert requests(samples, "none", 404) == 2
    seconds = [
        samples["recserve_request_seconds_count", (("route", "/v1/recommend"),)],
        samples["recserve_request_seconds_bucket", (("le", "+Inf"), ("route", "/v1/recommend"))],
    ]
    assert seconds == [5, 5]
    assert samples["recserve_request_seconds_sum", (("route", "/v1/recommend"),)] > 0
    # The scrape itself is counted when it is done.
    assert requests(scrape(served), "/v1/metrics", 200) == 1


def test_events_are_counted_once(served: Any) -> None:
    for _ in range(2):
        assert served.post("/v1/events", VIEW).status_code == 200
    served.post("/v1/events", {"events": [dict(VIEW, event_id=str(number)) for number in range(5)]})
    samples = scrape(served)
    assert samples["recserve_events_stored_total", ()] == 6
    assert samples["recserve_events_accepted_total", (("event", "view"),)] == 7


def test_lost_parts_are_counted(served: Any) -> None:
    served.client.broken = {"ranking"}
    for path, body in (
        ("/v1/recommend", {"user_id": "ada"}),
        ("/v1/similar", {"item_id": "1"}),
        ("/v1/rank", {"user_id": "ada", "items": ["1", "2"]}),
    ):
        assert served.post(path, body).json()["degraded"] == ["ranking"]
    assert served.get("/v1/recommend/ada").json()["degraded"] == ["ranking"]
    served.client.broken = set()
    served.post("/v1/recommend", {"user_id": "ada"})
    lost = (("cause", "failed"), ("part", "ranking"))
    assert scrape(served)["recserve_degraded_total", lost] == 4


def test_errors_are_counted_by_code(served: Any) -> None:
    served.post("/v1/recommend", {"n": 0})
    served.post("/v1/recommend", {"scenario": "nowhere"})
    served.get("/v1/recommend")
    served.get("/an/unknown/path")
    errors = {
        dict(labels)["code"]: value
        for (name, labels), value in scrape(served).items()
        if name == "recserve_errors_total"
    }
    assert errors == {"invalid_request": 1, "not_found": 2, "method_not_allowed": 1}


def test_faults_are_counted_too(served: Any) -> None:
    class Faulty:
        async def recommend(self, request: Any) -> Any:
            raise RuntimeError("a bug")

    served.app.state.backend = Faulty()
    assert served.post("/v1/recommend", {}).status_code == 500
    assert requests(scrape(served), "/v1/recommend", 500) == 1


def test_a_replica_says_who_it_is(served: Any) -> None:
    metrics = Metrics(Origin("ingress", "r1", "n1"))
    app = create_app(served.app.state.backend, ApiSettings(), metrics=metrics)
    served.app = app
    metrics.count(DEGRADED, "store", "store")
    waiting = [1, 2, 3]
    metrics.watch(QUEUE_LENGTH, lambda: {(): len(waiting)})
    metrics.watch(LIVE_ITEMS, lambda: {(): 1 / (len(waiting) - 3)})
    served.get("/v1/about")
    for _ in range(2):
        families = text_string_to_metric_families(served.get("/v1/metrics").text)
        for sample in (sample for family in families for sample in family.samples):
            assert {name: sample.labels[name] for name in ORIGIN_LABELS} == {
                "stage": "ingress",
                "replica": "r1",
                "node": "n1",
            }
    samples = scrape(served)
    assert samples["recserve_degraded_total", (("cause", "store"), ("part", "store"))] == 1
    assert samples["recserve_queue_length", ()] == 3
    assert ("recserve_delta_items", ()) not in samples, "what cannot be read is left out, not the scrape"
    waiting.clear()
    assert scrape(served)["recserve_queue_length", ()] == 0


@pytest.mark.parametrize("threads", [8])
def test_counting_from_many_threads_loses_nothing(threads: int) -> None:
    metrics = Metrics()

    def count() -> None:
        for _ in range(2000):
            metrics.count(REQUESTS, "/v1/recommend", "200")
            metrics.count(EVENTS_STORED, by=2)
            metrics.observe(REQUEST_SECONDS, 0.01, "/v1/recommend")

    workers = [threading.Thread(target=count) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    samples = parsed(render([metrics.snapshot()]).decode())
    assert requests(samples, "/v1/recommend", 200) == 2000 * threads
    assert samples["recserve_events_stored_total", ()] == 4000 * threads
    assert samples["recserve_request_seconds_count", (("route", "/v1/recommend"),)] == 2000 * threads
