"""The lake by the commands that a user types: export, train, expire, verify."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.csv
import pyarrow.parquet as pq
import pytest
import yaml
from typer.testing import CliRunner

from recserve import DataError, Event
from recserve.cli import app
from recserve.data.entities import now_ms
from recserve.errors import ConfigError
from recserve.store import open_store
from tests.conftest import Domain, run


@pytest.fixture
def home(domain: Domain, tmp_path: Path) -> Path:
    """A home with the domain imported and a lake configured."""
    home = tmp_path / "home"
    home.mkdir()
    config = {**yaml.safe_load(domain.config.read_text()), "store": {"lake": str(tmp_path / "lake")}}
    (home / "recserve.yaml").write_text(yaml.safe_dump(config))
    run("import", "--events", domain.events, "--items", domain.items, "--home", home)
    return home


def bundle_of(output: str) -> str:
    found = re.search(r"bundle (\S+) is", output)
    assert found is not None
    return found[1]


def manifest(home: Path, bundle: str) -> dict[str, object]:
    found = json.loads((home / "bundles" / bundle / "manifest.json").read_text())
    return {name: found[name] for name in ("data", "components", "metrics", "files")}


def test_a_lake_trains_the_same_bundle_as_its_store(home: Path, tmp_path: Path) -> None:
    assert "1,200 events" in run("export", "--home", home)
    assert "0 events" in run("export", "--home", home)
    from_store = run("train", "--home", home)
    from_lake = run("train", "--events", tmp_path / "lake", "--home", home)
    assert "events in the lake" in from_lake
    first, second = (manifest(home, bundle_of(output)) for output in (from_store, from_lake))
    assert first == second


def test_a_lake_of_another_program_is_trained_on_without_an_import(domain: Domain, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "recserve.yaml").write_bytes(domain.config.read_bytes())
    events = pyarrow.csv.read_csv(domain.events)
    (tmp_path / "theirs" / "day=2020-01-01").mkdir(parents=True)
    pq.write_table(events, tmp_path / "theirs" / "day=2020-01-01" / "part.parquet")
    source = ("--events", tmp_path / "theirs", "--items", domain.items)
    printed = run("train", *source, "--no-evaluate", "--home", home)
    assert "1,200 events" in printed
    assert re.search(r"read for training +1,200", printed)
    with open_store(None, home) as store:
        assert store.counts().events == 0
    with pytest.raises(DataError, match="holds no day of the window"):
        run("train", *source, "--since", "2020-01-02", "--home", home)
    with pytest.raises(DataError, match="the store has no items"):
        run("train", "--events", tmp_path / "theirs", "--home", home)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("train", "--since", "2020-01-01"), "need --events"),
        (("train", "--events", "lake", "--since", "yesterday"), "is no day such as 2026-01-31"),
        (("export",), "name a folder, or a lake"),
        (("export", "--lake", "lake", "--events-after", "3"), "--events-after needs DIR"),
        (("export", "folder", "--follow"), "give either DIR, or --lake and --follow"),
        (("store", "expire"), "set store.retention_days"),
    ],
)
def test_options_that_contradict_each_other_are_refused(
    tmp_path: Path, arguments: tuple[str, ...], reason: str
) -> None:
    with pytest.raises(ConfigError, match=reason):
        run(*arguments, "--home", tmp_path)


def test_training_refuses_a_lake_with_too_many_bad_rows(domain: Domain, tmp_path: Path) -> None:
    events = pyarrow.csv.read_csv(domain.events)
    kinds = ["wave" if n % 10 == 0 else kind for n, kind in enumerate(events["event"].to_pylist())]
    place = events.schema.get_field_index("event")
    (tmp_path / "theirs").mkdir()
    pq.write_table(events.set_column(place, "event", [kinds]), tmp_path / "theirs" / "part.parquet")
    arguments = ("train", "--events", tmp_path / "theirs", "--items", domain.items, "--home", tmp_path)
    with pytest.raises(DataError, match=r"120 of 1,200 rows of .* are bad, more than a share of 0\.05"):
        run(*arguments)


def test_only_what_is_in_the_lake_expires(home: Path, tmp_path: Path) -> None:
    with open_store(None, home) as store:
        store.add_events([Event("new", "i", "view", now_ms())])
        everything = store.counts().events
    expire = ("store", "expire", "--older-than", "30", "--home", home)
    assert f"{everything - 1:,} events, 0 exposures" in run(*expire)
    with open_store(None, home) as store:
        assert store.counts().events == 1
    rows = sum(pq.read_metadata(path).num_rows for path in (tmp_path / "lake").rglob("*.parquet"))
    assert rows == everything
    assert "0 events, 0 exposures" in run(*expire)


def test_a_receipt_does_not_lie_about_the_lake(home: Path) -> None:
    run("export", "--home", home)
    with open_store(None, home) as store:
        person = store.recent_users(1)[0]
    printed = run("users", "delete", person, "--home", home)
    receipt = printed.rpartition("receipt: ")[2].strip()
    verified = CliRunner().invoke(app, ["deletions", "verify", receipt, "--home", str(home)])
    assert verified.exit_code == 1
    assert "run recserve export" in verified.output
    assert "rows removed that no longer count" in run("export", "--home", home)
    assert "clean: nothing is left" in run("deletions", "verify", receipt, "--home", home)


def test_a_follower_writes_what_comes_until_it_is_interrupted(home: Path, tmp_path: Path) -> None:
    # Who is started in the background may have been told to ignore interrupts.
    program = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    command = [sys.executable, "-c", program + "from recserve.cli import main; main()"]
    arguments = ["export", "--follow", "--every", "0.2", "--home", str(home)]
    with subprocess.Popen([*command, *arguments], stdout=subprocess.PIPE, text=True) as follower:
        assert follower.stdout is not None
        assert "1,200 events" in follower.stdout.readline()
        with open_store(None, home) as store:
            store.add_events([Event("new", "i", "view", 1, event_id="late")])
        deadline = time.monotonic() + 60
        folder = tmp_path / "lake" / "day=1970-01-01"
        while not list(folder.glob("events-*.parquet")) and time.monotonic() < deadline:
            time.sleep(0.1)
        follower.send_signal(signal.SIGINT)
        assert follower.wait(60) == 0
    (path,) = folder.glob("events-*.parquet")
    assert pq.read_table(path)["event_id"].to_pylist() == ["late"]
