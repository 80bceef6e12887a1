"""Autoscaling: replicas of a stage come under load and go after it, and no request notices."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.support.stamps import install
from tests.support.traffic import Call, Traffic

if TYPE_CHECKING:
    from tests.deployments.conftest import Server

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(900)]

PATIENCE = 300.0

CONFIG: dict[str, Any] = {
    "encoder": {"use": "stamped"},
    "item_text": {"use": "fields", "params": {"fields": ["title"]}},
    "scenarios": {
        "home": {
            "retrievers": [{"use": "stamped"}],
            # Most of a large ranker's time is no time of this machine's cores.
            "ranker": {"use": "stamped", "params": {"seconds": 0.3}},
        }
    },
    "train": {"threads": 1},
    "server": {
        # Without cached answers every request needs the ranker.
        "repeats": 0,
        "ranking": {"max_replicas": 3, "target_calls": 0.8, "upscale_seconds": 1, "downscale_seconds": 2},
    },
}


def test_rankers_come_under_load_and_go_after_it(
    new_server: Callable[[], Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path / "site", 1)
    search = [str(tmp_path / "site"), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(search))
    server = new_server()
    (server.home / "recserve.yaml").write_text(yaml.safe_dump(CONFIG))
    server.run("train", "--no-evaluate")
    server.start()
    assert len(server.replicas("Ranking")) == 1
    began = time.monotonic()

    def wait_for(wanted: Callable[[int], bool]) -> int:
        count = len(server.replicas("Ranking"))
        end = time.monotonic() + PATIENCE
        while not wanted(count):
            assert time.monotonic() < end, f"{count} replicas of the ranking stage"
            time.sleep(0.5)
            now = len(server.replicas("Ranking"))
            if now != count:
                print(f"{time.monotonic() - began:.0f} s: {now} replicas")
            count = now
        return count

    def ask(number: int) -> Call:
        # A text: without, training has found this ranker to be of no use.
        return "/v1/recommend", {"user_id": f"user-{number % 80}", "query": f"text {number}", "n": 10}

    with Traffic(server.url, ask, threads=1, pause=2.0) as light:
        with Traffic(server.url, ask, threads=8, pause=0) as heavy:
            most = wait_for(lambda count: count > 1)
            time.sleep(10)
        print(f"{time.monotonic() - began:.0f} s: load off after {heavy.summary()}")
        wait_for(lambda count: count == 1)
    print(f"from one to {most} and back: {light.summary()}")
    failed = [*heavy.failed, *light.failed]
    assert not failed, failed[:3]
    server.run("stop")
