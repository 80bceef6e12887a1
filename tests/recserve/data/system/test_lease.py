"""One process at a time works in a folder, with locks and without."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from recserve.data.entities import now_ms
from recserve.data.system.folder import Folder
from recserve.data.system.lease import EXPIRED_SECONDS, leased
from recserve.errors import ConflictError
from tests.support.bed import ObjectStore

OFTEN = 0.05


def eventually(found: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not found():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.fixture
def remote(s3: ObjectStore, tmp_path: Path) -> Folder:
    return Folder.at(s3.uri(f"leases/{tmp_path.name}"), "--storage")


def written(folder: Folder, *, run: str, seconds_ago: float) -> None:
    holder = {"run": run, "host": "elsewhere", "process": 7, "renewed": now_ms() - int(1000 * seconds_ago)}
    folder.write("lease.json", json.dumps(holder).encode())


@pytest.mark.parametrize("kind", ["local", "remote"])
def test_a_second_holder_is_refused_until_the_first_is_done(
    kind: str, remote: Folder, tmp_path: Path
) -> None:
    folder = remote if kind == "remote" else Folder.at(tmp_path / "study", "--storage")
    with leased(folder, "run of the study") as check:
        with (
            pytest.raises(ConflictError, match="another run of the study in"),
            leased(folder, "run of the study"),
        ):
            pass
        check()
    with leased(folder, "run of the study"):
        pass


def test_a_holder_who_died_is_waited_for(remote: Folder) -> None:
    written(remote, run="other", seconds_ago=EXPIRED_SECONDS - 5)
    refusal = r"process 7 of elsewhere was alive 55 s ago; if it died, begin again after 60 s"
    with pytest.raises(ConflictError, match=refusal), leased(remote, "run"):
        pass
    written(remote, run="other", seconds_ago=EXPIRED_SECONDS + 5)
    with leased(remote, "run"):
        assert json.loads(remote.read("lease.json"))["run"] != "other"
    assert remote.names() == []


def test_a_holder_says_that_it_is_alive_and_learns_that_it_lost(remote: Folder) -> None:
    with leased(remote, "run", OFTEN) as check:
        first = json.loads(remote.read("lease.json"))
        eventually(lambda: json.loads(remote.read("lease.json"))["renewed"] > first["renewed"])

        def lost() -> bool:
            # Again and again: the holder may just have looked, and then writes.
            written(remote, run="other", seconds_ago=0)
            try:
                check()
            except ConflictError as error:
                return "another run in s3://bundles/leases/" in str(error)
            return False

        eventually(lost)
    assert json.loads(remote.read("lease.json"))["run"] == "other", "the other's lease is left alone"


def test_a_lease_that_cannot_be_understood_holds_nobody_off(remote: Folder) -> None:
    remote.write("lease.json", b"{")
    with leased(remote, "run"):
        pass
