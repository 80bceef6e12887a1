"""What the server does at this moment, for people who watch it."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from recserve.api.schemas.responses import json_response
from recserve.telemetry.overview import overview

EVERY = 2.0
"""Seconds that an answer is given to everybody who asks, so that watchers cost no more than one."""


class LiveRoutes:
    """The handlers."""

    def __init__(self) -> None:
        self._answer: dict[str, Any] = {}
        self._until = 0.0
        self._one_at_a_time = asyncio.Lock()

    async def live_now(self, request: Request) -> Response:
        """Answer `GET /v1/live`."""
        async with self._one_at_a_time:
            if time.monotonic() >= self._until:
                snapshots = await request.app.state.scrape()
                self._answer = {**overview(snapshots, time.time_ns() // 1_000_000), "every": EVERY}
                self._until = time.monotonic() + EVERY
        return json_response(self._answer)
