"""Answers in Gorse's words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from starlette.responses import Response

from recserve.api.routes.gorse.wire.bodies import (
    COMMENT,
    DESCRIPTION,
    LABELS,
    NO_TIME,
    SUBSCRIBE,
    TIMESTAMP,
    item_time,
    of_milliseconds,
)
from recserve.api.schemas.recommend_request import parse_timestamp
from recserve.api.schemas.responses import dumps
from recserve.data.entities import Item, User
from recserve.errors import InvalidRequestError
from recserve.serving.requests.request import RecommendedItem


def answer(content: Any) -> Response:
    """An answer that no cache may keep."""
    return Response(dumps(content), headers={"Cache-Control": "no-store"}, media_type="application/json")


def rows_affected(count: int) -> Response:
    """The answer to a write."""
    return answer({"RowAffected": count})


def user_answer(user: User) -> dict[str, Any]:
    """One user."""
    attributes = user.attributes
    told = {
        "UserId": user.user_id,
        "Labels": attributes.get(LABELS),
        "Comment": _text(attributes.get(COMMENT)),
    }
    # Gorse 0.5 has no such field any more; who sends one gets it back.
    return {**told, "Subscribe": attributes[SUBSCRIBE]} if SUBSCRIBE in attributes else told


def item_answer(item: Item, categories: str) -> dict[str, Any]:
    """One item; ``categories`` names the attribute that holds them."""
    return {
        "ItemId": item.item_id,
        "IsHidden": item.hidden,
        "Categories": categories_of(item.attributes, categories),
        "Timestamp": _time(item.attributes.get(TIMESTAMP)),
        "Labels": item.attributes.get(LABELS),
        "Comment": _text(item.attributes.get(DESCRIPTION)),
    }


def categories_of(attributes: Mapping[str, Any], name: str) -> list[str] | None:
    """The categories of an item: a list, a single one, or none at all."""
    held = attributes.get(name)
    if held is None:
        return None
    return [str(value) for value in held] if isinstance(held, list) else [str(held)]


def _time(value: object) -> str:
    if isinstance(value, str):
        try:
            return item_time(value) or NO_TIME
        except InvalidRequestError:
            return NO_TIME
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            parsed = parse_timestamp(value)
        except ValueError:
            return NO_TIME
        return of_milliseconds(parsed) if isinstance(parsed, int) else NO_TIME
    return NO_TIME


def _text(value: object) -> str:
    return "" if value is None else str(value)


def scores(items: Iterable[RecommendedItem]) -> list[dict[str, Any]]:
    """Items with their scores, best first."""
    return [{"Id": item.item_id, "Score": item.score} for item in items]


def ids(items: Sequence[RecommendedItem]) -> list[str]:
    """Items alone."""
    return [item.item_id for item in items]
