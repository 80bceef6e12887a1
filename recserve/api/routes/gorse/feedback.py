"""Handlers of feedback."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from recserve.api.routes.gorse.storing import (
    FeedbackKey,
    FeedbackWriter,
    feedback_id,
    key_of_feedback,
    newest_of_each,
)
from recserve.api.routes.gorse.wire.answers import answer, rows_affected
from recserve.api.routes.gorse.wire.bodies import FeedbackBody, of_milliseconds, read_list
from recserve.api.routes.gorse.wire.errors import NotMappedError
from recserve.api.routes.gorse.wire.parameters import MOST_LISTED, count, cursor_of
from recserve.api.routes.recommendations import backend_of, count_events
from recserve.api.schemas.recommend_request import check_not_future
from recserve.api.settings import ApiSettings
from recserve.config import nearest
from recserve.data.entities import Event, now_ms
from recserve.data.events.text import event_text
from recserve.errors import InvalidRequestError, NotFoundError

_LIST = "gorse-feedback"
_LOOKED_THROUGH = 50_000
"""Events that one call looks through for those of a type; the cursor goes on behind them."""


class FeedbackTypes:
    """Types of feedback as event types.

    Args:
        settings: Has both.
    """

    def __init__(self, settings: ApiSettings) -> None:
        self._types = settings.event_types
        self._others = settings.gorse.feedback_types

    def event_type(self, kind: str) -> str:
        """The event type of a type of feedback.

        Raises:
            InvalidRequestError: There is none.
        """
        found = kind if kind in self._types else self._others.get(kind)
        if found is None:
            known = [*self._types, *self._others]
            raise InvalidRequestError(
                f"feedback type {kind[:80]!r} is not configured{nearest(kind[:80], known)}; add it under "
                "`events` or `server.gorse.feedback_types` of recserve.yaml",
                field="FeedbackType",
            )
        return found


class FeedbackRoutes:
    """The handlers.

    Args:
        settings: The API's settings.
    """

    def __init__(self, settings: ApiSettings) -> None:
        self._settings = settings
        self._types = FeedbackTypes(settings)

    async def insert(self, request: Request) -> Response:
        """Answer ``POST /feedback``."""
        events = await self._read(request)
        count_events(request, events, await FeedbackWriter(backend_of(request)).insert(events))
        return rows_affected(len(events))

    async def overwrite(self, request: Request) -> Response:
        """Answer ``PUT /feedback``."""
        events = await self._read(request)
        count_events(request, events, await FeedbackWriter(backend_of(request)).overwrite(events))
        return rows_affected(len(events))

    async def _read(self, request: Request) -> list[Event]:
        now = now_ms()
        return await read_list(
            request, self._settings.max_bulk_bytes, FeedbackBody, lambda body: self._event(body, now)
        )

    def _event(self, body: FeedbackBody, now: int) -> Event:
        kind = self._types.event_type(body.feedback_type)
        # Zero is Gorse's "no value".
        value = body.value or None
        self._settings.check_event(kind, value)
        timestamp = body.milliseconds()
        check_not_future(timestamp, now, "")
        return Event(
            user_id=body.user_id,
            item_id=body.item_id,
            event=kind,
            timestamp=now if timestamp is None else timestamp,
            value=value,
            event_id=feedback_id(FeedbackKey(body.feedback_type, body.user_id, body.item_id)),
            text=_comment(body.comment),
            timed=timestamp is not None,
        )

    async def list_feedback(self, request: Request) -> Response:
        """Answer ``GET /feedback`` and ``GET /feedback/{feedback-type}``."""
        kind = request.path_params.get("feedback_type")
        backend, n = backend_of(request), count(request, most=MOST_LISTED)
        number = int(backend.cursors.after(_LIST, cursor_of(request)) or 0)
        found: list[Event] = []
        looked_through = 0
        more = True
        while more and len(found) < n and looked_through < _LOOKED_THROUGH:
            wanted = n - len(found) if kind is None else MOST_LISTED
            events, number = await backend.events_after(number, wanted)
            looked_through += len(events)
            more = len(events) == wanted
            found += [
                event for event in events if event.item_id and kind in (None, key_of_feedback(event).kind)
            ]
        return answer(
            {
                "Cursor": backend.cursors.of_list(_LIST, str(number)) if more else "",
                "Feedback": [feedback_answer(event) for event in found],
            }
        )

    async def of_pair(self, request: Request) -> Response:
        """Answer ``GET /feedback/{user-id}/{item-id}``."""
        return answer([feedback_answer(event) for event in newest_of_each(await _between(request))])

    async def of_pair_and_type(self, request: Request) -> Response:
        """Answer ``GET /feedback/{feedback-type}/{user-id}/{item-id}``."""
        found = _of_type(newest_of_each(await _between(request)), request.path_params["feedback_type"])
        if not found:
            raise NotFoundError("there is no such feedback")
        return answer(feedback_answer(found[0]))

    async def delete_of_pair(self, request: Request) -> Response:
        """Answer ``DELETE /feedback/{user-id}/{item-id}``."""
        named = request.path_params
        return rows_affected(await backend_of(request).remove_events(named["user_id"], named["item_id"]))

    async def delete_of_pair_and_type(self, request: Request) -> Response:
        """Answer ``DELETE /feedback/{feedback-type}/{user-id}/{item-id}``."""
        found = _of_type(await _between(request), request.path_params["feedback_type"])
        writer = FeedbackWriter(backend_of(request))
        return rows_affected(await writer.remove([event.event_id for event in found]))

    async def of_user(self, request: Request) -> Response:
        """Answer ``GET /user/{user-id}/feedback`` and the same of one type."""
        newest_first = await backend_of(request).history(request.path_params["user_id"], MOST_LISTED)
        found = newest_of_each(entry.event for entry in reversed(newest_first))
        kind = request.path_params.get("feedback_type")
        return answer(
            [feedback_answer(event) for event in (found if kind is None else _of_type(found, kind))]
        )

    async def of_item(self, request: Request) -> Response:
        """Answer ``GET /item/{item-id}/feedback`` and the same of one type: not to be had."""
        raise NotMappedError(
            "feedback cannot be listed by item: events are kept by user. List it by user, or all of it with "
            "GET /feedback"
        )


def feedback_answer(event: Event) -> dict[str, Any]:
    """One feedback."""
    return {
        "FeedbackType": key_of_feedback(event).kind,
        "UserId": event.user_id,
        "ItemId": event.item_id,
        "Value": event.value or 0,
        "Timestamp": of_milliseconds(event.timestamp),
        "Comment": event.text or "",
    }


def _comment(text: str | None) -> str | None:
    if not text or not text.strip():
        return None
    try:
        return event_text(text)
    except ValueError as error:
        raise InvalidRequestError(f"Comment {error}", field="Comment") from None


async def _between(request: Request) -> Sequence[Event]:
    named = request.path_params
    return await backend_of(request).events_with(named["user_id"], [named["item_id"]])


def _of_type(events: Sequence[Event], kind: str) -> list[Event]:
    return [event for event in events if key_of_feedback(event).kind == kind]
