"""``recserve import`` says what became of every row, and training what it learnt from."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from recserve import DataError
from recserve.cli import app
from recserve.store import open_store

if TYPE_CHECKING:
    from tests.conftest import Domain

HEADER = "user_id,item_id,event,value,timestamp\n"


def write(folder: Path, name: str, *lines: str) -> Path:
    path = folder / name
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(one) for one in arguments], catch_exceptions=False)


def rows_of(output: str) -> dict[str, int]:
    """What the tables of an output say: a description and a number."""
    found = re.findall(r"^ .*?(\S(?:\S| (?! ))*)  +([0-9,]+)(?:  .*)?$", output, re.MULTILINE)
    return {what: int(number.replace(",", "")) for what, number in found}


def stored(home: Path) -> list[tuple[str, str, str, float | None, int]]:
    with open_store(None, home) as store:
        events = store.snapshot().events.to_pylist()
    return [
        tuple(one[name] for name in ("user_id", "item_id", "event", "value", "timestamp")) for one in events
    ]


def good_lines(count: int) -> list[str]:
    return [f"u{n},i{n % 5},view,,{1_600_000_000 + n}" for n in range(count)]


def test_below_the_share_good_rows_are_stored(tmp_path: Path) -> None:
    bad = ["u,i,rating,10,1600000000", "u,i,rating,-1,1600000000"]
    events = write(tmp_path, "e.csv", HEADER.strip(), *good_lines(38), *bad, ",,,,")
    done = run("import", "--events", events, "--home", tmp_path / "home")
    assert done.exit_code == 0
    assert "38 events imported, 2 bad rows left out" in done.stdout
    said = rows_of(done.stdout)
    assert said["events read"] == 41
    assert said["stored"] == 38
    assert said["left out: value is off the scale of 'rating' (0.5 to 5)"] == 2
    assert said["left out: no cell of the row holds anything"] == 1
    assert "line 40: value 10 is off the scale of 'rating', which runs from 0.5 to 5" in done.stdout
    assert "set events.rating.value_range in recserve.yaml" in done.stderr
    assert len(stored(tmp_path / "home")) == 38


def test_above_the_share_nothing_is_stored_and_the_status_is_1(tmp_path: Path) -> None:
    events = write(tmp_path, "e.csv", HEADER.strip(), *good_lines(18), "u,i,view,,5pm")
    items = write(tmp_path, "i.csv", "item_id,title", "i1,A")
    done = run("import", "--events", events, "--items", items, "--home", tmp_path / "home")
    assert done.exit_code == 1
    assert f"nothing was stored: 1 of 19 rows of {events} are bad, more than a share of 0.05" in done.stderr
    assert "--allow-bad 0.06" in done.stderr
    said = rows_of(done.stdout)
    assert (said["events read"], said["items read"]) == (19, 1)
    assert "stored" not in said
    assert not (tmp_path / "home").exists()
    done = run("import", "--events", events, "--home", tmp_path / "home", "--allow-bad", "0.06")
    assert done.exit_code == 0
    assert len(stored(tmp_path / "home")) == 18


def test_a_file_of_bad_rows_only(tmp_path: Path) -> None:
    events = write(tmp_path, "e.csv", HEADER.strip(), "u,i,rating,7,1600000000", "u,i,view,,2019")
    done = run("import", "--events", events, "--home", tmp_path / "home", "--allow-bad", "1")
    assert done.exit_code == 1
    assert "2 of 2 rows" in done.stderr
    assert "--allow-bad" not in done.stderr
    assert rows_of(done.stdout)["left out: timestamp looks like a year"] == 1


def test_a_second_import_says_what_was_there(tmp_path: Path) -> None:
    events = write(tmp_path, "e.csv", HEADER.strip(), *good_lines(3))
    run("import", "--events", events, "--home", tmp_path / "home")
    said = rows_of(run("import", "--events", events, "--home", tmp_path / "home").stdout)
    assert (said["events read"], said["stored"], said["there already, or the same event twice"]) == (3, 0, 3)


def test_what_the_store_refuses_is_not_what_was_there(tmp_path: Path) -> None:
    events = write(tmp_path, "e.csv", "user_id,item_id,timestamp", "gone,a,1600000000", "u,a,1600000001")
    home = tmp_path / "home"
    run("import", "--events", events, "--home", home)
    with open_store(None, home) as store:
        store.delete_user("gone")
    said = rows_of(run("import", "--events", events, "--home", home).stdout)
    assert (said["events read"], said["stored"], said["there already, or the same event twice"]) == (2, 0, 1)
    assert said["left out: they were taken back or deleted with their user"] == 1


def test_a_wider_scale_takes_the_values(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "recserve.yaml").write_text("events: {rating: {value_range: [0, 10]}}")
    events = write(
        tmp_path, "e.csv", "user_id,item_id,rating,timestamp", "a,b,0,1600000000", "a,c,10,1600000001"
    )
    assert run("import", "--events", events, "--home", home).exit_code == 0
    assert [row[3] for row in stored(home)] == [0.0, 10.0]


def test_events_of_unknown_items_are_counted_and_bare_items_made_on_demand(tmp_path: Path) -> None:
    home = tmp_path / "home"
    events = write(tmp_path, "e.csv", HEADER.strip(), *good_lines(10))
    items = write(tmp_path, "i.csv", "item_id,title", "i0,A", "i1,B")
    done = run("import", "--events", events, "--items", items, "--home", home)
    expected = (
        "6 of 10 events are about 3 items that are not in the catalogue, such as 'i2'; they are not learnt"
    )
    assert expected in done.stderr
    assert rows_of(done.stdout)["of these about items not in the catalogue"] == 6
    done = run("import", "--events", events, "--create-items", "--home", home)
    assert "not in the catalogue" not in done.stderr
    assert rows_of(done.stdout)["bare items made"] == 3
    with open_store(None, home) as store:
        found = store.items([f"i{n}" for n in range(5)])
    assert [dict(found[f"i{n}"].attributes) for n in range(5)] == [{"title": "A"}, {"title": "B"}, {}, {}, {}]


def test_bare_items_for_events_that_are_stored(tmp_path: Path) -> None:
    home = tmp_path / "home"
    assert run(
        "import", "--events", write(tmp_path, "e.csv", HEADER.strip(), *good_lines(10)), "--home", home
    )
    done = run("import", "--create-items", "--home", home)
    assert rows_of(done.stdout)["bare items made"] == 5
    with open_store(None, home) as store:
        assert store.counts().items == 5
    with pytest.raises(DataError, match="give either --dataset"):
        run("import", "--home", home)


def test_the_same_id_in_every_file(tmp_path: Path) -> None:
    home = tmp_path / "home"
    pq.write_table(pa.table({"item_id": [10.0, 11.0], "title": ["A", "B"]}), tmp_path / "i.parquet")
    lines = ['{"user_id": 1.0, "item_id": 10.0, "timestamp": 1600000000}']
    lines += [
        '{"timestamp": 1600000001, "item_id": "11", "user_id": "1"}',
        '{"user_id": 2, "item_id": 10, "timestamp": 1600000002, "event": "like"}',
    ]
    events = write(tmp_path, "e.jsonl", *lines)
    run("import", "--items", tmp_path / "i.parquet", "--events", events, "--home", home)
    more = write(tmp_path, "e.tsv", "user_id\titem_id\ttimestamp\t\t", "1.0\t11.0\t1600000003\t\t")
    done = run("import", "--events", more, "--home", home)
    assert "not in the catalogue" not in done.stderr
    assert {row[:2] for row in stored(home)} == {("1", "10"), ("1", "11"), ("2", "10")}


def test_sparse_json_lines_may_name_a_column_late(tmp_path: Path) -> None:
    lines = ['{"user_id": "u", "item_id": "i"}'] + [
        f'{{"user_id": "u", "item_id": "i{n}", "timestamp": {1_600_000_000 + n}}}' for n in range(30)
    ]
    done = run("import", "--events", write(tmp_path, "e.jsonl", *lines), "--home", tmp_path / "home")
    assert done.exit_code == 0
    assert rows_of(done.stdout)["left out: timestamp is empty"] == 1
    with pytest.raises(DataError, match="has no column 'timestamp'"):
        run("import", "--events", write(tmp_path, "f.jsonl", lines[0]), "--home", tmp_path / "home")


def test_columns_that_nobody_reads_are_named(tmp_path: Path) -> None:
    events = write(tmp_path, "e.csv", "user_id,item_id,timestamp,page,page,,", "u,i,1600000000,x,y,,")
    done = run("import", "--events", events, "--home", tmp_path / "home")
    assert "1 events imported" in done.stdout
    assert "page, page (2), Unnamed: 5, Unnamed: 6" in done.stdout


def test_data_sets_of_plugins_are_counted_too(tmp_path: Path) -> None:
    done = run("import", "--dataset", "movielens-small", "--home", tmp_path / "home")
    assert done.exit_code == 0
    said = rows_of(done.stdout)
    assert (said["items read"], said["events read"]) == (9066, 100_004)
    assert said["stored"] == 100_004


def test_training_says_what_it_did_not_learn_from(domain: Domain, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    plain = domain.config.read_text()
    (home / "recserve.yaml").write_text(plain + "\nevents: {listen: {}}\n")
    run("import", "--events", domain.events, "--items", domain.items, "--home", home)
    more = [f"user-1,stranger-{n % 2},view,,1600000000" for n in range(5)]
    more += ["user-1,item-0,listen,,1600000000", "user-1,item-0,rating,5,1600000000"]
    run("import", "--events", write(tmp_path, "e.csv", HEADER.strip(), *more), "--home", home)
    (home / "recserve.yaml").write_text(plain + "\nevents: {rating: {value_range: [1, 4]}}\n")
    done = run("train", "--no-evaluate", "--home", home)
    assert "5 of 1,207 events are about 2 items that are not in the catalogue" in done.stderr
    assert "1 of 1,207 events are of type 'listen', which is not configured" in done.stderr
    said = rows_of(done.stdout)
    assert said["events in the store"] == 1207
    assert said["learnt from"] == 1201
    assert said["left out: of 2 items that are not in the catalogue"] == 5
    assert said["left out: type 'listen' is not configured"] == 1
    assert said["of these off the scale of 'rating', taken as its nearer end"] == 1


def test_events_without_a_catalogue_are_trained_on_after_one_more_command(
    domain: Domain, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "recserve.yaml").write_bytes(domain.config.read_bytes())
    run("import", "--events", domain.events, "--home", home)
    with pytest.raises(DataError, match=r"0 items and 1200 events.*import --create-items"):
        run("train", "--home", home)
    run("import", "--create-items", "--home", home)
    done = run("train", "--no-evaluate", "--home", home)
    assert "not in the catalogue" not in done.output
    assert rows_of(done.stdout)["learnt from"] == 1200


def test_nothing_but_unknown_items_is_one_line(domain: Domain, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "recserve.yaml").write_bytes(domain.config.read_bytes())
    events = write(tmp_path, "e.csv", HEADER.strip(), *good_lines(4))
    run(
        "import",
        "--events",
        events,
        "--items",
        write(tmp_path, "i.csv", "item_id,title", "x,X"),
        "--home",
        home,
    )
    with pytest.raises(DataError, match="no event to learn from: 4 of 4 events are about 4 items") as refusal:
        run("train", "--home", home)
    assert "\n" not in refusal.value.message
