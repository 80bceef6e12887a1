"""Several threads, several processes, sudden death."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import Connection, create_engine, make_url, text

from recserve import Event, Item
from recserve.data.entities import User
from recserve.errors import StoreError
from recserve.store import Exposure, ItemPatch, Store, open_store, parse_url
from recserve.store.sql.database import Database, DatabaseUnavailableError
from recserve.store.sql.group_commit import Writer
from recserve.store.sql.queries.adding import insert_events, new_event_rows
from recserve.store.sql.queries.rows import Row

NOTHING = dict.fromkeys(("events", "exposures", "user_impressions", "users", "merges"), 0)
"""Rows that are left of somebody who was deleted."""

WORKER = """
import sys
from pathlib import Path
from recserve import Event
from recserve.store import open_store

url, name, total, batch = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
print("up", flush=True)
sys.stdin.readline()
with open_store(url, Path(".")) as store:
    for start in range(0, total, batch):
        store.add_events(
            [Event(name, f"i{n}", "view", n, event_id=f"{name}-{n}") for n in range(start, start + batch)]
        )
        print(start + batch, flush=True)
"""


def start_worker(url: str, name: str, total: int, batch: int) -> subprocess.Popen[str]:
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER, url, name, str(total), str(batch)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert worker.stdout is not None
    assert worker.stdout.readline() == "up\n"
    return worker


def test_processes_that_open_a_new_store_at_once_and_write(store_url: str, tmp_path: Path) -> None:
    workers = [start_worker(store_url, f"w{n}", 100, 4) for n in range(3)]
    for worker in workers:  # all create the tables at the same moment, then write
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    for worker in workers:
        _, errors = worker.communicate(timeout=120)
        assert worker.returncode == 0, errors
    with open_store(store_url, tmp_path) as store:
        assert store.counts().events == 300
        assert {len(found) for found in store.histories(["w0", "w1", "w2"], 999).values()} == {100}


def test_acknowledged_events_survive_sigkill(store_url: str, tmp_path: Path) -> None:
    worker = start_worker(store_url, "w", 1_000_000, 3)
    assert worker.stdin is not None
    assert worker.stdout is not None
    worker.stdin.write("go\n")
    worker.stdin.flush()
    acknowledged = 0
    for line in worker.stdout:
        acknowledged = int(line)
        if acknowledged >= 60:
            os.kill(worker.pid, signal.SIGKILL)
            break
    # Acknowledgements that were on their way when the process died count too.
    acknowledged = max([acknowledged, *(int(line) for line in worker.stdout if line.endswith("\n"))])
    worker.wait()
    worker.stdin.close()
    with open_store(store_url, tmp_path) as store:
        stored = store.counts().events
        assert stored >= acknowledged
        assert stored % 3 == 0  # all of a call or none
        found = store.histories(["w"], 10_000_000)["w"]
        assert [event.timestamp for event in found] == list(range(stored))


def test_many_threads_lose_nothing_and_count_right(store: Store) -> None:
    def post(thread: int) -> int:
        # Every second event is posted by the neighbour as well.
        return sum(
            store.add_events([Event("u", "i", "view", n, event_id=f"{thread + n % 2}/{n}")])
            for n in range(20)
        )

    with ThreadPoolExecutor(24) as pool:
        counted = sum(pool.map(post, range(24)))
    assert (
        store.counts().events
        == counted
        == len({(thread + n % 2, n) for thread in range(24) for n in range(20)})
    )


def test_read_your_writes_in_another_store_object(open_again: Callable[[], Store]) -> None:
    writer, reader = open_again(), open_again()
    for n in range(50):
        writer.add_events([Event("u", f"i{n}", "view", n)])
        assert reader.histories(["u"], 1)["u"][0].item_id == f"i{n}"


class GatedWriter:
    """A writer whose thread is held inside a transaction while others queue up."""

    def __init__(self, url: str, folder: Path) -> None:
        self.store = open_store(url, folder)  # makes the tables
        self.database = Database(parse_url(url, folder))
        self.writer = Writer(self.database)
        self.entered, self.gate = threading.Event(), threading.Event()

    def hold(self) -> None:
        def wait_inside(connection: Connection) -> None:
            self.entered.set()
            self.gate.wait(30)

        self.writer.defer(wait_inside)
        assert self.entered.wait(30)

    def close(self) -> None:
        self.gate.set()
        self.writer.close()
        self.database.close()
        self.store.close()


@pytest.fixture
def gated(store_url: str, tmp_path: Path) -> object:
    one = GatedWriter(store_url, tmp_path)
    yield one
    one.close()


def test_callers_that_queue_up_share_one_transaction(gated: GatedWriter) -> None:
    transactions: list[object] = []
    gated.hold()
    with ThreadPoolExecutor(12) as pool:
        waiting = [
            pool.submit(gated.writer.run, lambda c: transactions.append(c.get_transaction()))
            for _ in range(12)
        ]
        while len(gated.writer._urgent) < 12:
            threading.Event().wait(0.01)
        gated.gate.set()
        for one in waiting:
            one.result(30)
    assert len(transactions) == 12
    assert len(set(map(id, transactions))) == 1


def test_one_failing_caller_does_not_fail_its_group(gated: GatedWriter) -> None:
    def insert(name: str) -> Callable[[Connection], int]:
        sql = text("INSERT INTO meta (name, value) VALUES (:name, 'x')")
        return lambda c: c.execute(sql, {"name": name}).rowcount

    gated.hold()
    with ThreadPoolExecutor(3) as pool:
        waiting = []
        for name in ("a", "schema_version", "b"):  # the second violates the primary key
            waiting.append(pool.submit(gated.writer.run, insert(name)))
            while len(gated.writer._urgent) < len(waiting):
                threading.Event().wait(0.01)
        gated.gate.set()
        assert waiting[0].result(30) == 1
        with pytest.raises(StoreError, match=r"(?i)unique"):
            waiting[1].result(30)
        assert waiting[2].result(30) == 1
    stored = gated.database.read(lambda c: c.execute(text("SELECT name FROM meta")).scalars().all())
    assert sorted(stored) == ["a", "b", "schema_version"]


def test_a_bug_in_one_piece_of_work_reaches_its_caller_and_the_thread_lives(
    gated: GatedWriter,
) -> None:
    def broken(connection: Connection) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        gated.writer.run(broken)
    assert gated.writer.run(lambda connection: 7) == 7


def test_an_unreachable_database_fails_all_that_wait_at_once(tmp_path: Path) -> None:
    attempts = []

    class Unreachable(Database):
        def write(self, work: object, until: float | None = None) -> None:  # type: ignore[override]  # never returns
            attempts.append(work)
            raise DatabaseUnavailableError("gone")

    database = Unreachable(parse_url(None, tmp_path))
    writer = Writer(database)
    with writer._changed:  # the thread cannot take the first before the last has queued up
        waiting = [writer.defer(lambda connection: None) for _ in range(50)]
    writer.close()
    assert all(isinstance(one.exception(30), DatabaseUnavailableError) for one in waiting)
    assert len(attempts) == 1
    database.close()


def test_a_foreign_writer_delays_but_does_not_fail(tmp_path: Path) -> None:
    with open_store(None, tmp_path) as store:
        foreign = sqlite3.connect(tmp_path / "recserve.db", isolation_level=None)
        foreign.execute("BEGIN IMMEDIATE")
        with ThreadPoolExecutor(1) as pool:
            posted = pool.submit(store.add_events, [Event("u", "i", "view", 1)])
            # Readers do not even wait.
            assert store.histories(["u"], 1) == {"u": []}
            assert store.counts().events == 0
            threading.Event().wait(0.3)
            assert not posted.done()
            foreign.execute("COMMIT")
            assert posted.result(30) == 1
        foreign.close()


def test_sqlite_is_set_up_for_durability(tmp_path: Path) -> None:
    database = Database(parse_url(None, tmp_path))

    def pragmas(connection: Connection) -> list[object]:
        names = ("journal_mode", "synchronous", "foreign_keys")
        return [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in names]

    assert database.write(pragmas) == ["wal", 2, 1]
    assert database.read(pragmas) == ["wal", 2, 1]
    database.close()


def test_histories_read_only_the_newest_entries_of_the_index(tmp_path: Path) -> None:
    from recserve.store.sql.queries.history import newer_query

    with open_store(None, tmp_path):
        database = Database(parse_url(None, tmp_path))
        sql = newer_query(postgres=False).compile()
        parameters = {**sql.params, "pairs": "[[1, 0]]", "limit": 5}
        plan = database.read(lambda c: c.execute(text(f"EXPLAIN QUERY PLAN {sql}"), parameters).all())
        database.close()
    steps = [row[-1] for row in plan]
    assert any("COVERING INDEX ix_events_user_hash_timestamp_seq (user_hash=?)" in one for one in steps)
    assert not any("SCAN events" in one for one in steps)


def test_stale_connections_are_replaced(postgres_server: str, tmp_path: Path) -> None:
    admin = create_engine(
        make_url(postgres_server).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT"
    )
    with admin.connect() as connection:
        connection.execute(text("CREATE DATABASE stale"))
    url = make_url(postgres_server).set(database="stale").render_as_string(hide_password=False)
    with open_store(url, tmp_path) as store:
        store.add_events([Event("u", "i", "view", 1)])
        for _ in range(2):
            with admin.connect() as connection:
                connection.execute(
                    text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname='stale'")
                )
            store.ping()
            assert store.add_events([Event("u", "i", "view", 2)]) == 1
        assert store.counts().events == 3
    admin.dispose()


def test_a_database_that_goes_away_and_comes_back(
    postgres_server: str, empty_postgres: Callable[[str], str], tmp_path: Path
) -> None:
    url = empty_postgres("flaky")
    admin = create_engine(
        make_url(postgres_server).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT"
    )

    def allow(connections: bool) -> None:
        with admin.connect() as connection:
            connection.execute(text(f"ALTER DATABASE flaky ALLOW_CONNECTIONS {connections}"))
            connection.execute(
                text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'flaky'")
            )

    with open_store(url, tmp_path) as store:
        store.add_events([Event("u", "i", "view", 1)])
        allow(False)
        for use in (
            store.ping,
            store.pulse,
            lambda: store.histories(["u"], 1),
            lambda: store.add_events([Event("u", "i", "view", 2)]),
            lambda: store.upsert_items([Item("i")]),
            lambda: store.delete_user("u"),
        ):
            with pytest.raises(DatabaseUnavailableError) as failure:
                use()
            assert "\n" not in failure.value.message
        store.add_exposures([Exposure("r", "u", "bundle", "home", 1, ())])  # dropped in the background
        allow(True)
        store.ping()
        assert store.add_events([Event("u", "i", "view", 3)]) == 1
        assert store.counts().events == 2
    admin.dispose()


def test_all_kinds_of_writes_at_once_neither_fail_nor_get_lost(open_again: Callable[[], Store]) -> None:
    stores = [open_again() for _ in range(3)]

    def write(n: int) -> int:
        store, kept = stores[n % 3], 0
        for m in range(12):
            store.upsert_items([Item(f"i{k}", {"n": n, "m": m}) for k in range(5)])
            store.upsert_users([User(f"u{k}", {"n": n}) for k in (m % 4, n % 4)])
            kept += store.add_events([Event("kept", f"i{k}", "view", m) for k in range(3)])
            store.add_events([Event(f"u{n % 4}", f"i{k}", "view", m, timed=False) for k in range(3)])
            store.add_exposures([Exposure(f"{n}/{m}", f"u{m % 4}", "bundle", "home", m, ())])
            store.patch_items([ItemPatch("counted", {f"{n}/{m}": True})])
            if m % 4 == 3:
                store.merge_user(f"u{n % 4}", f"u{(n + 1) % 4}")
                store.delete_user(f"u{m % 4}")
        store.flush()
        return kept

    stores[0].upsert_items([Item("counted")])
    with ThreadPoolExecutor(6) as pool:
        kept = sum(pool.map(write, range(6)))
    assert kept == len(stores[0].histories(["kept"], 10_000)["kept"]) == 6 * 12 * 3
    assert len(stores[0].items(["counted"])["counted"].attributes) == 6 * 12
    assert stores[0].pulse().deletions == len(stores[0].deletions())
    assert sum(one.part_of is None for one in stores[0].deletions()) == 6 * 3
    for deletion in stores[0].deletions():
        assert stores[0].traces(deletion) == NOTHING


def test_events_of_several_callers_are_inserted_together_and_counted_apart(gated: GatedWriter) -> None:
    calls: list[int] = []

    def insert(connection: Connection, rows: Sequence[Row]) -> int:
        calls.append(len(rows))
        return insert_events(connection, rows).stored

    def batch(*names: str) -> Sequence[Row]:
        return new_event_rows([Event("u", "i", "view", 1, event_id=name) for name in names])

    def queue_up(*batches: Sequence[Row]) -> list[int]:
        gated.entered.clear()
        gated.gate.clear()
        gated.hold()
        with ThreadPoolExecutor(len(batches)) as pool:
            waiting = []
            for rows in batches:
                waiting.append(pool.submit(gated.writer.insert, insert, rows))
                while len(gated.writer._urgent) < len(waiting):
                    threading.Event().wait(0.01)
            gated.gate.set()
            return [one.result(30) for one in waiting]

    assert queue_up(batch("a"), batch("b", "c"), batch("d")) == [1, 2, 1]
    assert calls == [4]
    # Of duplicates it must be known whose they are.
    assert queue_up(batch("e"), batch("a", "f"), batch("e", "g")) == [1, 1, 1]
    assert gated.store.counts().events == 7
