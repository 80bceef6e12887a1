"""What other recommendation systems export or read: Gorse, Amazon Personalize and RecBole."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime

import orjson

from recserve.store.ingest.files.delimited import Dialect
from recserve.store.ingest.formats.model import EventColumns, Format, ItemColumns, Row, renamed, split

_GO_TIME = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?) ([+-]\d{4})(?: \S+)?(?: m=\S+)?")
_RECBOLE_TYPES = ("token", "token_seq", "float", "float_seq")

_GORSE_EVENTS = {"read": "view", "star": "like"}
_PERSONALIZE_EVENTS = {
    "watch": "play", "listen": "play", "stream": "play", "addtocart": "add_to_cart", "buy": "purchase",
    "order": "purchase", "checkout": "purchase", "rate": "rating", "read": "view", "detailpageview": "view",
}  # fmt: skip


def go_time(text: str) -> str:
    """A time as Go prints it, ``2020-01-01 01:01:01.000000001 +0000 UTC``, in ISO 8601."""
    found = _GO_TIME.fullmatch(text.strip())
    return text if found is None else f"{found[1][:26]}{found[2]}"


def _gorse_labels(row: Row) -> Row:
    """Labels are ``a|b`` in older versions and JSON in newer ones."""
    labels = row.get("labels")
    if not isinstance(labels, str):
        return row
    return {**row, "labels": _json(labels) if labels.startswith(("{", "[")) else split(labels, "|")}


def _gorse_item(row: Row) -> Row:
    made = {**_gorse_labels(row), "categories": split(row.get("categories"), "|")}
    if isinstance(row.get("timestamp"), str):
        made["timestamp"] = _gorse_time(row["timestamp"])
    if isinstance(row.get("is_hidden"), str):
        made["is_hidden"] = row["is_hidden"] == "true"
    return made


def _gorse_time(text: str) -> str | None:
    """A time in UTC as ``server.gorse`` stores it; None for Go's zero time."""
    try:
        moment = datetime.fromisoformat(go_time(text))
    except ValueError:
        return text
    if moment.year == 1:
        return None
    return f"{moment.astimezone(UTC).replace(tzinfo=None).isoformat()}Z"


def _json(text: str) -> object:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


def _personalize_item(row: Row) -> Row:
    """Lower-case names; categories and genres are lists."""
    return {
        name.lower(): split(value, "|") if name.lower().startswith(("category", "genre")) else value
        for name, value in row.items()
    }


def _is_recbole(header: Sequence[str], *needed: str) -> bool:
    typed = all(name.rpartition(":")[2] in _RECBOLE_TYPES for name in header)
    names = [name.rpartition(":")[0] for name in header]
    return typed and all(_of_kind(names, kind) for kind in needed)


def _of_kind(names: Sequence[str], kind: str) -> str | None:
    """The column of users (``user_id``), or of items: ``item_id``, else the first other id."""
    if f"{kind}_id" in names:
        return f"{kind}_id"
    if kind == "user":
        return None
    ids = [name for name in names if name.endswith("_id") and name not in ("user_id", "review_id")]
    return ids[0] if ids else None


def _recbole_events(header: Sequence[str]) -> EventColumns:
    types = dict(name.rsplit(":", 1) for name in header)
    item = _of_kind(list(types), "item")
    found = {
        "user_id": "user_id",
        "item_id": item,
        "value": next((name for name in ("rating", "stars", "value") if name in types), None),
        "timestamp": next((name for name in ("timestamp", "date", "time") if name in types), None),
    }
    sources = {ours: (f"{theirs}:{types[theirs]}",) for ours, theirs in found.items() if theirs}
    return EventColumns(sources, timed="timestamp" in sources)


def _recbole_items(header: Sequence[str]) -> ItemColumns:
    return _recbole_attributes(header, "item")


def _recbole_users(header: Sequence[str]) -> ItemColumns:
    return _recbole_attributes(header, "user")


def _recbole_attributes(header: Sequence[str], what: str) -> ItemColumns:
    types = dict(name.rsplit(":", 1) for name in header)
    key = _of_kind(list(types), what)
    lists = frozenset(name for name, kind in types.items() if kind.endswith("_seq") and not _is_prose(name))

    def ours(name: str) -> str:
        return f"{what}_id" if name == key else "title" if name.endswith("_title") else name

    return ItemColumns(
        {ours(name): (f"{name}:{kind}",) for name, kind in types.items()},
        convert=lambda row: {name: split(cell, " ") if name in lists else cell for name, cell in row.items()},
    )


def _is_prose(name: str) -> bool:
    return any(word in name for word in ("title", "name", "text", "description", "summary"))


EVENTS: tuple[Format[EventColumns], ...] = (
    Format(
        "gorse",
        "Gorse",
        EventColumns(
            renamed(
                user_id="user_id or UserId",
                item_id="item_id or ItemId",
                event="feedback_type or FeedbackType",
                value="value or Value",
                timestamp="time_stamp or Timestamp",
                text="comment or Comment",
            ),
            events=_GORSE_EVENTS,
            unrated=frozenset((0.0,)),
            read_time=go_time,
        ),
        recognise=lambda header: "feedback_type" in header or "FeedbackType" in header,
    ),
    Format(
        "personalize",
        "Amazon Personalize",
        EventColumns(
            renamed(
                user_id="USER_ID",
                item_id="ITEM_ID",
                event="EVENT_TYPE",
                value="EVENT_VALUE",
                timestamp="TIMESTAMP",
            ),
            events=_PERSONALIZE_EVENTS,
        ),
        header=("USER_ID", "ITEM_ID", "TIMESTAMP"),
    ),
    Format(
        "recbole",
        "RecBole atomic file",
        _recbole_events,
        recognise=lambda header: _is_recbole(header, "user", "item"),
        dialect=Dialect("\t", quoted=False),
    ),
)

ITEMS: tuple[Format[ItemColumns], ...] = (
    Format(
        "gorse",
        "Gorse",
        ItemColumns(
            renamed(
                item_id="item_id or ItemId",
                is_hidden="is_hidden or IsHidden",
                categories="categories or Categories",
                labels="labels or Labels",
                timestamp="time_stamp or Timestamp",
                description="description or comment or Comment",
            ),
            convert=_gorse_item,
        ),
        recognise=lambda header: bool(
            {"item_id", "is_hidden", "categories"} <= set(header) or {"ItemId", "Categories"} <= set(header)
        ),
        note="is_hidden is kept as an attribute and hides nothing",
    ),
    Format(
        "personalize",
        "Amazon Personalize",
        ItemColumns(renamed(item_id="ITEM_ID"), convert=_personalize_item),
        recognise=lambda header: "ITEM_ID" in header and "USER_ID" not in header,
    ),
    Format(
        "recbole",
        "RecBole atomic file",
        _recbole_items,
        recognise=lambda header: _is_recbole(header, "item"),
        dialect=Dialect("\t", quoted=False),
    ),
)

USERS: tuple[Format[ItemColumns], ...] = (
    Format(
        "gorse",
        "Gorse",
        ItemColumns(
            renamed(
                user_id="user_id or UserId",
                labels="labels or Labels",
                comment="comment or Comment",
                subscribe="Subscribe",
            ),
            convert=_gorse_labels,
        ),
        recognise=lambda header: bool({"user_id", "labels"} <= set(header) or "UserId" in header),
    ),
    Format(
        "personalize",
        "Amazon Personalize",
        ItemColumns(renamed(user_id="USER_ID"), convert=_personalize_item),
        recognise=lambda header: "USER_ID" in header and "ITEM_ID" not in header,
    ),
    Format(
        "recbole",
        "RecBole atomic file",
        _recbole_users,
        recognise=lambda header: _is_recbole(header, "user"),
        dialect=Dialect("\t", quoted=False),
    ),
)
