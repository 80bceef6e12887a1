"""What was shown and done in tests of outcomes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from recserve import Event
from recserve.config import Config, parse_config
from recserve.store import ExposedItem, Exposure, Store

DAY = 86_400_000
HOUR = 3_600_000
NOON = 20_000 * DAY + 12 * HOUR
"""Of the day that most things happen on."""


def config(**outcomes: Any) -> Config:
    """A configuration with some settings of outcomes."""
    return parse_config({"outcomes": outcomes})


def shown(name: str, user: str | None = "u", at: int = NOON, items: str = "abc", **more: Any) -> Exposure:
    """A page that showed items with ids of one letter."""
    page = tuple(ExposedItem(item, 1.0 / (place + 1), ("mf",)) for place, item in enumerate(items))
    return Exposure(name, user, "bundle", "home", at, page, **more)


def done(user: str, item: str, at: int, event: str = "click", **more: Any) -> Event:
    """Something that was done with an item."""
    return Event(user, item, event, at, **more)


def fill(store: Store, exposures: Iterable[Exposure], events: Iterable[Event] = ()) -> None:
    """Store what was shown and done."""
    store.add_exposures(list(exposures))
    store.flush()
    store.add_events(list(events))
