"""What an import would bring, without bringing it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow.compute as pc

from recserve.data.columns.codes import encoded
from recserve.data.dataset import Tables
from recserve.data.events.coverage import unknown_items


@dataclass(frozen=True)
class Preview:
    """Figures of a data set.

    Attributes:
        users: Distinct users with events.
        items: Items of the catalogue.
        events: Events by type, the most frequent first.
        outside: Events whose item is not in the catalogue.
        first: Time of the oldest event, milliseconds; None without events.
        last: Time of the newest.
    """

    users: int
    items: int
    events: dict[str, int]
    outside: int
    first: int | None
    last: int | None

    @classmethod
    def of(cls, tables: Tables, stored: Callable[[list[str]], Collection[str]] = lambda ids: ()) -> Preview:
        """Count a data set.

        Args:
            tables: The data set.
            stored: Which of some ids are in the catalogue already.
        """
        events = tables.events
        brought = set(tables.items["item_id"].to_pylist())

        def known(ids: list[str]) -> set[str]:
            return brought.union(stored([item for item in ids if item not in brought]))

        types = pc.value_counts(events["event"]).to_pylist()
        span: dict[str, Any] = pc.min_max(events["timestamp"]).as_py()
        return cls(
            users=len(encoded(events["user_id"])[0]),
            items=len(tables.items),
            events={
                counted["values"]: counted["counts"]
                for counted in sorted(types, key=lambda counted: (-counted["counts"], counted["values"]))
            },
            outside=unknown_items(events, known).events,
            first=span["min"],
            last=span["max"],
        )

    def lines(self) -> list[str]:
        """The figures in words, a line each."""
        total = sum(self.events.values())
        lines = [f"{self.users:,} users, {self.items:,} items, {total:,} events"]
        if total:
            types = ", ".join(f"{name} {count:,}" for name, count in self.events.items())
            lines += [
                f"events by type: {types}",
                f"events whose item is not in the catalogue: {self.outside:,} ({self.outside / total:.1%})",
                f"dates: {_day(self.first)} to {_day(self.last)}",
            ]
        return lines


def _day(moment: int | None) -> str:
    return "?" if moment is None else datetime.fromtimestamp(moment / 1000, UTC).date().isoformat()
