"""Every wait for the database has an end, and what was refused is not stored afterwards."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, make_url, text

from benchmarks.tcp_proxy import TcpProxy, tcp_proxy
from recserve import Event
from recserve.errors import OutcomeUnknownError, StoreError
from recserve.store import Store, open_store, parse_url
from recserve.store.sql.database import Database, DatabaseUnavailableError
from recserve.store.sql.group_commit import Writer

PATIENCE = 2.0
TEST_SECONDS = 60.0


@pytest.fixture
def path(postgres_server: str) -> Iterator[TcpProxy]:
    """A path to the PostgreSQL of the tests that can be cut or slowed down."""
    folder = make_url(postgres_server).query["host"]
    with tcp_proxy(Path(str(folder)) / ".s.PGSQL.5432") as proxy:
        yield proxy


@pytest.fixture
def url(path: TcpProxy, empty_postgres: Callable[[str], str]) -> str:
    """URL of an empty database behind the path."""
    return path.url(empty_postgres("bounds"))


@pytest.fixture
def store(url: str, tmp_path: Path) -> Iterator[Store]:
    with open_store(url, tmp_path, PATIENCE) as opened:
        yield opened


def within(seconds: float, call: Callable[[], object]) -> object:
    """The result of a call; fails, rather than hangs, when there is none in time."""
    pool = ThreadPoolExecutor(1)
    try:
        return pool.submit(call).result(seconds)
    finally:
        pool.shutdown(wait=False)


def test_a_path_that_swallows_everything_ends_reads_and_writes(store: Store, path: TcpProxy) -> None:
    store.add_events([Event("u", "i", "view", 1)])
    path.swallow()
    for call in (
        lambda: store.histories(["u"], 1),
        store.ping,
        lambda: store.add_events([Event("u", "i", "view", 2)]),
    ):
        with pytest.raises(StoreError):
            within(TEST_SECONDS, call)
    path.forward()
    assert store.add_events([Event("u", "i", "view", 3)]) == 1
    assert len(store.histories(["u"], 9)["u"]) == 2


def test_a_commit_that_gets_no_answer_is_not_called_lost(url: str, tmp_path: Path, path: TcpProxy) -> None:
    with open_store(url, tmp_path, PATIENCE):
        database = Database(parse_url(url, tmp_path), PATIENCE)

    def insert_then_cut(connection: Connection) -> None:
        connection.execute(text("INSERT INTO meta (name, value) VALUES ('a', 'b')"))
        path.swallow()

    with pytest.raises(OutcomeUnknownError):
        within(TEST_SECONDS, lambda: database.write(insert_then_cut))
    database.close()


def test_a_slow_path_serves_all_the_same(url: str, tmp_path: Path, path: TcpProxy) -> None:
    with open_store(url, tmp_path, 10.0) as store:
        path.delay = 0.2
        with ThreadPoolExecutor(24) as pool:
            stored = list(pool.map(lambda n: store.add_events([Event(f"u{n}", "i", "view", n)]), range(24)))
        assert stored == [1] * 24
        path.delay = 0.0
        assert store.counts().events == 24


def test_statements_and_locks_end_on_the_server(url: str, tmp_path: Path) -> None:
    database = Database(parse_url(url, tmp_path), 1.0)
    with pytest.raises(DatabaseUnavailableError, match="statement timeout"):
        within(TEST_SECONDS, lambda: database.read(lambda c: c.execute(text("SELECT pg_sleep(50)"))))
    database.write(lambda c: c.execute(text("CREATE TABLE held (n int)")))
    foreign = create_engine(make_url(url).set(drivername="postgresql+psycopg"))
    with foreign.begin() as holder:
        holder.execute(text("LOCK TABLE held"))
        with pytest.raises(DatabaseUnavailableError, match="timeout"):
            within(TEST_SECONDS, lambda: database.read(lambda c: c.execute(text("SELECT * FROM held"))))
    foreign.dispose()
    database.close()


def setting(database: Database, name: str) -> object:
    return database.read(lambda connection: connection.execute(text(f"SHOW {name}")).scalar())


def test_options_of_the_url_are_added_and_win(url: str, tmp_path: Path) -> None:
    own = make_url(url).update_query_dict({"options": "-c statement_timeout=7s -c work_mem=9MB"})
    database = Database(parse_url(own.render_as_string(hide_password=False), tmp_path), PATIENCE)
    assert setting(database, "synchronous_commit") == "on"
    assert setting(database, "statement_timeout") == "7s"
    assert setting(database, "lock_timeout") == "2s"
    assert setting(database, "work_mem") == "9MB"
    database.close()


def test_a_longer_limit_of_the_url_is_waited_for(url: str, tmp_path: Path, path: TcpProxy) -> None:
    own = make_url(url).update_query_dict({"options": "-c statement_timeout=5s"})
    database = Database(parse_url(own.render_as_string(hide_password=False), tmp_path), 0.2)
    assert database.read(lambda c: c.execute(text("SELECT 1 FROM pg_sleep(2)")).scalar()) == 1
    path.swallow()
    with pytest.raises(StoreError):
        within(TEST_SECONDS, lambda: database.read(lambda c: c.execute(text("SELECT 1"))))
    database.close()


def test_work_that_nobody_waits_for_may_take_its_time(url: str, tmp_path: Path) -> None:
    database = Database(parse_url(url, tmp_path))
    assert setting(database, "statement_timeout") == "0"
    assert setting(database, "synchronous_commit") == "on"
    database.close()


def test_a_locked_file_refuses_in_time_and_stores_nothing_later(tmp_path: Path) -> None:
    with open_store(None, tmp_path, PATIENCE) as store:
        foreign = sqlite3.connect(tmp_path / "recserve.db", isolation_level=None)
        foreign.execute("BEGIN IMMEDIATE")
        with ThreadPoolExecutor(40) as pool:
            # Those that come later wait behind a transaction that waits for the lock.
            posted = [pool.submit(store.add_events, [Event("u", f"i{n}", "view", n)]) for n in range(40)]
            for answer in posted:
                assert isinstance(answer.exception(TEST_SECONDS), DatabaseUnavailableError)
        foreign.execute("ROLLBACK")
        foreign.close()
        assert store.add_events([Event("u", "after", "view", 99)]) == 1
        assert [event.item_id for event in store.histories(["u"], 99)["u"]] == ["after"]


def test_a_write_that_waits_behind_another_one_is_withdrawn(tmp_path: Path) -> None:
    open_store(None, tmp_path).close()
    database = Database(parse_url(None, tmp_path), 0.5)
    writer = Writer(database)
    entered, gate, done = threading.Event(), threading.Event(), []

    def hold(connection: Connection) -> None:
        entered.set()
        gate.wait(TEST_SECONDS)

    writer.defer(hold)
    assert entered.wait(TEST_SECONDS)
    with pytest.raises(DatabaseUnavailableError, match="busy"):
        writer.run(done.append)
    gate.set()
    writer.run(lambda connection: None)
    assert done == []
    writer.close()
    database.close()


def test_no_transaction_is_made_for_those_who_have_given_up(tmp_path: Path) -> None:
    open_store(None, tmp_path).close()
    transactions: list[object] = []

    class Counted(Database):
        def write(self, work: object, until: float | None = None) -> Any:  # type: ignore[override]
            transactions.append(work)
            return super().write(work, until)  # type: ignore[arg-type]

    database = Counted(parse_url(None, tmp_path), 3.0)
    writer = Writer(database)
    entered, gate, begun = threading.Event(), threading.Event(), []

    def hold(connection: Connection) -> None:
        entered.set()
        gate.wait(TEST_SECONDS)

    writer.defer(hold)
    assert entered.wait(TEST_SECONDS)
    with ThreadPoolExecutor(2) as pool:
        # The first takes so long that the second, of the same group, has given up when its turn comes.
        first = pool.submit(writer.run, lambda connection: time.sleep(4.0))
        while len(writer._urgent) < 1:
            time.sleep(0.01)
        second = pool.submit(writer.run, begun.append)
        while len(writer._urgent) < 2:
            time.sleep(0.01)
        gate.set()
        assert first.result(TEST_SECONDS) is None
        assert isinstance(second.exception(TEST_SECONDS), DatabaseUnavailableError)
    writer.close()
    assert begun == []
    assert len(transactions) == 2
    database.close()


def test_a_write_that_has_begun_is_of_unknown_fate(tmp_path: Path) -> None:
    open_store(None, tmp_path).close()
    database = Database(parse_url(None, tmp_path), 0.3)
    writer = Writer(database)
    gate = threading.Event()
    with pytest.raises(OutcomeUnknownError):
        writer.run(lambda connection: gate.wait(TEST_SECONDS))
    gate.set()
    writer.close()
    database.close()
