"""JSON to dataclasses and back."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from datetime import datetime
from functools import cache
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from recserve_client.core.errors import UnexpectedAnswerError

T = TypeVar("T")
Decoder = Callable[[Any], Any]


def decode(kind: type[T], data: Any) -> T:
    """Make an answer of parsed JSON. Fields that a newer server adds are passed over.

    Args:
        kind: A dataclass, or ``str``.
        data: Parsed JSON.

    Raises:
        UnexpectedAnswerError: A field is missing, or has another shape.
    """
    try:
        made: T = _decoder(cast(Hashable, kind))(data)
    except (KeyError, TypeError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise UnexpectedAnswerError(f"the answer is no {kind.__name__} ({reason})") from error
    return made


@cache
def _decoder(kind: Hashable) -> Decoder:
    if isinstance(kind, type) and is_dataclass(kind):
        return _dataclass(kind)
    if get_origin(kind) in (Union, UnionType):
        return _optional(*(one for one in get_args(kind) if one is not NoneType))
    inner = _decoder(get_args(kind)[-1]) if get_origin(kind) in (list, dict) else _same
    if inner is _same:
        return _same
    if get_origin(kind) is list:
        return lambda data: [inner(entry) for entry in data]
    return lambda data: {name: inner(entry) for name, entry in data.items()}


def _same(data: Any) -> Any:
    return data


def _optional(*kinds: Any) -> Decoder:
    """Null, or the only other alternative; scalars need no decoding."""
    inner = _decoder(kinds[0]) if len(kinds) == 1 else _same
    return _same if inner is _same else lambda data: None if data is None else inner(data)


def _dataclass(kind: type[Any]) -> Decoder:
    hints = get_type_hints(kind)
    needed = [(one.name, _decoder(hints[one.name])) for one in fields(kind) if one.default is MISSING]
    others = [(one.name, _decoder(hints[one.name])) for one in fields(kind) if one.default is not MISSING]

    def make(data: Mapping[str, Any]) -> Any:
        given = {name: inner(data[name]) for name, inner in needed}
        given |= {name: inner(data[name]) for name, inner in others if name in data}
        return kind(**given)

    return make


def encode(body: Any) -> bytes:
    """JSON of what is sent; times become ISO 8601.

    Raises:
        ValueError: A time without a time zone, or a number that is not finite.
        TypeError: Something that JSON cannot hold.
    """
    return json.dumps(
        body, default=_plain, allow_nan=False, ensure_ascii=False, separators=(",", ":")
    ).encode()


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError(f"{value} has no time zone: use datetime.now(timezone.utc), or .astimezone()")
        return value.isoformat()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (set, frozenset, range)):
        return list(value)
    raise TypeError(f"JSON cannot hold a {type(value).__name__}: {value!r:.80}")
