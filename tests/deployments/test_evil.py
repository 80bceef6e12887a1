"""A plugin that does everything wrong on a real server: others are served, and the culprit is named."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from benchmarks.evil.site import CULPRITS, SCENARIO, EvilSite

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(600)]

RECOVER_SECONDS = 60


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> EvilSite:
    return EvilSite(tmp_path_factory.mktemp("evil"))


@pytest.fixture(scope="module")
def server(site: EvilSite, new_server: Callable[[], Any]) -> Iterator[Any]:
    """A server with the scenario ``evil`` beside the usual ones."""
    made = new_server()
    path = made.home / "recserve.yaml"
    config = yaml.safe_load(path.read_text())
    config["scenarios"]["evil"] = dict(SCENARIO)
    config["server"] = {
        "topology": "staged",
        "repeats": 0,
        "filter_deadline_ms": 500,
        "ranking": {"deadline_ms": 500},
    }
    path.write_text(yaml.safe_dump(config))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in site.environment.items():
            patch.setenv(name, value)
        made.start()
        yield made
        made.run("stop")


class Neighbours:
    """Users of another scenario, who ask all the time."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ask)
        self.answers: list[tuple[int, dict[str, Any]]] = []

    def __enter__(self) -> Neighbours:
        self._thread.start()
        return self

    def __exit__(self, *details: object) -> None:
        self._over.set()
        self._thread.join()

    def _ask(self) -> None:
        with httpx.Client(timeout=30, trust_env=False) as client:
            while not self._over.wait(0.05):
                number = len(self.answers) % 40
                body = {"user_id": f"user-{number}", "scenario": "plain", "n": 5}
                answer = client.post(f"{self._url}/v1/recommend", json=body)
                self.answers.append((answer.status_code, answer.json()))


def ask(server: Any) -> dict[str, Any]:
    return dict(server.post("/v1/recommend", {"user_id": "user-3", "scenario": "evil", "n": 5}))


def until_well(server: Any) -> None:
    give_up = time.monotonic() + RECOVER_SECONDS
    while (answer := ask(server))["degraded"]:
        assert time.monotonic() < give_up, answer["degraded"]
        time.sleep(0.2)
    assert len(answer["items"]) == 5


CASES = [
    *((component, "hang") for component in CULPRITS),
    ("retriever", "panic"),
    ("retriever", "duplicates"),
    ("ranker", "exit"),
    ("ranker", "nan"),
    ("ranker", "kill"),
    ("reranker", "recursion"),
    ("filter", "panic"),
    ("filter", "batch"),
    ("explainer", "interrupt"),
]


def test_a_component_that_misbehaves_costs_itself_alone(server: Any, site: EvilSite) -> None:
    until_well(server)
    with Neighbours(server.url) as neighbours:
        for component, what in CASES:
            site.tell({component: what})
            answers = [ask(server) for _ in range(4 if what == "hang" else 1)]
            if what == "hang" and component in ("reranker", "filter", "explainer"):
                health = server.get("/v1/health/ready")
                assert health["ready"]
                kind = {"reranker": "reranker", "filter": "filter", "explainer": "explainer"}[component]
                assert any(lane.startswith(f"{kind}:") for lane in health["details"]), health
            site.tell({})
            for answer in answers:
                assert answer["degraded"] == [CULPRITS[component]], (component, what)
                assert len(answer["items"]) == (0 if component == "filter" else 5), (component, what)
            until_well(server)
    assert len(neighbours.answers) > len(CASES)
    assert {status for status, _ in neighbours.answers} == {200}
    named = {name for _, answer in neighbours.answers for name in answer["degraded"]}
    assert not any("evil" in name for name in named)


def test_a_component_that_ends_its_process_is_named_by_the_next_one_and_then_kept_from_it(
    server: Any, site: EvilSite
) -> None:
    until_well(server)
    site.tell({"retriever": "kill"})
    seen: list[list[str]] = []
    give_up = time.monotonic() + RECOVER_SECONDS
    while ["retriever:evil"] not in seen and time.monotonic() < give_up:
        seen.append(ask(server)["degraded"])
        time.sleep(0.1)
    site.tell({})
    assert seen[0] == ["retrieval"], "nothing could tell yet"
    assert seen[-1] == ["retriever:evil"]
    until_well(server)
    logs = Path(server.state.ray_logs) / "serve"
    text = "".join(path.read_text(errors="replace") for path in logs.glob("replica_recserve_Retrieval*.log"))
    assert re.search(r"the process before this one died while it called .*retriever:evil@evil", text)


def test_the_log_names_each_culprit_with_its_error(server: Any) -> None:
    logs = Path(server.state.ray_logs) / "serve"
    text = "".join(path.read_text(errors="replace") for path in logs.glob("replica_recserve_*.log"))
    for line in (
        "retriever:evil failed: PanicException: called `Option::unwrap()`",
        "retriever:evil failed: StageError: returned an item twice for one query",
        "reranker:evil failed: RecursionError",
        "filter:evil failed: PanicException",
        "explaining failed: KeyboardInterrupt",
    ):
        assert line in text, line
    assert "in allowed" in text, "tracebacks lead to the plugin's code"
    assert not re.search(r"(?:-?\d[\d.e+-]*[,\s]+){30}", text), "no array is printed into it"
