"""What one scrape of all replicas says of the server, summed up for people who watch it.

Counters stay what they are, totals since each process began: whoever asks twice has the difference, and
needs no memory here, whichever replica answered. See the decision on gathering metrics.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from recserve.telemetry import instruments as named
from recserve.telemetry.instruments import Instrument
from recserve.telemetry.metrics import Labels, Snapshot

STAGES = ("ingress", "encoding", "retrieval", "ranking")
"""Stages in the order in which a request meets them; others come after."""


def overview(snapshots: Sequence[Snapshot], at: int) -> dict[str, Any]:
    """Sum up what all replicas counted.

    Args:
        snapshots: Of all replicas, and of the scrape itself.
        at: When they were taken, milliseconds since the epoch.

    Returns:
        Plain data, as :class:`recserve.api.schemas.about.LiveNowAnswer` describes it.
    """
    seen = _Gathered(snapshots)
    return {
        "at": at,
        "requests": seen.totals(named.REQUESTS, "route", "status"),
        "errors": seen.totals(named.ERRORS, "code"),
        "degraded": seen.totals(named.DEGRADED, "part", "cause"),
        "events": {
            "accepted": seen.totals(named.EVENTS_ACCEPTED, "event"),
            "stored": seen.total(named.EVENTS_STORED),
        },
        "exposures": {
            "logged": seen.total(named.EXPOSURES),
            "lost": seen.total(named.EXPOSURES_LOST),
        },
        "caches": seen.totals(named.CACHE_LOOKUPS, "cache", "outcome"),
        "queue": seen.total(named.QUEUE_LENGTH),
        "latency": {
            "bounds": list(named.SECONDS),
            "requests": seen.histograms(named.REQUEST_SECONDS, "route"),
            "steps": seen.histograms(named.STEP_SECONDS, "step"),
            "calls": seen.histograms(named.CALL_SECONDS, "call"),
        },
        "bundle": seen.bundle(),
        "stages": seen.stages(),
    }


class _Gathered:
    """Snapshots, read by instrument."""

    def __init__(self, snapshots: Sequence[Snapshot]) -> None:
        self._snapshots = snapshots

    def _cells(self, instrument: Instrument) -> Iterable[tuple[Labels, list[float]]]:
        """Label values and cells of all replicas, but for what one of another version knows otherwise."""
        width = len(instrument.buckets) + 2 if instrument.kind == "histogram" else 1
        for snapshot in self._snapshots:
            for labels, cells in snapshot.series.get(instrument.name, {}).items():
                if len(labels) == len(instrument.labels) and len(cells) == width:
                    yield labels, cells

    def total(self, instrument: Instrument) -> float:
        """A counter or gauge over all replicas and labels."""
        return sum(cells[0] for _, cells in self._cells(instrument))

    def totals(self, instrument: Instrument, *names: str) -> list[dict[str, Any]]:
        """A counter over all replicas, a row for each combination of labels, named in the labels' order."""
        summed: dict[Labels, float] = {}
        for labels, cells in self._cells(instrument):
            summed[labels] = summed.get(labels, 0.0) + cells[0]
        return [
            {**dict(zip(names, labels, strict=True)), "count": count}
            for labels, count in sorted(summed.items())
        ]

    def histograms(self, instrument: Instrument, name: str) -> list[dict[str, Any]]:
        """A histogram over all replicas, a row a label: counts of each bucket, and the sum of seconds."""
        summed: dict[str, list[float]] = {}
        for (label,), cells in self._cells(instrument):
            known = summed.get(label)
            summed[label] = cells if known is None else [a + b for a, b in zip(known, cells, strict=True)]
        return [
            {name: label, "buckets": cells[:-1], "seconds": cells[-1]}
            for label, cells in sorted(summed.items())
        ]

    def bundle(self) -> dict[str, Any]:
        """The bundle that most ingress replicas serve, and how old it is."""
        ingress = [one for one in self._snapshots if one.origin.stage == "ingress" and one.origin.replica]
        loaded = {id_ for one in ingress for (id_,) in one.series.get(named.BUNDLE_INFO.name, {})}
        served = [found for one in ingress if (found := _served(one)) is not None]
        current = max(set(served), key=served.count) if served else None
        oldest = [one for one in ingress if _served(one) == current]
        return {
            "id": current,
            "loaded": sorted(loaded),
            "age_seconds": _largest(oldest, named.BUNDLE_AGE),
            "served_seconds": _largest(oldest, named.BUNDLE_SERVED),
            "live_items": _largest(oldest, named.LIVE_ITEMS),
        }

    def stages(self) -> list[dict[str, Any]]:
        """Each stage, in the order of a request, with its replicas."""
        found: dict[str, dict[str, Any]] = {}
        for snapshot in self._snapshots:
            stage = found.setdefault(
                snapshot.origin.stage, {"stage": snapshot.origin.stage, "missing": 0, "replicas": []}
            )
            stage["missing"] += int(_value(snapshot, named.SCRAPE_MISSING) or 0)
            if snapshot.origin.replica:
                stage["replicas"].append(_replica(snapshot))
        for stage in found.values():
            stage["replicas"].sort(key=lambda one: (one["node"], one["replica"]))
        return sorted(found.values(), key=_place)


def _place(stage: dict[str, Any]) -> tuple[int, str]:
    name = str(stage["stage"])
    return (STAGES.index(name) if name in STAGES else len(STAGES), name)


def _replica(snapshot: Snapshot) -> dict[str, Any]:
    calls = snapshot.series.get(named.CALL_SECONDS.name) or snapshot.series.get(
        named.REQUEST_SECONDS.name, {}
    )
    threads = snapshot.series.get(named.THREAD_CALLS.name, {})
    return {
        "replica": snapshot.origin.replica,
        "node": snapshot.origin.node,
        "bundle": _served(snapshot),
        "calls": sum(sum(cells[:-1]) for cells in calls.values()),
        "cpu_seconds": _value(snapshot, named.PROCESS_CPU),
        "memory_bytes": _value(snapshot, named.PROCESS_MEMORY),
        "threads": {state: cells[0] for (state,), cells in sorted(threads.items())},
    }


def _served(snapshot: Snapshot) -> str | None:
    """The bundle in service in a replica."""
    info = snapshot.series.get(named.BUNDLE_INFO.name, {})
    return next((id_ for (id_,), cells in info.items() if cells[0] == 1.0), None)


def _value(snapshot: Snapshot, instrument: Instrument) -> float | None:
    cells = snapshot.series.get(instrument.name, {}).get(())
    return None if cells is None else cells[0]


def _largest(snapshots: Iterable[Snapshot], instrument: Instrument) -> float | None:
    return max((value for one in snapshots if (value := _value(one, instrument)) is not None), default=None)
