"""The handlers. Each reads a request, asks the backend and writes the answer; nothing else."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import Path, Query
from starlette.requests import Request
from starlette.responses import Response

import recserve
from recserve.api import answers
from recserve.api.backend import Backend
from recserve.api.body import parse_json, read_body, validate
from recserve.api.models import (
    MAX_ID,
    EventBatchBody,
    EventBody,
    RecommendBody,
    SimilarBody,
    now_ms,
)
from recserve.api.settings import ApiSettings
from recserve.domain import Event
from recserve.errors import NotFoundError, NotReadyError

SAMPLE_USERS = 20
# Longer bodies are parsed in a thread, so that a batch of 10,000 events holds nobody else up.
_PARSED_ON_LOOP = 32_768

_Id = Path(
    min_length=1,
    max_length=MAX_ID,
    pattern=r"^[^\x00]+$",
    description="Percent-encode what a path cannot hold.",
)
ItemId = Annotated[str, _Id]
UserId = Annotated[str, _Id]
Limit = Annotated[int, Query(ge=1, le=1000, description="At most this many events.")]


class Routes:
    """The routes' handlers.

    Args:
        settings: The API's settings.
    """

    def __init__(self, settings: ApiSettings) -> None:
        self._settings = settings

    async def recommend(self, request: Request) -> Response:
        """Answer `POST /v1/recommend`."""
        raw = await read_body(request, self._settings.max_body_bytes)
        body = validate(RecommendBody, parse_json(raw))
        wanted = body.request(self._settings, now_ms())
        return answers.json_response(await _backend(request).recommend(wanted))

    async def similar(self, request: Request) -> Response:
        """Answer `POST /v1/similar`."""
        raw = await read_body(request, self._settings.max_body_bytes)
        body = validate(SimilarBody, parse_json(raw))
        return answers.json_response(await _backend(request).recommend(body.request(self._settings)))

    async def events(self, request: Request) -> Response:
        """Answer `POST /v1/events`."""
        raw = await read_body(request, self._settings.max_body_bytes)
        if len(raw) > _PARSED_ON_LOOP:
            events = await asyncio.to_thread(self._parse_events, raw)
        else:
            events = self._parse_events(raw)
        stored = await _backend(request).add_events(events)
        return answers.json_response(
            {"accepted": len(events), "stored": stored, "duplicates": len(events) - stored}
        )

    def _parse_events(self, raw: bytes) -> list[Event]:
        data = parse_json(raw)
        now = now_ms()
        if isinstance(data, dict) and "events" in data:
            return validate(EventBatchBody, data).to_events(self._settings, now)
        return [validate(EventBody, data).to_event(self._settings, now)]

    async def item(self, request: Request, item_id: ItemId) -> Response:
        """Answer `GET /v1/items/{item_id}`."""
        item = await _backend(request).item(item_id)
        if item is None:
            raise NotFoundError(f"unknown item {item_id[:80]!r}", field="item_id")
        return answers.json_response(answers.item_answer(item))

    async def history(self, request: Request, user_id: UserId, limit: Limit = 50) -> Response:
        """Answer `GET /v1/users/{user_id}/history`."""
        events = await _backend(request).history(user_id, limit)
        return answers.json_response(answers.history_answer(user_id, list(events)))

    async def plugins(self, request: Request) -> Response:
        """Answer `GET /v1/plugins`."""
        found = await _backend(request).plugins()
        listed = await asyncio.to_thread(lambda: [answers.plugin_answer(plugin) for plugin in found])
        return answers.json_response({"plugins": listed})

    async def about(self, request: Request) -> Response:
        """Answer `GET /v1/about`."""
        users = await _backend(request).sample_users(SAMPLE_USERS)
        return answers.json_response(answers.about_answer(self._settings, recserve.__version__, list(users)))

    async def live(self, request: Request) -> Response:
        """Answer `GET /v1/health/live`."""
        if not await _backend(request).live():
            raise NotReadyError("the server cannot work any more; restart it")
        return answers.json_response({"status": "live"})

    async def ready(self, request: Request) -> Response:
        """Answer `GET /v1/health/ready`."""
        readiness = await _backend(request).ready()
        if not readiness.ready:
            missing = "; ".join(f"{part}: {what}" for part, what in readiness.details.items())
            raise NotReadyError(missing or "the server is starting")
        return answers.json_response(answers.ready_answer(readiness))


def _backend(request: Request) -> Backend:
    backend: Backend | None = request.app.state.backend
    if backend is None:
        raise NotReadyError("the server is starting")
    return backend
