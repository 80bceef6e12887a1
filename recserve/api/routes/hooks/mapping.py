"""Bodies of a hook as events, checked by the model that checks the body of `POST /v1/events`."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from recserve.api.middleware.body import validate
from recserve.api.routes.hooks.paths import Entry, Found, find, look_up
from recserve.api.schemas.recommend_request import MAX_LIST
from recserve.api.schemas.write_request import EventBody
from recserve.api.settings import ApiSettings
from recserve.config import HookConfig
from recserve.data.entities import Event
from recserve.errors import InvalidRequestError

_NAMES = frozenset({"user_id", "item_id", "event", "event_id", "recommendation_id"})
_NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*")
_LONGEST_NUMBER = 400
"""Characters of a number beyond which it is none."""


class Mapped(NamedTuple):
    """What a body is.

    Attributes:
        events: Events, each with an id.
        skipped: Entries that are none: of another name than those listed, or incomplete where that may be.
    """

    events: list[Event]
    skipped: int


class HookMapping:
    """Mapping of bodies to events.

    Args:
        name: The hook's name.
        config: Its settings.
        settings: Event types and their scales.
    """

    def __init__(self, name: str, config: HookConfig, settings: ApiSettings) -> None:
        self._name = name
        self._config = config
        self._settings = settings
        self._fields = {
            key: field
            for key in type(config.fields).model_fields
            if (field := getattr(config.fields, key)) is not None
        }

    def events(self, body: Any, delivery: bytes, now: int) -> Mapped:
        """The events of a body.

        Args:
            body: Parsed JSON.
            delivery: What is the same whenever the sender repeats the body, and different for others.
            now: Milliseconds since the epoch.

        Raises:
            InvalidRequestError: It does not fit; the message names the place in the body.
        """
        digest = hashlib.blake2b(delivery, digest_size=16).hexdigest()
        mapped, skipped = [], 0
        for entry in self._entries(body):
            found = {key: _named(key, find(entry, field)) for key, field in self._fields.items()}
            if not self._is_listed(found["event"]) or not self._is_complete(entry, found):
                skipped += 1
            else:
                mapped.append(self._event(entry, found, f"hook:{self._name}:{digest}", now))
        return Mapped(mapped, skipped)

    def _entries(self, body: Any) -> Iterator[Entry]:
        whole = Entry(body, body, "", None)
        listed = Found(body, "") if self._config.each is None else look_up(whole, self._config.each)
        if listed.value is None or isinstance(listed.value, dict):
            # Whether one that is missing matters depends on what the body says it is.
            yield Entry(body, listed.value, listed.place, None)
            return
        place = listed.place or "the body"
        if not isinstance(listed.value, list):
            raise InvalidRequestError(
                f"{place} must be a JSON object or a list of them", field=listed.place or None
            )
        if len(listed.value) > MAX_LIST:
            raise InvalidRequestError(
                f"{place} has {len(listed.value):,} entries; at most {MAX_LIST:,} are accepted",
                field=listed.place or None,
            )
        for number, value in enumerate(listed.value):
            yield Entry(body, value, f"{listed.place}[{number}]", number)

    def _is_listed(self, event: Found) -> bool:
        return self._config.names is None or event.value is None or event.value in self._config.names

    def _is_complete(self, entry: Entry, found: Mapping[str, Found]) -> bool:
        """Whether an entry is an event.

        Raises:
            InvalidRequestError: It is not, and may not be skipped.
        """
        place, lacking = self._lacking(entry, found)
        if lacking and self._config.incomplete == "refuse":
            raise InvalidRequestError(f"{place}{lacking}", field=place)
        return not lacking

    def _lacking(self, entry: Entry, found: Mapping[str, Found]) -> tuple[str, str]:
        """Where something is missing, and what is to be said of it; empty texts if nothing is."""
        if entry.value is None:
            return entry.place or "the body", " is missing"
        if found["user_id"].value in self._config.nobody:
            return found["user_id"].place, ", the user_id of an event, stands for nobody"
        said = [key for key in ("item_id", "text") if key in found]
        wanted = ["user_id", "event"]
        if all(found[key].value is None for key in said):
            wanted.append(said[0])
        for key in wanted:
            if found[key].value is None:
                return found[key].place, f", the {key} of an event, is missing"
        return "", ""

    def _event(self, entry: Entry, found: Mapping[str, Found], delivery: str, now: int) -> Event:
        given = {key: _converted(key, one.value) for key, one in found.items() if one.value is not None}
        if self._config.names is not None:
            given["event"] = self._config.names[given["event"]]
        try:
            event = validate(EventBody, given).to_event(self._settings, now)
        except InvalidRequestError as error:
            at = found.get(error.field or "")
            place = entry.place if at is None else at.place
            message = f"{place}: {error.message}" if place else error.message
            raise InvalidRequestError(message, field=place or error.field) from None
        if not event.event_id:
            return replace(event, event_id=f"{delivery}:{entry.number or 0}")
        if found["event_id"].of_body and entry.number is not None:
            return replace(event, event_id=f"{event.event_id}:{entry.number}")
        return event


def _named(key: str, found: Found) -> Found:
    """A field, an id or a name as text.

    Raises:
        InvalidRequestError: It is neither a text nor a whole number.
    """
    value = found.value
    if key not in _NAMES or value is None or isinstance(value, str):
        return found
    if isinstance(value, int) and not isinstance(value, bool):
        return found._replace(value=str(value))
    raise InvalidRequestError(
        f"{found.place}, the {key} of an event, must be a text or a whole number", field=found.place
    )


def _converted(key: str, value: Any) -> Any:
    """A value in the type of its field: many senders write numbers as texts."""
    if not isinstance(value, str) or not value.isascii() or len(value) > _LONGEST_NUMBER:
        return value
    if key == "timestamp" and value.isdecimal() and len(value) >= len("1000000000"):
        return int(value)
    if key == "value" and _NUMBER.fullmatch(value):
        return float(value)
    return value  # what does not fit is refused by name where all fields are checked
