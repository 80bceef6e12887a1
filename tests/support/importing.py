"""Imports files by the command that a user types, and reads back what was stored."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recserve.store import open_store
from tests.conftest import run


@dataclass(frozen=True)
class Imported:
    """What an import said and stored.

    Attributes:
        said: Its output on one line, so that phrases can be looked for.
        events: Rows by user, item and type.
        items: Attributes by id.
    """

    said: str
    events: list[dict[str, Any]]
    items: dict[str, dict[str, Any]]

    @property
    def types(self) -> Counter[str]:
        """Events by type."""
        return Counter(event["event"] for event in self.events)

    def values(self) -> list[tuple[str, str, float | None]]:
        """User, item and value of each event, in an order of their own."""
        key = ("user_id", "item_id", "value")
        rows: list[Any] = [tuple(event[name] for name in key) for event in self.events]
        return sorted(rows, key=str)


def write(folder: Path, name: str, content: str | bytes) -> Path:
    """A file with some content, text in UTF-8."""
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def imported(home: Path, *arguments: str | Path) -> Imported:
    """Run ``recserve import`` into a home."""
    said = " ".join(run("import", *arguments, "--home", home).split())
    with open_store(None, home) as store:
        stored, _ = store.events_after(0, 1_000_000)
        items = store.snapshot(events=False).items
    columns = stored.drop_columns(["seq", "recommendation_id"])
    events = sorted(columns.to_pylist(), key=lambda one: (one["user_id"], one["item_id"], one["event"]))
    rows = items.to_pylist()
    return Imported(said, events, {row["item_id"]: json.loads(row["attributes"]) for row in rows})
