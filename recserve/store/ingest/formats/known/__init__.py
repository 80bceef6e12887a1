"""The formats that are known by name."""

from __future__ import annotations

from recserve.store.ingest.formats.known import books, films, frameworks, music, reviews, shops
from recserve.store.ingest.formats.model import EventColumns, Format, ItemColumns

_MODULES = (films, music, shops, reviews, books, frameworks)

EVENT_FORMATS: tuple[Format[EventColumns], ...] = tuple(
    known for module in _MODULES for known in module.EVENTS
)
ITEM_FORMATS: tuple[Format[ItemColumns], ...] = tuple(known for module in _MODULES for known in module.ITEMS)
USER_FORMATS: tuple[Format[ItemColumns], ...] = (*films.USERS, *frameworks.USERS)
