"""Base class of the parts of the SQL store."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from recserve.store.sql.database import Database
from recserve.store.sql.group_commit import Writer

T = TypeVar("T")

log = logging.getLogger("recserve.store")

CHUNK = 5_000
"""Ids of one IN list: well below every engine's limit of parameters."""


class Part:
    """Base of the parts.

    Args:
        database: Reads go here.
        writer: Writes go here.
    """

    def __init__(self, database: Database, writer: Writer) -> None:
        self._database = database
        self._writer = writer


def chunks(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """``values`` in pieces that fit into one IN list."""
    for start in range(0, len(values), CHUNK):
        yield values[start : start + CHUNK]


def by_key(rows: dict[Any, dict[str, Any]], key: str) -> list[dict[str, Any]]:
    """Rows in the order of their digests.

    A fixed order: two processes that write the same rows cannot block each other for good.
    """
    return sorted(rows.values(), key=lambda row: bytes(row[key]))
