"""Options of ``recserve import`` that say what files do not say themselves, and its preview."""

from __future__ import annotations

from pathlib import Path

import pytest

from recserve.errors import ConfigError, DataError
from tests.conftest import run
from tests.support.importing import imported, write

ITEMS = (
    "item_id,title,sku,url,released,about\n"
    "a,First,00012345,https://shop.example/a,2020-01-01,Warm and soft\n"
    "b,Second,00012346,https://shop.example/b,2020-02-01,Cold and hard\n"
    "c,Third,00012347,https://shop.example/c,2020-03-01,Red\n"
    "d,Fourth,00012348,https://shop.example/d,2020-04-01,Blue\n"
    "e,Fifth,00012349,https://shop.example/e,2020-05-01,\n"
)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def test_columns_can_be_named(home: Path, tmp_path: Path) -> None:
    events = write(tmp_path, "e.csv", "wer,was,wann,note\nu,a,2020-01-01,5\n")
    items = write(tmp_path, "i.csv", "nummer,bezeichnung\na,Apfel\n")
    done = imported(
        home,
        *("--events", events, "--items", items, "--map", "user_id=wer", "--map", "item_id=was"),
        *("--map", "item_id=nummer", "--map", "title=bezeichnung", "--map", "value=note", "--time", "wann"),
    )
    assert done.values() == [("u", "a", 5.0)]
    assert done.items == {"a": {"title": "Apfel"}}
    assert "user_id = wer, item_id = was, value = note, timestamp = wann" in done.said


def test_other_spellings_of_canonical_names_are_understood_and_said(home: Path, tmp_path: Path) -> None:
    events = write(tmp_path, "e.csv", "User ID,itemId,Event-Type,time\nu,a,click,2020-01-01\n")
    done = imported(home, "--events", events)
    assert done.types == {"click": 1}
    assert "user_id = User ID, item_id = itemId, event = Event-Type, timestamp = time" in done.said


def test_canonical_names_come_before_those_of_a_format(home: Path, tmp_path: Path) -> None:
    events = write(tmp_path, "e.csv", "user_id,item_id,anime_id,rating,timestamp\nu,a,7,4,1600000000\n")
    items = write(tmp_path, "i.csv", "item_id,asin,title\na,B01,Apple\n")
    done = imported(home, "--events", events, "--items", items)
    assert done.values() == [("u", "a", 4.0)]
    assert done.items == {"a": {"asin": "B01", "title": "Apple"}}


def test_files_without_a_header(home: Path, tmp_path: Path) -> None:
    events = write(tmp_path, "e.csv", "u,a,1600000000\nu,b,1600000001\n")
    done = imported(home, "--events", events, "--header", "user_id,item_id,timestamp")
    assert [event["item_id"] for event in done.events] == ["a", "b"]
    with pytest.raises(DataError, match="the first line has 3 columns, but 2 are named: user_id, item_id"):
        imported(home, "--events", events, "--header", "user_id,item_id")
    with pytest.raises(ConfigError, match="--header names the columns of one file"):
        imported(home, "--events", events, "--items", events, "--header", "user_id,item_id,timestamp")


def test_all_events_can_be_of_a_type(home: Path, tmp_path: Path) -> None:
    events = write(tmp_path, "e.csv", "user_id,item_id,value,timestamp\nu,a,3,1600000000\nu,b,,1600000001\n")
    done = imported(home, "--events", events, "--event", "play")
    assert done.types == {"play": 2}
    assert done.values() == [("u", "a", 3.0), ("u", "b", None)]
    assert "every row is of type play" in done.said


def test_event_types_can_be_renamed(home: Path, tmp_path: Path) -> None:
    rows = "u,a,Order placed,1600000000\nu,b,view,1600000000\nu,c,odd,1600000000\n"
    events = write(tmp_path, "e.csv", "user_id,item_id,event,timestamp\n" + rows)
    done = imported(home, "--events", events, "--event", "Order placed=purchase", "--allow-bad", "0.5")
    assert done.types == {"purchase": 1, "view": 1}
    assert "unknown event type 'odd'" in done.said


def test_events_without_times(home: Path, tmp_path: Path) -> None:
    rows = "".join(f"u{n % 7},i{n},rating,4\n" for n in range(50))
    events = write(tmp_path, "e.csv", "user_id,item_id,event,value\n" + rows)
    done = imported(home, "--events", events, "--time", "none")
    assert len(done.events) == 50
    assert "without times" in done.said
    by_number = sorted(done.events, key=lambda event: int(event["item_id"][1:]))
    moments = [event["timestamp"] for event in by_number]
    assert moments != sorted(moments)  # no user is behind another, as in the order of the file
    assert imported(tmp_path / "other", "--events", events, "--time", "none").events == done.events


@pytest.mark.parametrize(
    ("form", "cell", "moment"),
    [
        ("%d.%m.%Y", "31.12.2020", 1609372800000),
        ("%d/%b/%Y:%H:%M:%S %z", "13/Sep/2020:14:26:40 +0200", 1600000000000),
        ("%Y%m%d", "20201231", 1609372800000),
    ],
)
def test_times_of_any_form(home: Path, tmp_path: Path, form: str, cell: str, moment: int) -> None:
    events = write(tmp_path, "e.csv", f"user_id,item_id,day\nu,a,{cell}\nu,b,1600000000\n")
    done = imported(home, "--events", events, "--time", "day", "--time", form, "--allow-bad", "0.5")
    assert [event["timestamp"] for event in done.events] == [moment]
    assert f"'1600000000 (not {form})' is not a time" in done.said


def test_a_column_beside_a_format(home: Path, tmp_path: Path) -> None:
    events = write(tmp_path, "ratings.csv", "userId,movieId,rating,timestamp,seen\n1,2,3,5,2020-01-01\n")
    done = imported(home, "--events", events, "--time", "seen")
    assert done.events[0]["timestamp"] == 1577836800000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--format", "movilens"), "unknown format 'movilens'; did you mean 'movielens'"),
        (("--format", "hm"), "does not look like H&M; it needs t_dat, customer_id, article_id, price"),
        (("--map", "user_id"), "must look like user_id=COLUMN"),
        (("--map", "user_id=usr"), "no file has a column 'usr' that could be user_id"),
        (("--event", "plya"), "unknown event type 'plya'; did you mean 'play'"),
        (("--time", "whenever"), "has no column 'whenever'"),
        (("--header", "user_id,item_id,item_id"), "--header names 'item_id' twice"),
        *((("--encoding", name), f"unknown encoding {name!r}") for name in ("undefined", "idna", "hex")),
    ],
)
def test_mistakes(home: Path, tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    events = write(tmp_path, "e.csv", "user_id,item_id,timestamp\nu,a,1\n")
    with pytest.raises((ConfigError, DataError)) as refusal:
        imported(home, "--events", events, *arguments)
    assert message in refusal.value.message
    assert "\n" not in refusal.value.message


def test_a_header_is_for_files_that_have_none(home: Path, tmp_path: Path) -> None:
    events = write(tmp_path, "e.jsonl", '{"user_id": "u", "item_id": "a", "timestamp": 1600000000}')
    with pytest.raises(DataError, match=r"--header is for delimited files .*e\.jsonl has names"):
        imported(home, "--events", events, "--header", "user_id,item_id,timestamp")


def test_a_missing_column_says_how_to_name_it(home: Path, tmp_path: Path) -> None:
    events = write(tmp_path, "e.csv", "customer,item_id,timestamp\nu,a,1\n")
    with pytest.raises(DataError, match="Say which column it is with --map user_id=COLUMN"):
        imported(home, "--events", events)


def test_dry_run(home: Path, tmp_path: Path) -> None:
    items = write(tmp_path, "items.csv", ITEMS)
    events = write(
        tmp_path,
        "events.csv",
        "user_id,item_id,event,timestamp,session\nu,a,view,2020-01-01,1\nu,x,view,2020-05-01,1\n"
        "v,a,click,2020-03-01,2\nv,b,view,2021-01-02,2\nv,,view,2021-01-02,2\n",
    )
    options = ("--dry-run", "--allow-bad", "0.2")
    said = run("import", "--events", events, "--items", items, *options, "--home", home)
    lines = [line.strip() for line in said.splitlines()]
    assert "items: items.csv: no known format; item_id, title, sku, url, released, about" in lines
    columns = "user_id, item_id, event, timestamp; not read: session"
    assert f"events: events.csv: no known format; {columns}" in lines
    assert "2 users, 5 items, 4 events" in lines
    assert "events by type: view 3, click 1" in lines
    assert "events whose item is not in the catalogue: 1 (25.0%)" in lines
    assert "dates: 2020-01-01 to 2021-01-02" in lines
    assert "BERT reads of an item: title, about" in lines
    assert "such as: First. Warm and soft" in lines
    assert "BERT does not read: released (dates), sku (numbers), url (addresses)" in said
    assert "left out: user_id" not in said
    assert "item_id is empty" in said
    assert lines[-1] == "dry run: nothing was stored"
    assert not home.exists()


def test_a_dry_run_knows_the_items_that_are_stored(home: Path, tmp_path: Path) -> None:
    imported(home, "--items", write(tmp_path, "items.csv", ITEMS))
    events = write(tmp_path, "events.csv", "user_id,item_id,timestamp\nu,a,1\nu,x,1\n")
    said = run("import", "--events", events, "--dry-run", "--home", home)
    assert "events whose item is not in the catalogue: 1 (50.0%)" in said
    assert imported(home, "--events", events).types == {"view": 2}


def test_a_dry_run_of_a_data_set(home: Path) -> None:
    said = run("import", "--dataset", "movielens-small", "--dry-run", "--home", home)
    assert "671 users, 9,066 items, 100,004 events" in said
    assert not home.exists()


def test_identifiers_are_read_where_the_configuration_says_so(home: Path, tmp_path: Path) -> None:
    items = write(tmp_path, "items.csv", ITEMS)
    home.mkdir()
    (home / "recserve.yaml").write_text("item_text: {use: fields, params: {identifiers: true}}\n")
    said = run("import", "--items", items, "--dry-run", "--home", home)
    assert "BERT reads of an item: title, about, released, sku, url" in said
    assert "does not read" not in said
    (home / "recserve.yaml").write_text("item_text: {use: fields, params: {fields: [sku, title]}}\n")
    assert "such as: 00012345. First" in run("import", "--items", items, "--dry-run", "--home", home)
