"""Erasure of the bytes of deleted rows, as far as the engine allows.

SQLite overwrites what is deleted (``secure_delete``), but that leaves two places: older pages in the
write-ahead log, and copies that stay behind in a page's free space when rows move to a neighbour while
the tree is balanced. So the log is emptied, the file is searched for the rows' bytes, and if there are
any it is written anew. PostgreSQL reclaims deleted rows with ``VACUUM``.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import time
from collections.abc import Sequence

from sqlalchemy import Engine

from recserve.store.sql.engines import unhurried

_log = logging.getLogger("recserve.store")

_TURNS = 20

# Another process looks: closing the file in this one would drop the locks that SQLite holds on it. What
# is looked for comes on stdin, where no list of processes shows it.
_SEARCH = """
import json, mmap, sys
patterns = [bytes.fromhex(pattern) for pattern in json.load(sys.stdin)]
with open(sys.argv[1], "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
    print("found" if any(data.find(pattern) >= 0 for pattern in patterns) else "clean")
"""


def vacuum(engine: Engine, tables: Sequence[str]) -> None:
    """Let PostgreSQL reclaim the deleted rows of some tables; one that is being vacuumed is left out."""
    with engine.connect() as connection:
        connection = connection.execution_options(isolation_level="AUTOCOMMIT")
        unhurried(connection)
        try:
            connection.exec_driver_sql(f"VACUUM (SKIP_LOCKED, INDEX_CLEANUP ON) {', '.join(tables)}")
        finally:
            connection.invalidate()  # with its lack of hurry


def clean_file(engine: Engine, patterns: Sequence[bytes]) -> None:
    """Leave nothing of deleted rows in an SQLite file.

    Args:
        engine: Of the file.
        patterns: Bytes that only these rows hold.
    """
    connection = engine.raw_connection()
    try:
        cursor = connection.cursor()
        # Readers of an older state are in the way. They are waited for in short turns, because nobody
        # can write meanwhile.
        cursor.execute("PRAGMA busy_timeout=200")
        if not _empty_log(cursor):
            _log.warning("deleted rows stay in the write-ahead log until its readers have ended")
        if _found(str(engine.url.database), patterns):
            cursor.execute("PRAGMA busy_timeout=10000")
            cursor.execute("VACUUM")
            cursor.execute("PRAGMA busy_timeout=200")
            _empty_log(cursor)
    finally:
        connection.invalidate()  # with its impatience
        connection.close()


def _empty_log(cursor: object) -> bool:
    for _ in range(_TURNS):
        busy, _, _ = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()  # type: ignore[attr-defined]
        if not busy:
            return True
        time.sleep(0.3)
    return False


def _found(path: str, patterns: Sequence[bytes]) -> bool:
    search = subprocess.run(
        [sys.executable, "-I", "-S", "-c", _SEARCH, path],
        input=json.dumps([pattern.hex() for pattern in patterns]),
        capture_output=True,
        text=True,
        check=False,
    )
    # A search that failed has not found that nothing is left.
    return search.stdout.strip() != "clean"
