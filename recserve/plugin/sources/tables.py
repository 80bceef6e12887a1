"""Canonical tables out of columns: items with their attributes, and events."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from recserve.errors import DataError


def item_table(items: Iterable[tuple[str, Mapping[str, Any]]]) -> pa.Table:
    """Canonical items, see :class:`recserve.Tables`.

    Args:
        items: Id and attributes of each; attributes that are None, empty text or empty lists are left out.
    """
    ids, attributes = [], []
    for item_id, known in items:
        said = {name: value for name, value in known.items() if value is not None and value not in ("", [])}
        ids.append(item_id)
        attributes.append(json.dumps(said, ensure_ascii=False))
    return pa.table({"item_id": pa.array(ids, pa.string()), "attributes": pa.array(attributes, pa.string())})


def event_table(
    user_ids: pa.ChunkedArray | pa.Array,
    item_ids: pa.ChunkedArray | pa.Array,
    events: str | pa.ChunkedArray | pa.Array,
    timestamps: pa.ChunkedArray | pa.Array,
    values: pa.ChunkedArray | pa.Array | None = None,
) -> pa.Table:
    """Canonical events, see :class:`recserve.Tables`.

    They get no ids of their own: importing names each by its content, so that importing twice stores it once.

    Args:
        user_ids: Strings, N.
        item_ids: Strings, N.
        events: Event types, N, or one for all.
        timestamps: int64, N; milliseconds since the epoch, UTC.
        values: float64, N, nullable; None where no event has a value.
    """
    count = len(user_ids)
    return pa.table(
        {
            "event_id": pa.repeat("", count),
            "user_id": user_ids,
            "item_id": item_ids,
            "event": pa.repeat(events, count) if isinstance(events, str) else events,
            "value": pa.nulls(count, pa.float64()) if values is None else values,
            "timestamp": timestamps,
        }
    )


def iso_time(seconds: int, where: str) -> str:
    """A moment as people and rules read it, such as ``2026-03-01T12:30:00Z``.

    Args:
        seconds: Since 1970, UTC.
        where: File and column, for the message.

    Raises:
        DataError: It is in no year that there is.
    """
    try:
        moment = datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        raise DataError(
            f"{where}: {seconds} is no time in seconds since 1970; are they milliseconds?"
        ) from None
    return moment.isoformat().replace("+00:00", "Z")


def clock(seconds: float) -> str:
    """A duration as people read it, such as ``4:05``."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02}"
