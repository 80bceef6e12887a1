"""What a server counts of itself, as a scrape of Prometheus reads it."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from recserve.api import ApiSettings, create_app
from recserve.api.middleware.metrics import Metrics

VIEW = {"user_id": "ada", "item_id": "1", "event": "view", "event_id": "once"}

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def parsed(text: str) -> Samples:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


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
    served.get("/static/app.js")
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
    assert scrape(served)["recserve_events_stored_total", ()] == 6


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
    assert scrape(served)["recserve_degraded_total", (("part", "ranking"),)] == 4


def test_faults_are_counted_too(served: Any) -> None:
    class Faulty:
        async def recommend(self, request: Any) -> Any:
            raise RuntimeError("a bug")

    served.app.state.backend = Faulty()
    assert served.post("/v1/recommend", {}).status_code == 500
    assert requests(scrape(served), "/v1/recommend", 500) == 1


def test_a_replica_says_who_it_is(served: Any) -> None:
    metrics = Metrics("r1")
    app = create_app(served.app.state.backend, ApiSettings(), metrics=metrics)
    served.app = app
    metrics.degraded(["store"])
    waiting = [1, 2, 3]
    metrics.watch_queue(lambda: len(waiting))
    metrics.delta_items(7)
    served.get("/v1/about")
    for _ in range(2):  # labels are added at each scrape, not once for all
        samples = scrape(served)
        assert samples["recserve_degraded_total", (("part", "store"), ("replica", "r1"))] == 1
        assert samples["recserve_queue_length", (("replica", "r1"),)] == 3
        assert samples["recserve_delta_items", (("replica", "r1"),)] == 7
        assert all(("replica", "r1") in labels for _, labels in samples)
    waiting.clear()
    assert scrape(served)["recserve_queue_length", (("replica", "r1"),)] == 0


@pytest.mark.parametrize("threads", [8])
def test_counting_from_many_threads_loses_nothing(threads: int) -> None:
    metrics = Metrics()

    def count() -> None:
        for _ in range(2000):
            metrics.answered("/v1/recommend", 200, 0.01)
            metrics.events_stored(2)

    workers = [threading.Thread(target=count) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    samples = parsed(metrics.render().decode())
    assert requests(samples, "/v1/recommend", 200) == 2000 * threads
    assert samples["recserve_events_stored_total", ()] == 4000 * threads
