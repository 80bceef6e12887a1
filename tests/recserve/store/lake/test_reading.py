"""A lake is read as an import reads a file; days outside of the window are not opened."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import fs

from recserve import DataError, Event, Item
from recserve.config import Config
from recserve.store import open_store
from recserve.store.ingest import read_events
from recserve.store.lake import LakeExport, LakeFolder, Span, read_lake, read_lake_items

TYPES = Config().event_types
DAY = 86_400_000


def write(folder: Path, name: str, rows: list[dict[str, Any]]) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def row(user: Any, item: Any, day: int, **more: Any) -> dict[str, Any]:
    return {"user_id": user, "item_id": item, "timestamp": day * DAY, **more}


def test_rows_are_read_and_counted_as_an_import_does(tmp_path: Path) -> None:
    rows = [
        row("u", "10.0", 20_000, event="view", rating=None),
        row(None, "a", 20_000, event="view", rating=None),
        row(" v", "b", 20_000, event=None, rating=4.0),
        row("w", "b", 20_000, event="rating", rating=99.0),
        row("w", "b", 20_000, event="wave", rating=None),
        row("w", "b", 9_000_000, event="view", rating=None),
    ]
    path = write(tmp_path, "lake/day=2024-10-04/x.parquet", rows)
    expected, imported = read_events(path, TYPES)
    found = read_lake(LakeFolder(str(tmp_path / "lake")), TYPES, tmp_path)
    assert found.table.to_pylist() == expected.drop_columns(["event_id", "text", "context"]).to_pylist()
    assert found.report.counts == imported.counts
    assert (found.report.rows, found.report.taken) == (imported.rows, imported.taken) == (6, 2)
    problem = found.report.problems[0]
    assert str(problem) == f"{tmp_path}/lake/day=2024-10-04/x.parquet:2: user_id is empty"


def test_columns_of_known_formats_are_understood(tmp_path: Path) -> None:
    write(tmp_path, "x.parquet", [{"userId": 1, "itemId": 2, "timestamp": 1_600_000_000, "other": 1}])
    found = read_lake(LakeFolder(str(tmp_path)), TYPES, tmp_path)
    assert found.table.to_pylist() == [
        {"user_id": "1", "item_id": "2", "event": "view", "value": None, "timestamp": 1_600_000_000_000}
    ]
    assert found.report.ignored == ["other"]


def test_days_outside_of_the_window_are_not_opened(tmp_path: Path) -> None:
    for day, name in ((20_000, "2024-10-04"), (20_002, "2024-10-06")):
        write(tmp_path, f"lake/day={name}/x.parquet", [row("u", "a", day, event="view")])
    # Opening it would fail.
    (tmp_path / "lake" / "day=2024-10-05").mkdir()
    (tmp_path / "lake" / "day=2024-10-05" / "x.parquet").write_bytes(b"damaged")
    write(tmp_path, "lake/whenever.parquet", [row("u", "b", day, event="view") for day in (20_001, 20_002)])
    lake = LakeFolder(str(tmp_path / "lake"))
    found = read_lake(lake, TYPES, tmp_path, Span(since=20_002))
    assert [each["timestamp"] // DAY for each in found.table.to_pylist()] == [20_002, 20_002]
    assert (found.files, found.pruned, found.outside) == (2, 2, 1)
    found = read_lake(lake, TYPES, tmp_path, Span(until=20_001))
    assert [each["timestamp"] // DAY for each in found.table.to_pylist()] == [20_000]
    with pytest.raises(DataError, match=r"day=2024-10-05/x\.parquet is not a complete Parquet file"):
        read_lake(lake, TYPES, tmp_path)


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({}, "holds no Parquet files"),
        ({"_temporary/x.parquet": [row("u", "a", 1)], ".x.parquet": [row("u", "a", 1)]}, "no Parquet files"),
        ({"x.parquet": [{"user_id": "u", "timestamp": 1}]}, "x.parquet has no column 'item_id'"),
        ({"x.parquet": [{"user_id": "u", "item_id": "a"}]}, "x.parquet has no column 'timestamp'"),
        ({"x.parquet": [row("", "a", 1)]}, "holds no usable row"),
        ({"day=1999-01-01/x.parquet": [row("u", "a", 10_592)]}, "holds no day of the window"),
    ],
)
def test_what_cannot_be_read_is_one_line(
    tmp_path: Path, files: dict[str, list[dict[str, Any]]], reason: str
) -> None:
    for name, rows in files.items():
        write(tmp_path / "lake", name, rows)
    with pytest.raises(DataError, match=reason) as refusal:
        read_lake(LakeFolder(str(tmp_path / "lake")), TYPES, tmp_path, Span(since=20_000))
    assert "\n" not in refusal.value.message


def test_a_uri_that_is_none_is_refused_without_its_secret() -> None:
    with pytest.raises(DataError, match="cannot be opened") as refusal:
        LakeFolder("nothing://key:secret@place/folder?x=y")
    assert "secret" not in refusal.value.message.partition(" cannot be opened")[0]


def test_items_are_those_of_the_last_file(tmp_path: Path) -> None:
    write(tmp_path, "items/1.parquet", [{"item_id": "a", "title": "old"}, {"item_id": "b", "title": "B"}])
    write(tmp_path, "items/2.parquet", [{"item_id": "a", "title": "new"}])
    table, reports = read_lake_items(LakeFolder(str(tmp_path / "items")), tmp_path)
    assert dict(zip(table["item_id"].to_pylist(), table["attributes"].to_pylist(), strict=True)) == {
        "a": '{"title": "new"}',
        "b": '{"title": "B"}',
    }
    assert [report.taken for report in reports] == [2, 1]
    (tmp_path / "items.csv").write_text("item_id,title\nx,X\n")
    assert read_lake_items(LakeFolder(str(tmp_path / "items.csv")), tmp_path)[0]["item_id"].to_pylist() == [
        "x"
    ]


@pytest.fixture
def bucket() -> Iterator[str]:
    """URI of an empty folder in object storage."""
    moto = pytest.importorskip("moto.server", reason="object storage needs: pip install 'moto[s3]' flask")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    place = "{}:{}".format(*server.get_host_and_port())
    options = f"endpoint_override={place}&scheme=http&region=us-east-1&allow_bucket_creation=true"
    try:
        filesystem, _ = fs.FileSystem.from_uri(f"s3://key:secret@lake?{options}")
        filesystem.create_dir("lake")
        yield f"s3://key:secret@lake/events?{options}"
    finally:
        server.stop()


def test_object_storage_is_written_and_read(bucket: str, tmp_path: Path) -> None:
    lake = LakeFolder(bucket)
    assert lake.where == "s3://lake/events"
    with open_store(None, tmp_path) as store:
        store.upsert_items([Item("a")])
        store.add_events([Event(f"u{day}", "a", "view", day * DAY, timed=False) for day in (1, 2, 3)])
        export = LakeExport(store, lake, tmp_path)
        assert (export.run().files, export.run().files) == (3, 0)
        found = read_lake(lake, TYPES, tmp_path, Span(since=2))
        assert found.table["user_id"].to_pylist() == ["u2", "u3"]
        store.delete_user("u3")
        assert export.run().withdrawn == 1
        found = read_lake(lake, TYPES, tmp_path)
        assert found.table["user_id"].to_pylist() == ["u1", "u2"]
    assert list(tmp_path.glob(".*")) == []
