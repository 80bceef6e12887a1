"""The staged graph over real HTTP on a real Ray cluster."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import httpx
import psutil
import pytest

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(600)]

DEPLOYMENTS = ("Ingress", "Retrieval", "Encoding", "Ranking")


class Server(Protocol):
    """What these tests use of the fixture in conftest.py."""

    home: Path
    port: int
    url: str
    state: Any

    def run(self, *arguments: str, check: bool = True) -> Any: ...
    def replicas(self, deployment: str) -> list[psutil.Process]: ...
    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]: ...
    def get(self, path: str) -> dict[str, Any]: ...


def items(answer: dict[str, Any]) -> list[str]:
    return [item["item_id"] for item in answer["items"]]


def wait_for(condition: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "this did not happen in time"
        time.sleep(0.1)


def test_every_deployment_is_in_the_status_and_in_the_timings(server: Server) -> None:
    shown = server.run("status").stdout
    for name in DEPLOYMENTS:
        (line,) = [line for line in shown.splitlines() if name in line.split()]
        assert "healthy" in line
        assert len(server.replicas(name)) == 1
    ready = server.get("/v1/health/ready")
    assert ready["stages"] == {"retrieval": True, "encoding": True, "ranking": True}
    assert ready["bundle"] in shown

    answer = server.post("/v1/recommend", {"user_id": "user-1", "query": "trains", "n": 5})
    assert len(answer["items"]) == 5
    assert answer["degraded"] == []
    assert answer["bundle"] == ready["bundle"]
    for stage in ("history", "encoding", "retrieval", "ranking", "reranking", "explaining", "total"):
        assert answer["timings"][stage] > 0


def test_an_event_changes_the_very_next_answer(server: Server) -> None:
    before = server.post("/v1/recommend", {"user_id": "newcomer", "n": 5})
    liked = items(before)[0]
    stored = server.post("/v1/events", {"user_id": "newcomer", "item_id": liked, "event": "like"})
    assert stored == {"accepted": 1, "stored": 1, "duplicates": 0}
    after = server.post("/v1/recommend", {"user_id": "newcomer", "n": 5})
    assert liked not in items(after)
    assert items(after) != items(before)
    assert any("mf" in item["sources"] or "content" in item["sources"] for item in after["items"])


def test_users_are_put_in_order_for_an_item_of_a_moment_ago(server: Server) -> None:
    """Across processes: users from the store, the item's vector from the ranking stage's own catalogue."""
    new = {"item_id": "fresh", "attributes": {"title": "Trains number 99", "topic": "trains"}}
    server.post("/v1/items", {"items": [new]})
    asked = server.url + "/v1/items/fresh/audience"
    wait_for(lambda: httpx.post(asked, json={}, trust_env=False, timeout=30).status_code == 200, 20)
    answer = server.post("/v1/items/fresh/audience", {"limit": 8})
    assert len(answer["users"]) == 8
    assert answer["considered"] >= 80
    scores = [user["score"] for user in answer["users"]]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > scores[-1]

    refused = httpx.post(asked, json={"scenario": "plain"}, trust_env=False, timeout=30)
    assert refused.status_code == 422
    assert refused.json()["error"]["field"] == "scenario"


def test_searches_alone_change_the_very_next_answer(server: Server) -> None:
    before = server.post("/v1/recommend", {"user_id": "searcher", "n": 5})
    assert "encoding" not in before["timings"]
    for text in ("steam trains", "railway journeys", "locomotives"):
        stored = server.post("/v1/events", {"user_id": "searcher", "event": "search", "text": text})
        assert stored["stored"] == 1
    after = server.post("/v1/recommend", {"user_id": "searcher", "n": 5})
    assert after["timings"]["encoding"] > 0
    assert after["degraded"] == []
    assert items(after) != items(before)
    assert any("content" in item["sources"] for item in after["items"])
    assert any(item["explanation"].startswith("Because you searched for “") for item in after["items"])


def test_concurrent_requests_get_their_own_answers(server: Server) -> None:
    """Micro-batches must not mix up their members, wrong requests among them."""
    sizes = [1 + number % 7 for number in range(60)]
    answers: list[httpx.Response | None] = [None] * len(sizes)

    def ask(number: int) -> None:
        body: dict[str, Any] = {"user_id": f"user-{number % 20}", "n": sizes[number]}
        if number % 10 == 3:
            body["scenario"] = "nowhere"
        answers[number] = httpx.post(server.url + "/v1/recommend", json=body, timeout=60, trust_env=False)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(len(sizes))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, answer in enumerate(answers):
        assert answer is not None
        if number % 10 == 3:
            assert answer.status_code == 404
            assert answer.json()["error"]["field"] == "scenario"
        else:
            assert len(answer.json()["items"]) == sizes[number]


def test_torch_is_loaded_only_where_it_is_used(server: Server) -> None:
    def loads_torch(deployment: str) -> bool:
        (process,) = server.replicas(deployment)
        return "libtorch" in Path(f"/proc/{process.pid}/maps").read_text()

    assert {name: loads_torch(name) for name in DEPLOYMENTS} == {
        "Ingress": False,
        "Retrieval": False,
        "Encoding": True,
        "Ranking": True,
    }


def test_only_token_protected_sockets_leave_the_loopback(server: Server) -> None:
    import grpc
    from ray.serve.generated import serve_pb2, serve_pb2_grpc
    from recserve_deployments.local_server.ports import listeners

    listening = listeners(server.state.processes())
    assert any(one.port == server.port and one.loopback for one in listening)
    open_ports = [one for one in listening if not one.loopback]
    assert {one.process.partition(":recserve")[0] for one in open_ports} == {"ray::ServeReplica"}
    for one in open_ports:
        with grpc.insecure_channel(f"127.0.0.1:{one.port}") as channel:
            stub = serve_pb2_grpc.ASGIServiceStub(channel)
            with pytest.raises(grpc.RpcError) as refused:
                stub.HandleRequest(serve_pb2.ASGIRequest(), timeout=10)
            assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


@dataclass
class Traffic:
    """What a light load of recommendations and events saw.

    Attributes:
        statuses: Of every answered recommendation.
        degraded: Of every answered recommendation.
        bundles: Of every answered recommendation.
        acknowledged: Ids of events that the server said are stored.
        broken: Requests whose connection broke before an answer.
    """

    statuses: list[int] = field(default_factory=list)
    degraded: list[tuple[str, ...]] = field(default_factory=list)
    bundles: list[str] = field(default_factory=list)
    acknowledged: list[str] = field(default_factory=list)
    broken: int = 0


@contextmanager
def load(server: Server, user: str) -> Iterator[Traffic]:
    """Two clients that recommend and one that posts events, while the body runs."""
    traffic, stop = Traffic(), threading.Event()

    def recommend() -> None:
        number = 0
        while not stop.wait(0.03):
            number += 1
            try:
                answer = httpx.post(
                    server.url + "/v1/recommend",
                    # Another question each time, so that every answer goes through all stages.
                    json={"user_id": "user-2", "n": 3, "exclude": [f"nothing-{number}"]},
                    timeout=60,
                    trust_env=False,
                )
            except httpx.TransportError:
                traffic.broken += 1
                continue
            traffic.statuses.append(answer.status_code)
            if answer.status_code == 200:
                traffic.degraded.append(tuple(answer.json()["degraded"]))
                traffic.bundles.append(answer.json()["bundle"])

    def post_events() -> None:
        number = 0
        while not stop.wait(0.03):
            number += 1
            event_id = f"{user}-{number}"
            event = {
                "user_id": user,
                "item_id": "item-1",
                "event": "view",
                "event_id": event_id,
                # Long ago: however many there are, they are not what other tests split off as the newest.
                "timestamp": 1_000_000 + number,
            }
            try:
                answer = httpx.post(server.url + "/v1/events", json=event, timeout=60, trust_env=False)
            except httpx.TransportError:
                traffic.broken += 1
                continue
            if answer.status_code == 200:
                traffic.acknowledged.append(event_id)

    threads = [threading.Thread(target=target) for target in (recommend, recommend, post_events)]
    for thread in threads:
        thread.start()
    try:
        yield traffic
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_a_killed_replica_loses_nothing_and_comes_back(server: Server, name: str) -> None:
    (victim,) = server.replicas(name)
    with load(server, f"witness-of-{name}") as traffic:
        wait_for(lambda: len(traffic.statuses) > 5 and len(traffic.acknowledged) > 5)
        victim.kill()
        wait_for(lambda: any(one.pid != victim.pid for one in server.replicas(name)))
        wait_for(lambda: all(server.get("/v1/health/ready")["stages"].values()))
        seen = len(traffic.statuses)
        wait_for(lambda: len(traffic.statuses) > seen + 5)
    stored = server.get(f"/v1/users/witness-of-{name}/history?limit=1000")
    assert set(traffic.acknowledged) <= {event["event_id"] for event in stored["events"]}
    assert traffic.degraded[-1] == ()
    if name == "Ingress":
        # Only requests that this very process was answering may break: one of each client.
        assert traffic.broken + sum(status != 200 for status in traffic.statuses) <= 3
    else:
        assert traffic.broken == 0
        assert set(traffic.statuses) == {200}


def test_a_new_bundle_is_swapped_in_under_load(server: Server) -> None:
    old = server.get("/v1/health/ready")["bundle"]
    with load(server, "swapper") as traffic:
        trained = server.run("train", "--seed", "1", "--no-evaluate").stdout
        wait_for(lambda: server.get("/v1/health/ready")["bundle"] != old)
        new = server.get("/v1/health/ready")["bundle"]
        seen = len(traffic.bundles)
        wait_for(lambda: len(traffic.bundles) > seen + 5)
    assert new in trained
    assert traffic.broken == 0
    assert set(traffic.statuses) == {200}
    assert set(traffic.degraded) == {()}
    # Each answer is of one bundle, and once the new one serves (two clients, so two answers may be under
    # way) the old one does not come back.
    assert set(traffic.bundles) == {old, new}
    assert old not in traffic.bundles[traffic.bundles.index(new) + 2 :]


TRIAL = """
name: trial
scenario: home
arms:
  - name: control
  - name: popular
    parameters: {{ranker: false, retrievers: {{mf: {{weight: 0}}, content: {{weight: 0}}}}}}
  - {{name: earlier, bundle: {bundle}}}
"""


def test_an_experiment_is_followed_by_every_replica_and_reaches_every_stage(
    server: Server, tmp_path: Path
) -> None:
    """Started and stopped by another process; one arm is served by an earlier bundle, if there is any."""
    from recserve.store import open_store

    with open_store(None, server.home) as store:
        earlier = store.bundle_history()[-1]
    current = server.get("/v1/health/ready")["bundle"]
    (tmp_path / "trial.yaml").write_text(TRIAL.format(bundle=earlier))

    def ask(user: str, n: int = 5) -> dict[str, Any]:
        return server.post("/v1/recommend", {"user_id": user, "n": n})

    server.run("experiment", "create", str(tmp_path / "trial.yaml"), "--start")
    # Another question than those below, which no cache is to answer.
    wait_for(lambda: ask("user-1", 3)["experiment"] == "trial", 60)
    answers = [ask(f"user-{number}") for number in range(30)]
    by_arm = {arm: [one for one in answers if one["arm"] == arm] for arm in ("control", "popular", "earlier")}
    assert all(by_arm.values())
    assert sum(map(len, by_arm.values())) == len(answers)
    assert [one["degraded"] for one in answers] == [[]] * len(answers)
    assert all("ranking" in one["timings"] for one in by_arm["control"] + by_arm["earlier"])
    assert {one["bundle"] for one in by_arm["control"] + by_arm["popular"]} == {current}
    assert {one["bundle"] for one in by_arm["earlier"]} == {earlier}
    for one in by_arm["popular"]:
        assert {source for item in one["items"] for source in item["sources"]} == {"popular"}
        assert "ranking" not in one["timings"]
    server.run("experiment", "stop", "trial")
    wait_for(lambda: ask("user-1")["experiment"] is None, 10)
    assert {ask(f"user-{number}")["experiment"] for number in range(30)} == {None}
    # By a process beside the replica.
    found = server.get("/v1/reports/outcomes?by=arm")
    assert {row["group"] for row in found["rows"]} >= {f"trial/{arm}" for arm in by_arm}
    report = server.get("/v1/experiments/trial/report")
    assert {arm["name"]: arm["users"] > 0 for arm in report["arms"]} == dict.fromkeys(by_arm, True)


def test_a_damaged_bundle_is_refused_by_name_and_the_current_one_goes_on(server: Server) -> None:
    from recserve.bundles.manifest import MANIFEST, VECTORS, Manifest
    from recserve.store import open_store

    current = server.get("/v1/health/ready")["bundle"]
    source = server.home / "bundles" / current
    # Another bundle by its id, equal but for one flipped byte.
    manifest = Manifest.model_validate_json((source / MANIFEST).read_bytes())
    manifest = manifest.model_copy(update={"seed": manifest.seed + 1000})
    damaged = server.home / "bundles" / manifest.bundle_id()
    for name in manifest.files:
        content = bytearray((source / name).read_bytes())
        if name == VECTORS:
            content[len(content) // 2] ^= 1
        (damaged / name).parent.mkdir(parents=True, exist_ok=True)
        (damaged / name).write_bytes(content)
    (damaged / MANIFEST).write_bytes(manifest.canonical())
    with open_store(None, server.home) as store:
        store.record_bundle(damaged.name, 0, {})
        store.set_current(damaged.name)
        try:
            logs = Path(server.state.ray_logs) / "serve"

            def reported() -> bool:
                texts = [log.read_text() for log in logs.glob("replica_recserve_*.log")]
                refusals = [text for text in texts if "refused" in text and damaged.name in text]
                return len(refusals) == len(DEPLOYMENTS) and all(VECTORS in text for text in refusals)

            wait_for(reported, 60)
            answer = server.post("/v1/recommend", {"user_id": "user-1"})
            assert (answer["bundle"], answer["degraded"]) == (current, [])
        finally:
            store.set_current(current)


def test_a_second_server_of_a_home_is_one_clear_line(server: Server) -> None:
    refused = server.run("serve", "--detach", check=False)
    assert refused.returncode == 2
    (line,) = refused.stderr.splitlines()
    assert server.url in line
    assert "recserve stop" in line
    assert server.get("/v1/health/live") == {"status": "live"}
