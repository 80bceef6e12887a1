"""Engines of SQLite and PostgreSQL: how connections are made, and how long they may take.

Every wait for a database has an end. On SQLite it is the wait for the lock. On PostgreSQL the server ends
statements and waits for locks, the kernel gives up on a path that is dead, and for a path that takes what is
sent but brings nothing back, such as a proxy that hangs, a connection counts the seconds itself.
"""

from __future__ import annotations

import contextlib
import random
import re
import sqlite3
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL

from recserve.data.system.files import make_private_file, make_private_folder
from recserve.errors import ConfigError, StoreError

T = TypeVar("T")

LOCK_SECONDS = 60.0
"""How long a transaction competes for a lock when nobody waits for an answer, as on the command line."""

_BUSY_CODES = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL})
_BUSY_SECONDS = 1.0  # of one attempt; whether there is another one is decided between two of them
_CONNECT_SECONDS = 5
_SPARE_SECONDS = 1.0  # the server's own limit is to be heard of before the connection is given up
_STATEMENT_TIMEOUT = re.compile(r"statement_timeout=(\d+)(min|ms|s|)")
_UNITS = {"min": 60.0, "s": 1.0, "ms": 0.001, "": 0.001}
_DEAD_PATH = {
    "connect_timeout": str(_CONNECT_SECONDS),
    "tcp_user_timeout": "10000",
    "keepalives": "1",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
}


def make_engine(url: URL, patience: float | None) -> Engine:
    """Make the engine of a checked URL.

    Args:
        url: See :func:`recserve.store.parse_url`.
        patience: Seconds that a lock, and on PostgreSQL a statement, may take; None for
            :data:`LOCK_SECONDS` and statements of any length.

    Raises:
        ConfigError: The driver of PostgreSQL is not installed.
        StoreError: The folder of an SQLite file cannot be made.
    """
    if url.get_backend_name() == "postgresql":
        return _postgres_engine(url, patience)
    return _sqlite_engine(url, LOCK_SECONDS if patience is None else patience)


def is_busy(error: BaseException | None) -> bool:
    """Whether SQLite failed because somebody else holds a lock."""
    return (
        isinstance(error, sqlite3.OperationalError)
        and getattr(error, "sqlite_errorcode", 0) & 0xFF in _BUSY_CODES
    )


def _sqlite_engine(url: URL, patience: float) -> Engine:
    path = Path(str(url.database))
    try:
        make_private_folder(path.parent)
    except OSError as error:
        raise StoreError(f"cannot create the folder of the store {path}: {error.strerror}") from None
    if "uri" not in url.query:
        _make_private(path)
    engine = create_engine(
        url,
        pool_size=8,
        max_overflow=56,  # more than the threads of an event loop: readers never wait for each other
        pool_timeout=patience,
        connect_args={"timeout": _BUSY_SECONDS, "check_same_thread": False},
        insertmanyvalues_page_size=2000,
    )

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # the driver must not begin transactions on its own
        _with_patience(lambda: _use_write_ahead_log(connection), patience)
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
        # What is deleted is overwritten with zeros: a person who is forgotten leaves no trace.
        connection.execute("PRAGMA secure_delete=ON")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writing = connection.get_execution_options().get("recserve_writing", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")

    return engine


def _make_private(path: Path) -> None:
    """Let nobody but the owner read the file and what SQLite keeps beside it."""
    # What cannot be changed is told by SQLite, which says what it needs the file for.
    with contextlib.suppress(OSError):
        make_private_file(path)
        for beside in (Path(f"{path}-wal"), Path(f"{path}-shm")):
            if beside.exists():
                make_private_file(beside)


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    # Reading first: switching needs an exclusive lock, so it is done once in a file's life.
    if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        connection.execute("PRAGMA journal_mode=WAL")


def _with_patience(action: Callable[[], None], patience: float) -> None:
    """SQLite does not wait by itself when two processes switch a new file to WAL at once."""
    give_up = time.monotonic() + patience
    while True:
        try:
            return action()
        except sqlite3.OperationalError as error:
            if not is_busy(error) or time.monotonic() > give_up:
                raise
        time.sleep(random.uniform(0.005, 0.02))


def _postgres_engine(url: URL, patience: float | None) -> Engine:
    try:
        import psycopg
    except ImportError:
        raise ConfigError(
            "a PostgreSQL store needs a driver: pip install 'recserve[postgres]'", field="store.url"
        ) from None

    arguments = _arguments(url.query, patience)
    bound = _longest_wait(arguments["options"])

    class BoundedConnection(psycopg.Connection[Any]):
        """Connection that is given up when an answer takes too long."""

        unhurried = False

        def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
            """Wait for an answer of the server.

            Raises:
                psycopg.OperationalError: None came in time; the connection is closed.
            """
            if timeout is None and not self.unhurried:
                timeout = bound
            started = time.monotonic()
            try:
                return super().wait(gen, interval, timeout)
            except psycopg.OperationalError:
                if timeout is None or time.monotonic() < started + timeout:
                    raise
                self.pgconn.finish()  # its state is unknown; a late answer must not meet the next question
                raise psycopg.OperationalError(f"no answer within {timeout:g} s") from None

    engine = create_engine(
        url,
        pool_size=8,
        max_overflow=24,
        pool_timeout=LOCK_SECONDS if patience is None else patience,
        connect_args=arguments,
        insertmanyvalues_page_size=2000,
    )

    @event.listens_for(engine, "do_connect")
    def connect(dialect: Any, record: Any, values: Any, named: Any) -> Any:
        return BoundedConnection.connect(*values, **named)

    return engine


def _arguments(given: Mapping[str, str | tuple[str, ...]], patience: float | None) -> dict[str, str]:
    """Connection parameters beside those of the URL, which win but for durability."""
    settings: list[str] = []
    if patience is not None:
        limit = int(patience * 1000)
        settings += [f"-c statement_timeout={limit}", f"-c lock_timeout={limit}"]
        # Whoever loses the server in the middle of a transaction must not leave its locks behind.
        settings.append(f"-c idle_in_transaction_session_timeout={4 * limit}")
    own = given.get("options", ())
    # Of two settings of the same name the later one counts.
    settings += [own] if isinstance(own, str) else own
    # Neither the server's default nor the URL may weaken what is acknowledged here; stronger it may be.
    if "synchronous_commit=remote_apply" not in " ".join(settings):
        settings.append("-c synchronous_commit=on")
    defaults = {**_DEAD_PATH, "application_name": "recserve"}
    return {name: value for name, value in defaults.items() if name not in given} | {
        "options": " ".join(settings)
    }


def _longest_wait(options: str) -> float | None:
    """Seconds after which a statement must have been answered, by the server's limit; None for none."""
    found = _STATEMENT_TIMEOUT.findall(options)
    if not found or not int(found[-1][0]):
        return None
    number, unit = found[-1]
    return int(number) * _UNITS[unit] + _SPARE_SECONDS


def unhurried(connection: Connection) -> None:
    """Let statements of a PostgreSQL connection take as long as they need, such as a VACUUM."""
    connection.exec_driver_sql("SET statement_timeout = 0")
    driver: Any = connection.connection.driver_connection
    driver.unhurried = True
