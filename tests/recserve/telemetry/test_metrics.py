"""Counters, their snapshots, and what a scrape of several processes shows."""

from __future__ import annotations

import pickle
import re

from prometheus_client.parser import text_string_to_metric_families

from recserve.telemetry.instruments import (
    BATCH_SIZE,
    DEGRADED,
    INSTRUMENTS,
    ORIGIN_LABELS,
    QUEUE_LENGTH,
    REQUESTS,
)
from recserve.telemetry.metrics import Metrics, Origin, Snapshot, render


def samples(*snapshots: Snapshot) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(render(snapshots).decode())
        for sample in family.samples
    }


def at(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return name, frozenset(labels.items())


def test_every_replica_of_every_stage_is_in_one_text() -> None:
    first, second = Metrics(Origin("ranking", "a", "n1")), Metrics(Origin("ranking", "b", "n2"))
    for size in (1, 2, 3, 5000):
        first.observe(BATCH_SIZE, size, "rank")
    second.observe(BATCH_SIZE, 64, "rank")
    second.count(DEGRADED, 'retriever:"odd"\n', "late", by=2)
    travelled = [pickle.loads(pickle.dumps(metrics.snapshot())) for metrics in (first, second)]
    found = samples(*travelled)
    mine = {"call": "rank", "stage": "ranking", "replica": "a", "node": "n1"}
    theirs = {"call": "rank", "stage": "ranking", "replica": "b", "node": "n2"}
    counts = {
        bound: found[at("recserve_batch_size_bucket", le=bound, **mine)]
        for bound in ("1.0", "2.0", "4.0", "1024.0", "+Inf")
    }
    assert counts == {"1.0": 1, "2.0": 2, "4.0": 3, "1024.0": 3, "+Inf": 4}
    assert found[at("recserve_batch_size_sum", **mine)] == 5006
    assert found[at("recserve_batch_size_count", **mine)] == 4
    assert found[at("recserve_batch_size_bucket", le="32.0", **theirs)] == 0
    assert found[at("recserve_batch_size_bucket", le="64.0", **theirs)] == 1
    odd = at(
        "recserve_degraded_total",
        part='retriever:"odd"\n',
        cause="late",
        stage="ranking",
        replica="b",
        node="n2",
    )
    assert found[odd] == 2


def test_a_snapshot_does_not_change_any_more() -> None:
    metrics = Metrics(Origin("ingress", "a", "n"))
    metrics.count(REQUESTS, "/v1/recommend", "200")
    before = metrics.snapshot()
    metrics.count(REQUESTS, "/v1/recommend", "200")
    key = at(
        "recserve_requests_total", route="/v1/recommend", status="200", stage="ingress", replica="a", node="n"
    )
    assert (samples(before)[key], samples(metrics.snapshot())[key]) == (1, 2)


def test_series_of_another_version_are_left_out() -> None:
    """During an upgrade replicas of two versions answer the same scrape."""
    other = Snapshot(
        Origin("ingress", "old", "n"),
        {
            "recserve_batch_size": {("rank",): [1.0, 2.0]},
            "recserve_queue_length": {("more",): [1.0], (): [3.0]},
            "recserve_unheard_of": {(): [1.0]},
        },
    )
    assert samples(other) == {at("recserve_queue_length", stage="ingress", replica="old", node="n"): 3.0}


def test_watched_values_are_read_at_each_snapshot() -> None:
    metrics = Metrics(Origin("ingress", "a", "n"))
    values = iter([1.0, 2.0])
    metrics.watch(QUEUE_LENGTH, lambda: {(): next(values)})
    key = at("recserve_queue_length", stage="ingress", replica="a", node="n")
    assert [samples(metrics.snapshot()).get(key) for _ in range(3)] == [1.0, 2.0, None]


def test_a_process_shows_its_memory_and_its_cpu_time() -> None:
    found = samples(Metrics(Origin("ingress", "a", "n")).snapshot())
    origin = {"stage": "ingress", "replica": "a", "node": "n"}
    assert found[at("recserve_process_memory_bytes", **origin)] > 10_000_000
    assert found[at("recserve_process_cpu_seconds_total", **origin)] > 0


def test_names_say_their_unit_and_kind() -> None:
    units = ("seconds", "bytes", "info", "length", "size", "calls", "items", "replicas")
    names = [instrument.name for instrument in INSTRUMENTS]
    assert len(set(names)) == len(names)
    for instrument in INSTRUMENTS:
        assert re.fullmatch(r"recserve(_[a-z]+)+", instrument.name)
        assert instrument.name.endswith("_total") == (instrument.kind == "counter"), instrument.name
        assert instrument.kind == "counter" or instrument.name.endswith(units), instrument.name
        assert list(instrument.buckets) == sorted(set(instrument.buckets))
        assert bool(instrument.buckets) == (instrument.kind == "histogram")
        assert not set(instrument.labels) & {*ORIGIN_LABELS, "le"}
