"""Database access: connections, transactions, retries and errors on SQLite and PostgreSQL.

SQLite runs with a write-ahead log, so readers never wait for writers, and with ``synchronous=FULL``,
so a committed transaction survives the loss of power. Writing transactions begin with ``BEGIN
IMMEDIATE``: they queue for the write lock at the start and cannot fail half-way through for lack of
it.
"""

from __future__ import annotations

import logging
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection, func, select
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from recserve.errors import OutcomeUnknownError, StoreError
from recserve.store.sql import erasure
from recserve.store.sql.engines import LOCK_SECONDS, is_busy, make_engine

T = TypeVar("T")

_log = logging.getLogger("recserve.store")

_POSTGRES_RETRY_STATES = frozenset({"40001", "40P01"})  # serialization failure, deadlock
_NOBODYS_FAULT = (OperationalError, InterfaceError, PoolTimeout)
_SCHEMA_LOCK = 7_261_873_411_029_455_123  # any fixed number that no other application uses


class _Watch:
    """Watcher of commits to an SQLite file (``PRAGMA data_version``): a read of shared memory.

    Args:
        path: The file.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._lock = threading.Lock()

    def version(self) -> int | None:
        """See :meth:`Database.version`."""
        with self._lock:
            try:
                if self._connection is None:
                    # Nothing is ever written over it: commits of its own would not count.
                    self._connection = sqlite3.connect(
                        f"{Path(self._path).absolute().as_uri()}?mode=ro",
                        uri=True,
                        timeout=0,
                        isolation_level=None,
                        check_same_thread=False,
                    )
                return int(self._connection.execute("PRAGMA data_version").fetchone()[0])
            except sqlite3.Error:
                return None

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()


class DatabaseUnavailableError(StoreError):
    """The database itself is out of reach or busy: not the fault of what it was asked to do."""


class Database:
    """One SQLAlchemy engine with its transaction and retry rules.

    Args:
        url: A URL from :func:`recserve.store.parse_url`.
        patience: See :func:`recserve.store.open_store`.

    Raises:
        ConfigError: The driver of PostgreSQL is not installed.
    """

    def __init__(self, url: URL, patience: float | None = None) -> None:
        self.label = f"{url.get_backend_name()} at {_place(url)}"
        self._secrets = tuple(secret for secret in (url.password, url.query.get("password")) if secret)
        self.patience = patience
        self._engine = make_engine(url, patience)
        self._closed = False
        self._watch = None if self.is_postgres else _Watch(str(url.database))

    @property
    def is_postgres(self) -> bool:
        """Whether the engine is PostgreSQL; it is SQLite otherwise."""
        return self._engine.dialect.name == "postgresql"

    def version(self) -> int | None:
        """A number that differs from before if anything was committed meanwhile, whoever did.

        Takes microseconds and waits for nobody. None on PostgreSQL, or if it cannot be read now.
        """
        return None if self._watch is None or self._closed else self._watch.version()

    def read(self, work: Callable[[Connection], T]) -> T:
        """Run ``work`` in a reading transaction; it sees one state of the database throughout.

        Raises:
            StoreError: The database failed.
        """
        return self._transact(work, writing=False)

    def write(self, work: Callable[[Connection], T], until: float | None = None) -> T:
        """Run ``work`` in a writing transaction; committed and durable when this returns.

        ``work`` may run several times (after a deadlock, a lost connection, a lock that was not
        granted), so running it twice must have the effect of once.

        Args:
            work: What to do.
            until: No further attempt is made after this moment of the monotonic clock; default: as long as
                the patience lasts.

        Raises:
            OutcomeUnknownError: The connection was lost while committing.
            StoreError: The database failed; nothing was written.
        """
        return self._transact(work, writing=True, until=until)

    def create_schema(self, create: Callable[[Connection], None]) -> None:
        """Run ``create`` in a transaction that no other process can be inside of at the same time."""

        def locked(connection: Connection) -> None:
            # SQLite: BEGIN IMMEDIATE has excluded other processes already.
            if self.is_postgres:
                connection.execute(select(func.pg_advisory_xact_lock(_SCHEMA_LOCK)))
            create(connection)

        self.write(locked)

    def scrub(self, tables: Sequence[str], patterns: Sequence[bytes]) -> None:
        """Get rid of the bytes of deleted rows, see :mod:`recserve.store.sql.erasure`.

        The rows themselves are deleted already, so a failure is no more than a warning in the log.

        Args:
            tables: Where the rows were.
            patterns: Bytes that only these rows hold.
        """
        try:
            if self.is_postgres:
                erasure.vacuum(self._engine, tables)
            else:
                erasure.clean_file(self._engine, patterns)
        except (SQLAlchemyError, sqlite3.Error, OSError) as error:
            _log.warning("deleted rows may still be on the disk: %s", self._explained(error).message)

    def close(self) -> None:
        """Close all connections; nothing can be read or written afterwards."""
        self._closed = True
        if self._watch is not None:
            self._watch.close()
        self._engine.dispose()

    def _transact(self, work: Callable[[Connection], T], *, writing: bool, until: float | None = None) -> T:
        if self._closed:
            raise StoreError("the store is closed")
        patience = LOCK_SECONDS if self.patience is None else self.patience
        give_up = time.monotonic() + patience if until is None else until
        attempt = 0
        reconnects = 1
        uncertain = False
        while True:
            committing = False
            try:
                with self._connect(writing) as connection, connection.begin():
                    result = work(connection)
                    committing = writing
                return result
            except DBAPIError as error:
                in_time = time.monotonic() < give_up
                # What a later attempt finds out does not tell what became of an earlier commit.
                uncertain = uncertain or (committing and _may_be_committed(error))
                if error.connection_invalidated and reconnects and in_time:
                    reconnects -= 1  # a server that restarted: the pool's connections are all stale
                    continue
                if not _worth_retrying(error) or not in_time:
                    raise self._explained(error, uncertain) from None
            except (SQLAlchemyError, sqlite3.Error) as error:
                raise self._explained(error, uncertain) from None
            attempt += 1
            time.sleep(random.uniform(0.5, 1.0) * min(0.002 * 2**attempt, 0.1))

    def _connect(self, writing: bool) -> Connection:
        connection = self._engine.connect()
        if self.is_postgres:
            level = "READ COMMITTED" if writing else "REPEATABLE READ"
            return connection.execution_options(isolation_level=level)
        return connection.execution_options(recserve_writing=writing)

    def _explained(self, error: Exception, uncertain: bool = False) -> StoreError:
        cause = getattr(error, "orig", None) or error
        reason = " ".join(str(cause).split()) or type(cause).__name__
        for secret in self._secrets:
            reason = reason.replace(str(secret), "***")
        kind: type[StoreError] = OutcomeUnknownError
        if not uncertain:
            kind = DatabaseUnavailableError if isinstance(error, _NOBODYS_FAULT) else StoreError
        return kind(f"the store ({self.label}) failed: {reason}{_mend(reason)}")


def _mend(reason: str) -> str:
    for symptom, cure in (
        ("unable to open", "check that the folder exists and may be written to"),
        ("readonly", "check who may write to the file and its folder"),
        ("not a database", "the file is damaged or belongs to another program; move it away"),
        ("malformed", "the file is damaged; restore it from a backup"),
        ("disk is full", "free some space"),
        ("locked", "another program holds the file; stop it or try again"),
        ("Connection refused", "check that the server runs and that the URL is right"),
    ):
        if symptom in reason:
            return f"; {cure}"
    return ""


def _place(url: URL) -> str:
    if url.get_backend_name() == "sqlite":
        return str(url.database)
    host = url.host or url.query.get("host") or "localhost"
    return f"{host}{f':{url.port}' if url.port else ''}/{url.database or ''}"


def _worth_retrying(error: DBAPIError) -> bool:
    return is_busy(error.orig) or getattr(error.orig, "sqlstate", None) in _POSTGRES_RETRY_STATES


def _may_be_committed(error: DBAPIError) -> bool:
    """Whether a commit that failed may have reached the disk all the same."""
    code = getattr(error.orig, "sqlite_errorcode", 0) & 0xFF
    return error.connection_invalidated or code == sqlite3.SQLITE_IOERR
