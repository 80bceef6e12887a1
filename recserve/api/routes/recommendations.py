"""Handlers of recommendations, events and the server itself.

Each reads a request, asks the backend and writes the answer; nothing else.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any

from fastapi import Path, Query
from starlette.requests import Request
from starlette.responses import Response

import recserve
from recserve.api.backends.protocol import Backend
from recserve.api.middleware.body import read, validate
from recserve.api.middleware.metrics import metrics_of
from recserve.api.pagination import MAX_CURSOR, MAX_URL_CURSOR
from recserve.api.schemas import about
from recserve.api.schemas import responses as answers
from recserve.api.schemas.recommend_request import (
    MAX_N,
    QUERY_KEPT,
    RankBody,
    RecommendBody,
    SimilarBody,
)
from recserve.api.schemas.write_request import EventBatchBody, EventBody
from recserve.api.settings import ApiSettings
from recserve.auth.caller import caller_of
from recserve.config import LANGUAGE
from recserve.data.entities import MAX_ID, Event, now_ms
from recserve.errors import ConflictError, NotReadyError
from recserve.serving.requests.request import CALL_HEADER, Recommendation
from recserve.serving.requests.request import Request as Wanted
from recserve.telemetry.instruments import DEGRADED, EVENTS_ACCEPTED, EVENTS_STORED

SAMPLE_USERS = 20


def path_id(example: str) -> Any:
    """An id in a path."""
    return Path(
        min_length=1,
        max_length=MAX_ID,
        pattern=r"^[^\x00]+$",
        description="Percent-encode what a path cannot hold.",
        examples=[example],
    )


ItemId = Annotated[str, path_id("260")]
UserId = Annotated[str, path_id("42")]
EventId = Annotated[str, path_id("a1")]


def _query_id(description: str, example: str) -> Any:
    return Query(
        min_length=1,
        max_length=MAX_ID,
        pattern=r"^[^\x00]+$",
        description=description,
        examples=[example],
    )


OfUser = Annotated[str, _query_id("Whose events.", "42")]
OfItem = Annotated[str, _query_id("Of which item.", "260")]
Limit = Annotated[int, Query(ge=1, le=1000, description="At most this many.")]
ListCursor = Annotated[
    str | None,
    Query(min_length=1, max_length=MAX_CURSOR, description="From the answer before: what follows it."),
]


class Routes:
    """The handlers.

    Args:
        settings: The API's settings.
    """

    def __init__(self, settings: ApiSettings) -> None:
        self._settings = settings

    async def recommend(self, request: Request) -> Response:
        """Answer `POST /v1/recommend`."""

        def parse(data: Any) -> tuple[Wanted, str | None]:
            body = validate(RecommendBody, data)
            return body.request(self._settings, now_ms()), body.cursor

        return await self._page(request, *await read(request, self._settings.max_body_bytes, parse))

    async def similar(self, request: Request) -> Response:
        """Answer `POST /v1/similar`."""

        def parse(data: Any) -> tuple[Wanted, str | None]:
            body = validate(SimilarBody, data)
            return body.request(self._settings), body.cursor

        return await self._page(request, *await read(request, self._settings.max_body_bytes, parse))

    async def recommend_to_user(
        self,
        request: Request,
        user_id: UserId,
        n: Annotated[int, Query(ge=1, le=MAX_N, description="How many items.")] = 10,
        scenario: Annotated[
            str | None, Query(min_length=1, description="A configured pipeline; default: the server's.")
        ] = None,
        query: Annotated[
            str | None, Query(max_length=QUERY_KEPT, description="Free text in any language.")
        ] = None,
        cursor: Annotated[
            str | None,
            Query(
                min_length=1,
                max_length=MAX_CURSOR,
                description="From an earlier answer to the same request: its next page.",
            ),
        ] = None,
        explain: Annotated[bool, Query(description="Say in words why each item is recommended.")] = True,
        language: Annotated[
            str | None,
            Query(pattern=LANGUAGE, max_length=35, description="Language of explanations, such as zh."),
        ] = None,
    ) -> Response:
        """Answer `GET /v1/recommend/{user_id}`."""
        asked = {
            "user_id": user_id,
            "n": n,
            "scenario": scenario,
            "query": query,
            "explain": explain,
            "language": language,
        }
        wanted = validate(RecommendBody, asked).request(self._settings, now_ms())
        return await self._page(request, wanted, cursor, MAX_URL_CURSOR)

    async def _page(
        self, request: Request, wanted: Wanted, cursor: str | None, longest: int = MAX_CURSOR
    ) -> Response:
        backend = backend_of(request)
        page = backend.cursors.page(wanted, cursor)
        caller_of(request).check_user(page.request.user_id)
        answer = await backend.recommend(page.request)
        count_degraded(request, answer)
        return answers.json_response(
            answers.page_answer(answer, backend.cursors.following(page, answer, longest))
        )

    async def rank(self, request: Request) -> Response:
        """Answer `POST /v1/rank`."""

        def parse(data: Any) -> Wanted:
            return validate(RankBody, data).request(self._settings, now_ms())

        wanted = await read(request, self._settings.max_body_bytes, parse)
        caller_of(request).check_user(wanted.user_id)
        answer = await backend_of(request).recommend(wanted)
        count_degraded(request, answer)
        return answers.json_response(answers.rank_answer(answer))

    async def events(self, request: Request) -> Response:
        """Answer `POST /v1/events`."""
        events, batch = await read(request, self._settings.max_bulk_bytes, self._events_of)
        call = request.headers.get(CALL_HEADER, "")
        if call:
            events = [_named(event, f"{call}-{index}") for index, event in enumerate(events)]
        try:
            stored = await backend_of(request).add_events(events)
        except ConflictError as error:
            raise error if batch else _of_single(error) from None
        count_events(request, events, stored)
        return answers.json_response(
            {"accepted": len(events), "stored": stored, "duplicates": len(events) - stored}
        )

    def _events_of(self, data: Any) -> tuple[list[Event], bool]:
        """The events of a body, and whether they came as a batch."""
        now = now_ms()
        if isinstance(data, dict) and "events" in data:
            return validate(EventBatchBody, data).to_events(self._settings, now), True
        return [validate(EventBody, data).to_event(self._settings, now)], False

    async def delete_event(self, request: Request, event_id: EventId) -> Response:
        """Answer `DELETE /v1/events/{event_id}`."""
        return answers.json_response({"deleted": await backend_of(request).remove_event(event_id)})

    async def delete_events(self, request: Request, user_id: OfUser, item_id: OfItem) -> Response:
        """Answer `DELETE /v1/events`."""
        deleted = await backend_of(request).remove_events(user_id, item_id)
        return answers.json_response({"deleted": deleted})

    async def plugins(self, request: Request) -> Response:
        """Answer `GET /v1/plugins`."""
        backend = backend_of(request)
        found, uses = await backend.plugins(), list(backend.configuration.uses())
        listed = await asyncio.to_thread(lambda: [about.plugin_answer(plugin, uses) for plugin in found])
        return answers.json_response({"plugins": listed})

    async def about(self, request: Request) -> Response:
        """Answer `GET /v1/about`."""
        backend, reads = backend_of(request), "read" in caller_of(request).scopes
        users = await backend.sample_users(SAMPLE_USERS) if reads else ()
        return answers.json_response(about.about_answer(self._settings, recserve.__version__, list(users)))

    async def live(self, request: Request) -> Response:
        """Answer `GET /v1/health/live`."""
        if not await backend_of(request).live():
            raise NotReadyError("the server cannot work any more; restart it")
        return answers.json_response({"status": "live"})

    async def ready(self, request: Request) -> Response:
        """Answer `GET /v1/health/ready`."""
        readiness = await backend_of(request).ready()
        if "read" not in caller_of(request).scopes:
            readiness = about.without_places(readiness)
        if not readiness.ready:
            missing = "; ".join(f"{part}: {what}" for part, what in readiness.details.items())
            raise NotReadyError(missing or "the server is starting")
        return answers.json_response(about.ready_answer(readiness))


def count_degraded(request: Request, answer: Recommendation) -> None:
    """Count what an answer had to do without."""
    if answer.degraded:
        for part, cause in zip(answer.degraded, answer.causes, strict=True):
            metrics_of(request).count(DEGRADED, part, cause)


def count_events(request: Request, events: Sequence[Event], stored: int) -> None:
    """Count accepted events by their type, and those of them that were new."""
    metrics = metrics_of(request)
    metrics.count(EVENTS_STORED, by=stored)
    if len(events) == 1:
        metrics.count(EVENTS_ACCEPTED, events[0].event)
        return
    for kind, number in Counter(event.event for event in events).items():
        metrics.count(EVENTS_ACCEPTED, kind, by=number)


def _of_single(error: ConflictError) -> ConflictError:
    """The refusal of an event that came alone, not as the first of a list."""
    place = "events[0]."
    field = (error.field or "").removeprefix(place) or None
    return type(error)(error.message.removeprefix(place), field=field)


def _named(event: Event, event_id: str) -> Event:
    """An event with an id, so that a call that is repeated by the proxy stores it once."""
    return event if event.event_id else replace(event, event_id=event_id)


def backend_of(request: Request) -> Backend:
    """The backend that serves a request.

    Raises:
        NotReadyError: There is none yet.
    """
    backend: Backend | None = request.app.state.backend
    if backend is None:
        raise NotReadyError("the server is starting")
    return backend
