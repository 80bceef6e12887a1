"""Every store test runs on SQLite and, where its wheel is installed, on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from recserve.store import Store, open_store, parse_url
from recserve.store.sql.database import Database


@pytest.fixture(params=["sqlite", "postgres"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of an empty database on each engine in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/recserve.db"
    return str(request.getfixturevalue("empty_postgres")("postgres"))


@pytest.fixture
def new_url(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], str]:
    """Makes empty databases of an engine, beside each other and beside that of ``store_url``."""
    numbers = count()

    def make(engine: str) -> str:
        # The same few on every test: making one takes PostgreSQL seconds, when it stops at the latest.
        name = f"other{next(numbers)}"
        if engine == "sqlite":
            return f"sqlite:///{tmp_path}/{name}.db"
        return str(request.getfixturevalue("empty_postgres")(name))

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


@pytest.fixture
def open_at(tmp_path: Path) -> Iterator[Callable[[str], tuple[Store, Database]]]:
    """Opens a store at a URL, and its database beside it."""
    opened: list[tuple[Store, Database]] = []

    def open_it(url: str) -> tuple[Store, Database]:
        opened.append((open_store(url, tmp_path), Database(parse_url(url, tmp_path))))
        return opened[-1]

    yield open_it
    for store, database in opened:
        store.close()
        database.close()
