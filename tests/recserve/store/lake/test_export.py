"""A store's lake holds each event once, whatever is interrupted, deleted, taken back or merged."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recserve import DataError, Event
from recserve.config import Config
from recserve.store import Exposure, Store, key_of, open_store
from recserve.store.lake import LakeExport, LakeFolder, read_lake
from recserve.store.lake.folder import LakeFile
from recserve.store.lake.withdrawal import rows_of_people

DAY = 86_400_000


def event(user: str, item: str, day: int, event_id: str | None = None) -> Event:
    return Event(user, item, "view", day * DAY + 1, None, event_id, timed=False)


@pytest.fixture
def lake(tmp_path: Path) -> LakeFolder:
    return LakeFolder(str(tmp_path / "lake"))


@pytest.fixture
def export(store: Store, lake: LakeFolder, tmp_path: Path) -> LakeExport:
    return LakeExport(store, lake, tmp_path)


def rows(lake: LakeFolder) -> list[tuple[str, str]]:
    """Event id and user of each row that counts."""
    found = []
    for file in lake.files():
        with lake.open(file) as opened:
            table = pq.ParquetFile(opened).read()
        found += zip(table["event_id"].to_pylist(), table["user_id"].to_pylist(), strict=True)
    return sorted(found)


def in_store(store: Store) -> list[tuple[str, str]]:
    table, _ = store.events_after(0, 10_000)
    return sorted(zip(table["event_id"].to_pylist(), table["user_id"].to_pylist(), strict=True))


def test_each_event_is_written_once_into_the_folder_of_its_day(
    store: Store, lake: LakeFolder, export: LakeExport, tmp_path: Path
) -> None:
    store.add_events([event("u", "a", 20_000, "1"), event("v", "b", 20_001, "2"), event("w", "c", -3, "3")])
    first = export.run()
    assert (first.events, first.files, first.next_event) == (3, 3, 3)
    folders = sorted(path.name for path in (tmp_path / "lake").iterdir() if path.is_dir())
    assert folders == ["day=1969-12-29", "day=2024-10-04", "day=2024-10-05"]
    before = {file.path: Path(file.path).stat().st_mtime_ns for file in lake.files()}
    assert (export.run().events, len(lake.files())) == (0, 3)
    store.add_events([event("u", "a", 20_000, "4")])
    assert store.new_events(first.next_event) == 1
    assert (export.run().events, rows(lake)) == (1, in_store(store))
    after = {file.path: Path(file.path).stat().st_mtime_ns for file in lake.files()}
    assert before.items() <= after.items(), "nothing is written anew"
    assert (tmp_path / "lake").stat().st_mode & 0o077 == 0


def test_words_are_written_and_go_with_their_user(
    store: Store, lake: LakeFolder, export: LakeExport, tmp_path: Path
) -> None:
    words = [Event(user, "", "search", DAY, None, user, text=f"what {user} wrote") for user in "uv"]
    store.add_events([*words, event("u", "a", 1, "1")])
    export.run()
    assert read_lake(lake, Config().event_types, tmp_path).table["item_id"].to_pylist() == ["", "", "a"]
    store.delete_user("u")
    export.run()
    (file,) = lake.files()
    assert lake.read(file)["text"].to_pylist() == ["what v wrote"]
    assert b"what u wrote" not in Path(file.path).read_bytes()


def test_a_row_is_what_the_store_holds(store: Store, lake: LakeFolder, export: LakeExport) -> None:
    # Text that an import would take for something else.
    store.add_events([Event(" u", "10.0", "odd kind", 5, 2.5, "x", "r1", timed=False)])
    export.run()
    found = read_lake(lake, Config().event_types, Path(lake.files()[0].path).parent)
    assert found.table.to_pylist() == store.snapshot().events.to_pylist()
    assert found.table.to_pylist()[0]["item_id"] == "10.0"


class Interrupted(Exception):
    """An export that ends in the middle."""


class FailingLake(LakeFolder):
    """A lake whose writer dies at one of its writes."""

    def __init__(self, where: str, writes: int) -> None:
        super().__init__(where)
        self._left = writes

    def _put(self, path: str, content: pa.Buffer) -> None:
        self._left -= 1
        if self._left < 0:
            raise Interrupted
        super()._put(path, content)


@pytest.mark.parametrize("writes", range(9))
def test_an_interrupted_export_leaves_nothing_out_and_nothing_twice(
    store: Store, lake: LakeFolder, export: LakeExport, tmp_path: Path, writes: int
) -> None:
    def add(days: Sequence[int]) -> None:
        store.add_events([event(f"u{day}", "a", day) for day in days])

    add([1, 2, 3])
    with contextlib.suppress(Interrupted):
        LakeExport(store, FailingLake(lake.where, writes), tmp_path, file_rows=2).run()
    counted = rows(lake)
    assert set(counted) <= set(in_store(store)), "what a reader sees meanwhile"
    assert len(set(counted)) == len(counted)
    # The next one begins with other events: its files are others than those that were begun.
    store.delete_user("u3")
    add([2, 9])
    export.run()
    assert rows(lake) == in_store(store)
    assert all(LakeFile.of(str(path), path.name).numbers for path in (tmp_path / "lake").rglob("*.parquet"))
    assert len(list((tmp_path / "lake").rglob("*.parquet"))) == len(lake.files())


def test_who_is_deleted_is_gone_and_can_begin_again(
    store: Store, lake: LakeFolder, export: LakeExport
) -> None:
    store.add_events([event("u", "a", 1, "1"), event("v", "a", 1, "2"), event("u", "b", 2, "3")])
    export.run()
    store.delete_user("u")
    store.add_events([event("u", "c", 3, "4")])
    (deletion,) = store.deletions()
    people = {key_of("u"): (deletion.number, deletion.last_event)}
    assert rows_of_people(lake, people) == 2
    done = export.run()
    assert (done.events, done.withdrawn) == (1, 2)
    assert rows(lake) == [("2", "v"), ("4", "u")]
    assert rows_of_people(lake, people) == 0
    assert len(lake.files()) == 2, "a file without a row left is removed"
    assert export.run().withdrawn == 0


def test_who_is_deleted_after_the_events_expired_is_gone(
    store: Store, lake: LakeFolder, export: LakeExport
) -> None:
    store.add_events([event("v", "a", 9, "1"), event("u", "a", 1, "2")])
    export.run()
    assert store.expire_events(5 * DAY) == 1
    store.delete_user("u")
    export.run()
    assert rows(lake) == [("1", "v")]


def exposures(lake: LakeFolder) -> list[str]:
    tables = [lake.read(file) for file in lake.exposure_files()]
    return sorted(found for table in tables for found in table["recommendation_id"].to_pylist())


@pytest.mark.parametrize("writes", range(7))
def test_exposures_that_expire_are_in_the_lake_once(
    store: Store, lake: LakeFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    monkeypatch.setattr("recserve.store.lake.export._READ_ROWS", 2)
    store.add_events([event("u", "a", 1, "1"), event("u", "a", 9, "2")])
    shown = [Exposure(f"r{n}", "uv"[n % 2], "b", "home", n % 3 * DAY, (), 0) for n in range(6)]
    store.add_exposures([*shown, Exposure("new", None, "b", "home", 9 * DAY, (), 0)])
    store.flush()
    with contextlib.suppress(Interrupted):
        LakeExport(store, FailingLake(lake.where, writes), tmp_path).expire(5 * DAY)
    export = LakeExport(store, lake, tmp_path)
    export.expire(5 * DAY)
    assert in_store(store) == [("2", "u")]
    assert store.exposures("new") is not None
    assert [store.exposures(f"r{n}") for n in range(6)] == [None] * 6
    assert exposures(lake) == [f"r{n}" for n in range(6)]
    assert rows(lake) == [("1", "u"), ("2", "u")]
    store.delete_user("u")
    assert export.run().withdrawn == 5
    assert exposures(lake) == ["r1", "r3", "r5"]


def test_an_expiry_that_was_interrupted_after_writing_writes_nothing_twice(
    store: Store, lake: LakeFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.add_exposures([Exposure(f"r{n}", "u", "b", "home", n, (), 0) for n in range(3)])
    store.flush()
    export = LakeExport(store, lake, tmp_path)

    def interrupted(self: LakeExport, found: pa.Table) -> int:
        raise Interrupted

    with monkeypatch.context() as patch:
        patch.setattr(LakeExport, "_remove", interrupted)
        with pytest.raises(Interrupted):
            export.expire(5)
    assert export.expire(5) == (0, 3)
    assert exposures(lake) == ["r0", "r1", "r2"]


def test_an_event_that_is_taken_back_is_gone(store: Store, lake: LakeFolder, export: LakeExport) -> None:
    store.add_events([event("u", "a", 1, "1"), event("u", "b", 1, "2")])
    export.run()
    store.remove_event("1")
    assert export.run().withdrawn == 1
    assert rows(lake) == [("2", "u")]


def test_events_of_a_session_are_there_once_after_it_was_merged(
    store: Store, lake: LakeFolder, export: LakeExport
) -> None:
    store.add_events([event("session", "a", 1, "1"), event("u", "b", 1, "2")])
    export.run()
    store.merge_user("session", "u")
    store.add_events([event("session", "c", 1, "3")])
    done = export.run()
    assert (done.events, done.withdrawn) == (2, 1)
    assert rows(lake) == [("1", "u"), ("2", "u"), ("3", "session")] == in_store(store)


def test_a_session_that_is_merged_again_and_on_is_there_once(
    store: Store, lake: LakeFolder, export: LakeExport
) -> None:
    for number, target in enumerate(["u", "u", "u"]):
        store.add_events([event("session", "a", number, str(number))])
        export.run()
        store.merge_user("session", target)
    store.merge_user("u", "w")
    export.run()
    assert rows(lake) == [("0", "w"), ("1", "w"), ("2", "w")] == in_store(store)


def test_a_session_that_is_merged_while_it_is_read_is_there_once(
    store: Store, lake: LakeFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recserve.store.lake.export._READ_ROWS", 1)
    store.add_events([event("session", "a", 1, "1")])
    read, calls = store.events_after, iter(range(9))

    def reading(seq: int, limit: int) -> tuple[pa.Table, int]:
        found = read(seq, limit)
        if next(calls) == 0:
            store.merge_user("session", "u")
        return found

    monkeypatch.setattr(store, "events_after", reading)
    LakeExport(store, lake, tmp_path).run()
    assert rows(lake) == [("1", "u")]


def test_a_lake_belongs_to_one_store(
    store: Store, lake: LakeFolder, export: LakeExport, tmp_path: Path
) -> None:
    export.run()
    with open_store(f"sqlite:///{tmp_path}/another.db", tmp_path) as another:
        with pytest.raises(DataError, match="is of another store"):
            LakeExport(another, lake, tmp_path).run()
        (tmp_path / "theirs").mkdir()
        pq.write_table(pa.table({"user_id": ["u"]}), tmp_path / "theirs" / "part-0.parquet")
        with pytest.raises(DataError, match="files of another program"):
            LakeExport(another, LakeFolder(str(tmp_path / "theirs")), tmp_path).run()


_actions = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.sampled_from("uvs"), st.integers(0, 2)),
        st.tuples(st.just("delete"), st.sampled_from("uvs"), st.just(0)),
        st.tuples(st.just("merge"), st.sampled_from("vs"), st.just(0)),
        st.tuples(st.just("take back"), st.just(""), st.integers(0, 30)),
        st.tuples(st.just("export"), st.just(""), st.just(0)),
        st.tuples(st.just("interrupt"), st.just(""), st.integers(0, 4)),
    ),
    max_size=20,
)


@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(actions=_actions)
def test_whatever_happens_the_lake_is_what_the_store_is(
    store: Store, tmp_path_factory: pytest.TempPathFactory, actions: list[tuple[str, str, int]]
) -> None:
    folder: Path = tmp_path_factory.mktemp("home")
    lake = LakeFolder(str(folder / "lake"))
    for user in "uvs":
        store.delete_user(user)
    ids: list[str] = []
    for number, (what, user, value) in enumerate([*actions, ("export", "", 0)]):
        if what == "add":
            ids.append(f"{folder.name}-{number}")
            store.add_events([event(user, "a", value, ids[-1])])
        elif what == "delete":
            store.delete_user(user)
        elif what == "merge":
            store.merge_user(user, "u")
        elif what == "take back" and ids:
            store.remove_event(ids[value % len(ids)])
        elif what == "export":
            LakeExport(store, lake, folder, file_rows=3).run()
        elif what == "interrupt":
            with contextlib.suppress(Interrupted):
                LakeExport(store, FailingLake(lake.where, value), folder, file_rows=3).run()
    assert rows(lake) == in_store(store)


def test_names_of_files_say_what_they_hold() -> None:
    def facts(name: str) -> tuple[Any, Any]:
        file = LakeFile.of(f"/lake/{name}", name)
        return file.day, file.numbers

    own = "day=2024-10-04/events-00000000000000000001-00000000000000000009.parquet"
    assert facts(own) == (20_000, (1, 9))
    assert facts("day=2024-10-04/part-0.parquet") == (20_000, None)
    assert facts("day=2024-13-44/part-0.parquet") == (None, None)
    assert facts("date=2024-10-04/part-0.parquet") == (None, None)
