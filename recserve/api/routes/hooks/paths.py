"""Paths into parsed JSON: where they lead, and how a message names the place."""

from __future__ import annotations

from typing import Any, NamedTuple

from recserve.config import FieldConfig

_BODY = "$"
_ENTRY = "@"


class Entry(NamedTuple):
    """What may be an event: a part of a body.

    Attributes:
        body: The whole body.
        value: The part.
        place: Where the part is, such as ``line_items[2]``; empty for the whole body.
        number: Its place in the list that it is of; None where there is no list.
    """

    body: Any
    value: Any
    place: str
    number: int | None


class Found(NamedTuple):
    """A value of an entry.

    Attributes:
        value: The value; None where there is none.
        place: Where it is, or would be.
        of_body: Whether it is looked for in the body, and so the same for all entries.
    """

    value: Any
    place: str
    of_body: bool = False


def follow(value: Any, path: str) -> Any:
    """Where a path leads; None where it leads nowhere."""
    for name in path.split("."):
        if isinstance(value, dict):
            value = value.get(name)
        elif isinstance(value, list) and name.isascii() and name.isdecimal() and len(name) < 7:
            value = value[int(name)] if int(name) < len(value) else None
        else:
            return None
    return value


def look_up(entry: Entry, path: str) -> Found:
    """What a path of the configuration leads to."""
    if path == _ENTRY:
        return Found(entry.value, entry.place or "the body")
    if path == _BODY:
        return Found(entry.body, "the body", of_body=True)
    if path.startswith(f"{_BODY}."):
        inner = path.removeprefix(f"{_BODY}.")
        return Found(follow(entry.body, inner), inner, of_body=True)
    return Found(follow(entry.value, path), f"{entry.place}.{path}" if entry.place else path)


def find(entry: Entry, field: FieldConfig) -> Found:
    """The first value that is there and not an empty text, else the place of the first path."""
    if field.constant is not None:
        return Found(field.constant, "the constant of the configuration")
    tried = [look_up(entry, path) for path in field.paths]
    there = (found for found in tried if found.value is not None and found.value != "")
    return next(there, tried[0]._replace(value=None))
