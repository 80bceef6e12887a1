"""Counters of one process, plain snapshots of them, and the text that Prometheus reads.

Counting must cost a request nothing to speak of: a counter is a number in a list, found by a dictionary.
There is no lock, because an in-place addition to a list's element is not interrupted under the GIL.
"""

from __future__ import annotations

import resource
import socket
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import psutil
from prometheus_client import generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from recserve.telemetry import instruments as named
from recserve.telemetry.instruments import INSTRUMENTS, ORIGIN_LABELS, Instrument

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Labels = tuple[str, ...]
Series = Mapping[Labels, "list[float]"]
"""Label values -> the value; of a histogram the count of each bucket, then the sum."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where something is counted.

    Attributes:
        stage: Role of the process in the graph; a process that is the whole graph is an ``ingress``.
        replica: Its name among those of its stage.
        node: Address or name of its machine.
    """

    stage: str = "ingress"
    replica: str = "local"
    node: str = socket.gethostname()

    @property
    def labels(self) -> Labels:
        """Values of :data:`recserve.telemetry.instruments.ORIGIN_LABELS`."""
        return self.stage, self.replica, self.node


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that one process counted, as plain data that travels between processes.

    Attributes:
        origin: The process.
        series: By name of the instrument.
    """

    origin: Origin
    series: Mapping[str, Series]


class Metrics:
    """Counters of one process. Counting is cheap and may happen in any thread.

    Args:
        origin: The process.
    """

    def __init__(self, origin: Origin | None = None) -> None:
        self.origin = origin or Origin()
        self._series: dict[Instrument, dict[Labels, list[float]]] = {one: {} for one in INSTRUMENTS}
        self._watched: list[tuple[Instrument, Callable[[], Mapping[Labels, float]]]] = []
        self._process = psutil.Process()
        self.watch(named.PROCESS_MEMORY, lambda: {(): float(self._process.memory_info().rss)})
        self.watch(named.PROCESS_CPU, lambda: {(): _cpu_seconds()})

    def count(self, counter: Instrument, *labels: str, by: float = 1.0) -> None:
        """Add to a counter."""
        series = self._series[counter]
        try:
            series[labels][0] += by
        except KeyError:
            series.setdefault(labels, [0.0])[0] += by

    def observe(self, histogram: Instrument, value: float, *labels: str) -> None:
        """Add a value to a histogram."""
        series, buckets = self._series[histogram], histogram.buckets
        try:
            cells = series[labels]
        except KeyError:
            cells = series.setdefault(labels, [0.0] * (len(buckets) + 2))
        cells[bisect_left(buckets, value)] += 1.0
        cells[-1] += value

    def watch(self, instrument: Instrument, read: Callable[[], Mapping[Labels, float]]) -> None:
        """Have values read at each snapshot in place of counting; what cannot be read is left out."""
        self._watched.append((instrument, read))

    def snapshot(self) -> Snapshot:
        """Everything, at this moment."""
        series: dict[str, Series] = {
            instrument.name: {labels: list(cells) for labels, cells in list(found.items())}
            for instrument, found in self._series.items()
            if found
        }
        for instrument, read in self._watched:
            try:
                values = read()
            except Exception:  # such as the bundle of a replica that has none yet
                continue
            read_now = {labels: [value] for labels, value in values.items()}
            series[instrument.name] = {**series.get(instrument.name, {}), **read_now}
        return Snapshot(self.origin, series)


def render(snapshots: Iterable[Snapshot]) -> bytes:
    """The snapshots of some processes as a scrape gets them; each series says where it comes from."""
    return generate_latest(_Gathered(list(snapshots)))


class _Gathered(Collector):
    """Snapshots as a registry of prometheus_client's."""

    def __init__(self, snapshots: list[Snapshot]) -> None:
        self._snapshots = snapshots

    def collect(self) -> Iterator[Metric]:
        for instrument in INSTRUMENTS:
            found = [
                ((*labels, *snapshot.origin.labels), cells)
                for snapshot in self._snapshots
                for labels, cells in snapshot.series.get(instrument.name, {}).items()
                # A replica of another version may know a metric by other labels or buckets.
                if len(labels) == len(instrument.labels) and len(cells) == _cells(instrument)
            ]
            if found:
                yield _family(instrument, found)


def _cells(instrument: Instrument) -> int:
    return len(instrument.buckets) + 2 if instrument.kind == "histogram" else 1


def _family(instrument: Instrument, found: Iterable[tuple[Labels, list[float]]]) -> Metric:
    names = (*instrument.labels, *ORIGIN_LABELS)
    if instrument.kind == "histogram":
        histogram = HistogramMetricFamily(instrument.name, instrument.text, labels=names)
        for labels, cells in found:
            histogram.add_metric(labels, _cumulative(instrument.buckets, cells), cells[-1])
        return histogram
    kind = CounterMetricFamily if instrument.kind == "counter" else GaugeMetricFamily
    family = kind(instrument.name, instrument.text, labels=names)
    for labels, cells in found:
        family.add_metric(labels, cells[0])
    return family


def _cumulative(bounds: tuple[float, ...], cells: list[float]) -> list[tuple[str, float]]:
    total, buckets = 0.0, []
    for bound, count in zip((*map(str, bounds), "+Inf"), cells[:-1], strict=True):
        total += count
        buckets.append((bound, total))
    return buckets


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
