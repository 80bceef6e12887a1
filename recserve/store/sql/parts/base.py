"""Base class of the parts of the SQL store."""

from __future__ import annotations

import logging
from typing import Any

from recserve.store.sql.database import Database
from recserve.store.sql.group_commit import Writer

log = logging.getLogger("recserve.store")


class Part:
    """Base of the parts.

    Args:
        database: Reads go here.
        writer: Writes go here.
    """

    def __init__(self, database: Database, writer: Writer) -> None:
        self._database = database
        self._writer = writer


def by_key(rows: dict[Any, dict[str, Any]], key: str) -> list[dict[str, Any]]:
    """Rows in the order of their digests.

    A fixed order: two processes that write the same rows cannot block each other for good.
    """
    return sorted(rows.values(), key=lambda row: bytes(row[key]))
