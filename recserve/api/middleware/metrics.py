"""What a server counts of itself, in the text format of Prometheus.

Each process counts for itself. Behind a load balancer a scrape meets one of several replicas; each has a
label of its own then, so that a counter never seems to go back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """The counters of one process. Every method is cheap and may be called from any thread.

    Args:
        replica: Name of this process among several that serve the same address; empty if it is alone.
    """

    def __init__(self, replica: str = "") -> None:
        # Not prometheus_client's global registry: libraries, Ray among them, count their own things there.
        registry = CollectorRegistry()
        self._source = _Labelled(registry, replica) if replica else registry
        self._requests = Counter(
            "recserve_requests", "HTTP requests answered.", ["route", "status"], registry=registry
        )
        self._seconds = Histogram(
            "recserve_request_seconds",
            "Seconds from a request's head to the end of its answer.",
            ["route"],
            buckets=_BUCKETS,
            registry=registry,
        )
        self._degraded = Counter(
            "recserve_degraded", "Answers that went on without a part.", ["part"], registry=registry
        )
        self._events = Counter("recserve_events_stored", "Events stored.", registry=registry)
        self._queue = Gauge("recserve_queue_length", "Requests that wait for a batch.", registry=registry)
        self._live_items = Gauge(
            "recserve_delta_items",
            "Items served from the delta index, not from the bundle.",
            registry=registry,
        )
        # Looking a labelled counter up costs more than counting.
        self._by_answer: dict[tuple[str, int], Counter] = {}
        self._by_route: dict[str, Histogram] = {}

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count one HTTP request.

        Args:
            route: The route's path as it is declared, one of a few.
            status: Status of the answer.
            seconds: How long it took.
        """
        counter = self._by_answer.get((route, status))
        if counter is None:
            counter = self._by_answer[route, status] = self._requests.labels(route, str(status))
        counter.inc()
        histogram = self._by_route.get(route)
        if histogram is None:
            histogram = self._by_route[route] = self._seconds.labels(route)
        histogram.observe(seconds)

    def degraded(self, parts: Iterable[str]) -> None:
        """Count the parts that one answer went on without; usually none."""
        for part in parts:
            self._degraded.labels(part).inc()

    def events_stored(self, count: int) -> None:
        """Count events that were stored."""
        self._events.inc(count)

    def watch_queue(self, length: Callable[[], int]) -> None:
        """Have the length of the queue asked for at each scrape."""
        self._queue.set_function(length)

    def delta_items(self, count: int) -> None:
        """Tell how many items the delta index holds now."""
        self._live_items.set(count)

    def render(self) -> bytes:
        """Everything, as a scrape gets it."""
        return generate_latest(self._source)


def metrics_of(request: Request) -> Metrics:
    """The counters of the application that a request came to."""
    found: Metrics = request.app.state.metrics
    return found


async def metrics(request: Request) -> Response:
    """Answer `GET /v1/metrics`."""
    return Response(metrics_of(request).render(), headers={"Content-Type": CONTENT_TYPE})


class _Labelled(Collector):
    """A registry whose samples all carry one more label."""

    def __init__(self, registry: CollectorRegistry, replica: str) -> None:
        self._registry = registry
        self._replica = replica

    def collect(self) -> Iterator[Metric]:
        for metric in self._registry.collect():
            labels = {"replica": self._replica}
            metric.samples = [
                sample._replace(labels={**sample.labels, **labels}) for sample in metric.samples
            ]
            yield metric
