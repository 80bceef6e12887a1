"""Upgrades on a cluster under load: another bundle, another configuration, another version of the code.

No request fails, and no answer is made of two bundles: every score says what it was made of.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.support.stamps import Stamps, install
from tests.support.traffic import Answered, Call, Traffic

if TYPE_CHECKING:
    from tests.deployments.conftest import Server

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(900)]

READ = "/v1/recommend"


def config(stamp: int, text: int) -> dict[str, Any]:
    """A configuration whose trainings have a stamp, and whose encoder has one."""
    params = {"stamp": stamp}
    return {
        "encoder": {"use": "stamped", "params": {"stamp": text}},
        "item_text": {"use": "fields", "params": {"fields": ["title"]}},
        "scenarios": {
            "home": {
                "retrievers": [{"use": "stamped", "params": params}],
                "ranker": {"use": "stamped", "params": params},
            }
        },
        "train": {"threads": 1},
        "server": {
            "reload_seconds": 0.5,
            "repeats": 100,
            # A stage of one replica must not be missed either.
            "retrieval": {"replicas": 2},
        },
    }


def calls(number: int) -> Call:
    """In turn: an item, a text, an event, and a user's text without explanations.

    None goes by a history alone, whose order a training run chooses by what it is worth: this ranker nothing.
    """
    user = f"user-{number % 40}"
    kinds: Sequence[Call] = [
        (READ, {"user_id": user, "item_id": f"item-{number % 30}", "n": 5}),
        (READ, {"query": f"something about {number}", "n": 5}),
        ("/v1/events", {"user_id": user, "item_id": f"item-{number % 30}", "event": "view"}),
        (READ, {"user_id": user, "query": "rockets", "n": 5, "explain": False}),
    ]
    return kinds[number % len(kinds)]


class Upgraded:
    """A home on a cluster, whose bundles are known by their stamps.

    Args:
        server: Its server.
        address: The cluster.
    """

    def __init__(self, server: Server, address: str) -> None:
        self.server = server
        self._address = address
        self.bundles: dict[str, tuple[int, int]] = {}

    def configure(self, stamp: int, text: int) -> None:
        """Write a configuration."""
        (self.server.home / "recserve.yaml").write_text(yaml.safe_dump(config(stamp, text)))

    def train(self, stamp: int, text: int) -> str:
        """Train a bundle and make it current; returns its id."""
        self.configure(stamp, text)
        told = self.server.run("train", "--no-evaluate").stdout
        (bundle,) = re.findall(r"bundle (\S+)", told)
        self.bundles[bundle] = (stamp, text)
        return bundle

    def deploy(self) -> None:
        """Deploy, or upgrade."""
        told = self.server.run("serve", "--address", self._address, "--port", str(self.server.port))
        assert "serving bundle" in told.stdout

    def check(self, answers: Sequence[Answered]) -> None:
        """No answer mixes bundles: its stamps are those of the bundle that it names."""
        for call in answers:
            if call.path != READ or call.status != 200:
                continue
            lost = call.body["degraded"]
            stamp, text = self.bundles[call.body["bundle"]]
            for item in call.body["items"]:
                if not {"retrieval", "ranking"} & set(lost):
                    made = Stamps.of(item["score"])
                    assert (made.ranker, made.candidates) == (stamp, stamp), call
                    assert made.text in (0, text), call


@pytest.fixture
def upgraded(site: Path, new_server: Callable[[], Server], ray_cluster: str) -> Iterator[Upgraded]:
    """A home with a bundle of stamp 1, served on a cluster of its own."""
    server = new_server()
    made = Upgraded(server, ray_cluster)
    made.train(1, 1)
    made.deploy()
    yield made
    server.run("stop")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the first version of the plugin, found by every process that starts later."""
    folder = tmp_path / "site"
    install(folder, 1)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]))
    return folder


def settled(upgraded: Upgraded, expected: Stamps, seconds: float = 60.0) -> None:
    """Wait until ten answers in a row are made of what is expected."""
    end, row = time.monotonic() + seconds, 0
    while row < 10:
        assert time.monotonic() < end, f"no answers of {expected}"
        answer = upgraded.server.post(READ, {"query": f"any {row} {end}", "n": 3})
        right = not answer["degraded"] and all(
            Stamps.of(item["score"]) == expected for item in answer["items"]
        )
        row = row + 1 if right else 0


def test_no_request_fails_and_no_answer_mixes_two_bundles(upgraded: Upgraded, site: Path) -> None:
    settled(upgraded, Stamps(1, 1, 1, 1))
    steps: list[tuple[str, Callable[[], Any], Stamps]] = [
        ("another bundle", lambda: upgraded.train(2, 1), Stamps(1, 2, 2, 1)),
        ("another bundle again", lambda: upgraded.train(3, 1), Stamps(1, 3, 3, 1)),
        ("another version of the code", lambda: (install(site, 2), upgraded.deploy()), Stamps(2, 3, 3, 1)),
        (
            "another configuration and its bundle",
            lambda: (upgraded.train(4, 2), upgraded.deploy()),
            Stamps(2, 4, 4, 2),
        ),
    ]
    failed: list[Answered] = []
    for name, upgrade, expected in steps:
        with Traffic(upgraded.server.url, calls) as traffic:
            time.sleep(2)
            upgrade()
            settled(upgraded, expected)
            time.sleep(2)
        print(f"{name}: {traffic.summary()}")
        upgraded.check(traffic.answered)
        failed += traffic.failed
    assert not failed, failed[:3]
