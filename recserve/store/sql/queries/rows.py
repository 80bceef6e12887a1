"""Conversion between domain objects and table rows, with the checks that engines do not make alike."""

from __future__ import annotations

import json
import math
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orjson
from sqlalchemy import RowMapping

from recserve.data.arrays import FloatArray
from recserve.data.entities import MAX_TEXT, Event, Item, User, now_ms
from recserve.data.events.context import context_text
from recserve.errors import InvalidRequestError
from recserve.store.records import ApiKey, AuditEntry, ExposedItem, Exposure, ItemState, Shown
from recserve.store.sql.schema import hash_of, key_of

Row = dict[str, Any]
Stored = Row | RowMapping
"""A row as it came from the database."""

_MAX_SHORT_ID = 200
_INT64 = range(-(2**63), 2**63)


def event_rows(events: Sequence[Event]) -> list[Row]:
    """Rows of ``events``; events without an id get a fresh one.

    Raises:
        InvalidRequestError: An event that cannot be stored; names its position and field.
    """
    rows = []
    hashes: dict[str, int] = {}
    for position, event in enumerate(events):
        try:
            user_hash = hashes.get(event.user_id)
            if user_hash is None:
                check_id(event.user_id, "user_id")
                user_hash = hashes[event.user_id] = hash_of(event.user_id)
            if event.item_id or event.text is None:
                check_id(event.item_id, "item_id")
            check_id(event.event, "event")
            event_id = event.event_id or secrets.token_hex(16)
            check_id(event_id, "event_id")
            if event.recommendation_id is not None:
                check_id(event.recommendation_id, "recommendation_id", longest=_MAX_SHORT_ID)
            rows.append(
                {
                    "event_key": key_of(event_id),
                    "event_id": event_id,
                    "user_hash": user_hash,
                    "user_id": event.user_id,
                    "item_id": event.item_id,
                    "event": event.event,
                    "value": _finite(event.value, "value"),
                    "timestamp": _moment(event.timestamp, "timestamp"),
                    "recommendation_id": event.recommendation_id,
                    "text": None if event.text is None else _checked_text(event.text),
                    "context": None if event.context is None else _checked_context(event.context),
                }
            )
        except InvalidRequestError as error:
            raise InvalidRequestError(
                f"event {position}: {error.message}", field=f"events[{position}].{error.field}"
            ) from None
    return rows


def item_row(item: Item) -> Row:
    """The row of an item, without what only the store knows: versions and vector.

    Raises:
        InvalidRequestError: The id or an attribute cannot be stored.
    """
    check_id(item.item_id, "item_id")
    expires = item.expires_at
    return {
        "item_key": key_of(item.item_id),
        "item_id": item.item_id,
        "attributes": dump_json(item.attributes, f"attributes of item {item.item_id[:80]!r}"),
        "hidden": bool(item.hidden),
        "deleted": False,
        "expires": None if expires is None else _moment(expires, "expires_at"),
    }


def item_of(row: Stored) -> Item:
    """The item of a row."""
    return Item(row["item_id"], json.loads(row["attributes"]), row["hidden"], row["expires"])


def item_state_of(row: Stored) -> ItemState:
    """The item of a row with all that the store knows of it."""
    vector = row["vector"]
    return ItemState(
        item=item_of(row),
        created=row["created"],
        changed=row["changed"],
        deleted=row["deleted"],
        vector=None if vector is None else vector_of(vector),
        fingerprint=row["fingerprint"],
    )


def vector_of(stored: bytes) -> FloatArray:
    """The vector of what :func:`vector_bytes` made, float32, shape (d,)."""
    return np.frombuffer(stored, dtype="<f4").astype(np.float32)


def vector_bytes(vector: FloatArray, of: str) -> bytes:
    """A vector as it is stored: float32, little endian.

    Args:
        vector: The vector.
        of: Of what it is, for the message.

    Raises:
        InvalidRequestError: It has no numbers, more than one dimension, or one that is not finite.
    """
    plain = np.asarray(vector, dtype="<f4")
    if plain.ndim != 1 or not plain.size or not np.isfinite(plain).all():
        raise InvalidRequestError(f"the vector of {of} must be a row of finite numbers", field="vector")
    return plain.tobytes()


def user_row(user: User) -> Row:
    """The row of a user, without what only the store knows.

    Raises:
        InvalidRequestError: The id or an attribute cannot be stored.
    """
    check_id(user.user_id, "user_id")
    return {
        "user_key": key_of(user.user_id),
        "user_id": user.user_id,
        # Nothing of a person's id in the message: it may end up in a log.
        "attributes": dump_json(user.attributes, "attributes of a user"),
        "updated": now_ms(),
    }


def user_of(row: Stored) -> User:
    """The user of a row."""
    return User(row["user_id"], json.loads(row["attributes"]))


def api_key_row(key: ApiKey) -> Row:
    """The row of an API key.

    Raises:
        InvalidRequestError: Its id or name cannot be stored.
    """
    check_id(key.key_id, "key_id", longest=_MAX_SHORT_ID)
    check_id(key.name, "name")
    return {
        "key_id": key.key_id,
        "secret_hash": key.secret_hash,
        "name": key.name,
        "scopes": " ".join(sorted(key.scopes)),
        "created_at": _moment(key.created_at, "created_at"),
        "revoked_at": None if key.revoked_at is None else _moment(key.revoked_at, "revoked_at"),
        "rate_limit": _finite(key.rate_limit, "rate_limit"),
    }


def api_key_of(row: Stored) -> ApiKey:
    """The API key of a row."""
    fields: Row = dict(row)
    return ApiKey(**{**fields, "scopes": frozenset(row["scopes"].split())})


def audit_row(entry: AuditEntry) -> Row:
    """The row of an audit entry.

    Raises:
        InvalidRequestError: A text or the detail cannot be stored.
    """
    for name in ("actor", "action", "target"):
        if text := getattr(entry, name):
            check_id(text, name)
    return {
        "entry_key": secrets.token_bytes(16),
        "at": _moment(entry.at, "at"),
        "actor": entry.actor,
        "action": entry.action,
        "target": entry.target,
        "detail": dump_json(entry.detail, "detail of an audit entry"),
    }


def audit_of(row: Stored) -> AuditEntry:
    """The audit entry of a row."""
    return AuditEntry(
        at=row["at"],
        actor=row["actor"],
        action=row["action"],
        target=row["target"],
        detail=json.loads(row["detail"]),
    )


def exposure_row(exposure: Exposure) -> Row:
    """The row of an exposure.

    Raises:
        InvalidRequestError: An id that cannot be stored.
    """
    check_id(exposure.recommendation_id, "recommendation_id", longest=_MAX_SHORT_ID)
    check_id(exposure.scenario, "scenario")
    if exposure.user_id is not None:
        check_id(exposure.user_id, "user_id")
    shown = [_shown(item) for item in exposure.items]
    return {
        "recommendation_id": exposure.recommendation_id,
        "user_hash": None if exposure.user_id is None else hash_of(exposure.user_id),
        "user_id": exposure.user_id,
        "bundle": exposure.bundle,
        "scenario": exposure.scenario,
        "timestamp": _moment(exposure.timestamp, "timestamp"),
        "items": _quick_json(shown, "items of an exposure"),
        "since": exposure.since,
        "experiment": exposure.experiment,
        "arm": exposure.arm,
        "shadow": exposure.shadow,
        "degraded": _quick_json(list(exposure.degraded), "degraded") if exposure.degraded else None,
        "context": None if exposure.context is None else _checked_context(exposure.context),
    }


def _shown(item: Shown) -> list[Any]:
    """An item of an exposure; what only some have follows as an object."""
    plain = [item.item_id, _finite(item.score, "score"), item.sources]
    if not isinstance(item, ExposedItem):
        return plain
    further: Row = {}
    if item.arm is not None:
        further["arm"] = item.arm
    if item.propensity is not None:
        further["propensity"] = _finite(item.propensity, "propensity")
    return [*plain, further] if further else plain


def exposure_of(row: Stored) -> Exposure:
    """The exposure of a row."""
    return Exposure(
        recommendation_id=row["recommendation_id"],
        user_id=row["user_id"],
        bundle=row["bundle"],
        scenario=row["scenario"],
        timestamp=row["timestamp"],
        items=tuple(
            ExposedItem(item_id, score, tuple(sources), **(further[0] if further else {}))
            for item_id, score, sources, *further in json.loads(row["items"])
        ),
        since=row["since"],
        experiment=row["experiment"],
        arm=row["arm"],
        shadow=row["shadow"],
        degraded=tuple(json.loads(row["degraded"] or "[]")),
        context=row["context"],
    )


def check_id(external: str, field: str, longest: int | None = None) -> None:
    """Refuse ids that some engine cannot hold.

    Raises:
        InvalidRequestError: Not a string, empty, with a NUL character or half a surrogate pair, or
            longer than ``longest``.
    """
    if not isinstance(external, str) or not external:
        raise InvalidRequestError(f"{field} must be a non-empty string", field=field)
    if "\x00" in external:
        raise InvalidRequestError(f"{field} must not hold a NUL character", field=field)
    if not external.isascii():
        _check_encodable(external, field)
    if longest is not None and len(external) > longest:
        raise InvalidRequestError(f"{field} is longer than {longest} characters", field=field)


def dump_json(value: Any, what: str) -> str:
    """JSON text of ``value``, keys sorted, so that equal values are equal text.

    Raises:
        InvalidRequestError: It holds NaN, infinity, bytes or another thing JSON does not know.
    """
    try:
        plain = dict(value) if isinstance(value, Mapping) else value
        text = json.dumps(plain, ensure_ascii=False, allow_nan=False, sort_keys=True)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidRequestError(f"{what} cannot be stored as JSON: {error}") from None
    if not text.isascii():
        _check_encodable(text, what)
    return text


def _quick_json(value: list[Any], what: str) -> str:
    """Like :func:`dump_json` for what is written often and holds no mappings."""
    try:
        return orjson.dumps(value).decode()
    except TypeError:
        return dump_json(value, what)  # which says what is wrong


def _check_encodable(text: str, field: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidRequestError(
            f"{field} holds half of a surrogate pair, which is not valid Unicode", field=field
        ) from None


def _checked_text(text: str) -> str:
    """The text of an event, which must be as it is to be stored."""
    check_id(text, "text", longest=MAX_TEXT)
    return text


def _checked_context(text: str) -> str:
    """The text of a context, which must be as it is to be stored; nothing of it is in the message."""
    try:
        parsed = json.loads(text)
        if isinstance(parsed, dict) and context_text(parsed) == text:
            return text
        problem = "must be as recserve.data.events.context.context_text makes it"
    except ValueError as error:
        problem = "must be a JSON object" if isinstance(error, json.JSONDecodeError) else str(error)
    raise InvalidRequestError(f"context {problem}", field="context") from None


def _finite(value: float | None, field: str) -> float | None:
    if value is None:
        return None
    value = float(value)
    if not math.isfinite(value):
        raise InvalidRequestError(f"{field} must be a finite number", field=field)
    return value


def _moment(timestamp: int, field: str) -> int:
    timestamp = int(timestamp)
    if timestamp not in _INT64:
        raise InvalidRequestError(f"{field} must be milliseconds since the epoch", field=field)
    return timestamp
