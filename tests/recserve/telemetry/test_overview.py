"""What one scrape says of the server, summed up."""

from __future__ import annotations

from recserve.telemetry import instruments as named
from recserve.telemetry.metrics import Metrics, Origin, Snapshot
from recserve.telemetry.overview import overview


def replica(stage: str, name: str, bundle: str = "b2", previous: str | None = "b1") -> Metrics:
    made = Metrics(Origin(stage, name, "10.0.0.1"))
    info = {(bundle,): 1.0} if previous is None else {(bundle,): 1.0, (previous,): 0.0}
    made.watch(named.BUNDLE_INFO, lambda: info)
    made.watch(named.BUNDLE_AGE, lambda: {(): 60.0})
    return made


def test_counters_are_summed_over_replicas_and_named() -> None:
    one, two = replica("ingress", "a"), replica("ingress", "b")
    one.count(named.REQUESTS, "/v1/recommend", "200", by=3)
    two.count(named.REQUESTS, "/v1/recommend", "200", by=4)
    two.count(named.REQUESTS, "/v1/recommend", "429")
    two.count(named.DEGRADED, "ranking", "late", by=2)
    one.count(named.EVENTS_ACCEPTED, "view", by=5)
    one.count(named.EVENTS_STORED, by=4)
    said = overview([one.snapshot(), two.snapshot()], 7)
    assert said["at"] == 7
    assert said["requests"] == [
        {"route": "/v1/recommend", "status": "200", "count": 7.0},
        {"route": "/v1/recommend", "status": "429", "count": 1.0},
    ]
    assert said["degraded"] == [{"part": "ranking", "cause": "late", "count": 2.0}]
    assert said["events"] == {"accepted": [{"event": "view", "count": 5.0}], "stored": 4.0}


def test_histograms_are_summed_bucket_by_bucket() -> None:
    one, two = replica("ingress", "a"), replica("ingress", "b")
    one.observe(named.STEP_SECONDS, 0.002, "retrieval")
    two.observe(named.STEP_SECONDS, 0.002, "retrieval")
    two.observe(named.STEP_SECONDS, 99.0, "retrieval")
    said = overview([one.snapshot(), two.snapshot()], 0)["latency"]
    (step,) = said["steps"]
    assert step["step"] == "retrieval"
    assert len(step["buckets"]) == len(said["bounds"]) + 1
    assert (step["buckets"][1], step["buckets"][-1], sum(step["buckets"])) == (2.0, 1.0, 3.0)
    assert round(step["seconds"], 6) == 99.004


def test_stages_stand_in_the_order_of_a_request_with_what_did_not_answer() -> None:
    gathered = Snapshot(Origin("ranking", "", ""), {named.SCRAPE_MISSING.name: {(): [1.0]}})
    shots = [replica("ranking", "r").snapshot(), replica("other", "o").snapshot()]
    shots += [replica("ingress", name).snapshot() for name in ("b", "a")]
    stages = overview([*shots, gathered], 0)["stages"]
    assert [stage["stage"] for stage in stages] == ["ingress", "ranking", "other"]
    assert [one["replica"] for one in stages[0]["replicas"]] == ["a", "b"]
    assert [stage["missing"] for stage in stages] == [0, 1, 0]
    assert stages[1]["replicas"][0]["memory_bytes"] > 1e6


def test_during_a_rollout_the_bundle_is_the_one_that_most_replicas_serve() -> None:
    shots = [replica("ingress", "a", "b2").snapshot(), replica("ingress", "b", "b2").snapshot()]
    shots += [replica("ingress", "c", "b1", None).snapshot(), replica("ranking", "d", "b9").snapshot()]
    bundle = overview(shots, 0)["bundle"]
    assert (bundle["id"], bundle["loaded"], bundle["age_seconds"]) == ("b2", ["b1", "b2"], 60.0)
    assert overview([Metrics().snapshot()], 0)["bundle"]["id"] is None


def test_what_a_replica_of_another_version_counts_otherwise_is_left_out() -> None:
    odd = Snapshot(
        Origin("ingress", "old", "n"),
        {named.REQUESTS.name: {("one label",): [5.0]}, named.STEP_SECONDS.name: {("retrieval",): [1.0, 2.0]}},
    )
    said = overview([odd], 0)
    assert said["requests"] == []
    assert said["latency"]["steps"] == []
