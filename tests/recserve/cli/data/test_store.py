"""Upgrade, export, restore and forgetting by the commands a user types."""

from __future__ import annotations

import getpass
import json
import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from recserve import Event
from recserve.cli import app
from recserve.errors import DataError, InvalidRequestError, RecserveError
from recserve.store import open_store
from recserve.store.sql.schema import SCHEMA_VERSION
from tests.conftest import run

SCHEMA_V1 = Path(__file__).parents[2] / "store" / "schema_v1_sqlite.sql"


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(one) for one in arguments])


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    with open_store(None, folder) as store:
        store.add_events(
            [Event(user, "i", "view", n, event_id=f"{user}{n}") for user in "ab" for n in range(3)]
        )
    return folder


@pytest.fixture
def old_home(tmp_path: Path) -> Path:
    folder = tmp_path / "old"
    folder.mkdir()
    connection = sqlite3.connect(folder / "recserve.db")
    connection.executescript(SCHEMA_V1.read_text())
    connection.close()
    return folder


def test_upgrading_an_old_home(old_home: Path) -> None:
    status = run("store", "status", "--home", old_home)
    assert f"schema version 1, recserve needs {SCHEMA_VERSION}" in status
    assert "recserve store upgrade" in status
    refused = subprocess.run(
        [sys.executable, "-m", "recserve", "bundles", "--home", old_home],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert refused.returncode == 2
    (line,) = refused.stderr.strip().splitlines()
    assert "recserve store upgrade" in line
    assert f"upgraded from schema version 1 to {SCHEMA_VERSION}" in run(
        "store", "upgrade", "--home", old_home
    )
    assert f"has schema version {SCHEMA_VERSION} already" in run("store", "upgrade", "--home", old_home)
    assert "0 items, 0 events" in run("store", "status", "--home", old_home)


def test_status_of_a_home_without_a_store(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    assert "none yet" in run("store", "status", "--home", tmp_path / "new")
    assert "was empty" in run("store", "upgrade", "--home", tmp_path / "new")


def test_a_backup_comes_back_in_another_home(home: Path, tmp_path: Path) -> None:
    printed = run("export", tmp_path / "backup", "--home", home)
    assert "go on with: --events-after 6" in printed
    assert "rows ->" in run("restore", tmp_path / "backup", "--home", tmp_path / "second")
    with open_store(None, home) as one, open_store(None, tmp_path / "second") as two:
        assert one.snapshot().events.equals(two.snapshot().events)
        assert two.counts().events == 6
    again = invoke("restore", tmp_path / "backup", "--home", home)
    assert isinstance(again.exception, DataError)
    assert "not empty" in again.exception.message


def test_increments_go_on_from_the_printed_number(home: Path, tmp_path: Path) -> None:
    first = run("export", tmp_path / "one", "--events-after", 0, "--home", home)  # type: ignore[arg-type]
    number = re.search(r"--events-after (\d+)", first)
    assert number is not None
    with open_store(None, home) as store:
        store.add_events([Event("c", "i", "view", 1, event_id="new")])
    run("export", tmp_path / "two", "--events-after", number[1], "--home", home)
    assert pq.read_table(tmp_path / "one" / "events.parquet").num_rows == 6
    assert pq.read_table(tmp_path / "two" / "events.parquet")["event_id"].to_pylist() == ["new"]
    manifest = json.loads((tmp_path / "two" / "manifest.json").read_text())
    assert (manifest["events_after"], manifest["next_event"]) == (int(number[1]), 7)


def receipt_of(printed: str) -> str:
    found = re.search(r"receipt: ([0-9a-f]{32})", printed)
    assert found is not None
    return found[1]


def test_a_person_is_deleted_and_forgotten_by_a_restore(home: Path, tmp_path: Path) -> None:
    run("export", tmp_path / "backup", "--home", home)
    second = tmp_path / "second"
    assert "was empty" in run("store", "upgrade", "--home", second)
    receipt = receipt_of(run("users", "delete", "a", "--home", second))
    assert "3 rows of deleted people were left out" in run("restore", tmp_path / "backup", "--home", second)
    verified = run("deletions", "verify", receipt, "--home", second)
    assert "clean: nothing is left" in verified
    assert receipt in run("deletions", "list", "--home", second)
    with open_store(None, second) as store:
        assert store.counts().events == 3
        (entry,) = store.audit(9)
        assert (entry.actor, entry.action, entry.target) == (
            f"cli:{getpass.getuser()}",
            "user.delete",
            receipt,
        )


def test_verifying_looks_into_the_bundles(trained_home: Path, tmp_path: Path) -> None:
    home = tmp_path / "trained"
    shutil.copytree(trained_home, home)
    with open_store(None, home) as store:
        person = store.recent_users(1)[0]
    printed = run("users", "delete", person, "--home", home)
    assert "deleted: 0 events" not in printed
    receipt = receipt_of(printed)
    verified = run("deletions", "verify", receipt, "--home", home)
    assert "clean: nothing is left" in verified
    assert "bundle" in verified
    (home / "bundles").mkdir(exist_ok=True)
    (bundle,) = (home / "bundles").iterdir()
    (bundle / "items.parquet").write_bytes(b"")
    damaged = invoke("deletions", "verify", receipt, "--home", home)
    assert damaged.exit_code == 1
    assert "not checked" in damaged.output


def test_a_trace_in_the_store_is_shown(home: Path) -> None:
    receipt = receipt_of(run("users", "delete", "a", "--home", home))
    with sqlite3.connect(home / "recserve.db") as connection:
        connection.execute(
            "UPDATE events SET user_id = 'a', user_hash = (SELECT user_hash FROM deletions) "
            "WHERE event_id = 'b1'"
        )
    connection.close()
    found = invoke("deletions", "verify", receipt, "--home", home)
    assert found.exit_code == 1
    assert "1 rows" in found.output
    assert "not clean" in found.output


def test_an_unknown_receipt_is_one_line(home: Path) -> None:
    found = invoke("deletions", "verify", "nope", "--home", home)
    assert isinstance(found.exception, RecserveError)
    assert "recserve deletions list" in found.exception.message


def test_events_are_taken_back(home: Path) -> None:
    assert "taken back: 1 events" in run("events", "delete", "a1", "--home", home)
    assert "taken back: 0 events" in run("events", "delete", "a1", "--home", home)
    assert "taken back: 3 events" in run("events", "delete", "--user", "b", "--item", "i", "--home", home)
    with open_store(None, home) as store:
        assert [event.event_id for event in store.histories(["a"], 9)["a"]] == ["a0", "a2"]
        assert store.counts().users == 1
    for wrong in (["a0", "--user", "a"], ["--user", "a"], ["--item", "i"], []):
        with pytest.raises(InvalidRequestError, match="--user and --item"):
            run("events", "delete", *wrong, "--home", home)


def test_an_import_says_what_it_left_out(home: Path, tmp_path: Path) -> None:
    lines = ["user_id,item_id,event,timestamp,event_id", "a,i,view,1,a1", "a,j,view,2,a9", "b,i,view,1,b1"]
    (tmp_path / "events.csv").write_text("\n".join([*lines, "b,other,view,1,b2", "c,i,view,1,c1"]) + "\n")
    run("users", "delete", "a", "--home", home)
    told = " ".join(run("import", "--events", tmp_path / "events.csv", "--home", home).split())
    assert "1 events imported" in told
    for reason in ("deleted with their user", "their user was deleted later", "other content"):
        assert "1 left out: " in told
        assert reason in told
    with open_store(None, home) as store:
        assert store.histories(["a"], 9)["a"] == []


def test_merged_ids_are_verified_with_their_person(home: Path) -> None:
    with open_store(None, home) as store:
        store.merge_user("b", "a")
        receipt = store.delete_user("a").receipt_id
    assert run("deletions", "list", "--home", home).count(receipt) == 1
    told = run("deletions", "verify", receipt, "--home", home)
    assert "1 ids that had been merged" in told
    assert "merges" in told
    assert "clean: nothing is left" in told
