"""Handler of hooks: checks the signature, maps the body, stores the events."""

from __future__ import annotations

import logging
import time
from typing import Annotated

from fastapi import Path
from starlette.requests import Request
from starlette.responses import Response

from recserve.api.middleware.body import in_thread_if_long, parse_json, read_body
from recserve.api.middleware.metrics import metrics_of
from recserve.api.routes.hooks.mapping import HookMapping, Mapped
from recserve.api.routes.recommendations import backend_of, count_events
from recserve.api.schemas import responses as answers
from recserve.api.settings import ApiSettings
from recserve.auth.signing import verifier
from recserve.config import HookConfig
from recserve.data.entities import now_ms
from recserve.errors import InvalidRequestError, NotFoundError, RecserveError
from recserve.store import AddedEvents
from recserve.telemetry.instruments import STREAM_CHANGES

logger = logging.getLogger(__name__)

_SAID_SECONDS = 60.0
"""Of a hook's refused requests one in this time is logged; metrics count all."""

_FORM = "application/x-www-form-urlencoded"

HookName = Annotated[
    str, Path(min_length=1, max_length=64, description="Its name in `streams.hooks`.", examples=["shop"])
]


class HookRoutes:
    """The handler.

    Args:
        settings: The API's settings.

    Raises:
        ConfigError: The secret of a hook cannot be read.
    """

    def __init__(self, settings: ApiSettings) -> None:
        self._hooks = {name: _Hook(name, config, settings) for name, config in settings.hooks.items()}

    async def hook(self, request: Request, name: HookName) -> Response:
        """Answer `POST /v1/hooks/{name}`."""
        hook = self._hooks.get(name)
        if hook is None:
            raise NotFoundError(f"there is no hook {name!r}", field="name")
        try:
            return await hook.take(request)
        except RecserveError as error:
            hook.say(error)
            raise


class _Hook:
    """One hook."""

    def __init__(self, name: str, config: HookConfig, settings: ApiSettings) -> None:
        self._name = name
        self._config = config
        self._verifier = verifier(name, config)
        self._mapping = HookMapping(name, config, settings)
        self._said = -_SAID_SECONDS

    async def take(self, request: Request) -> Response:
        backend = backend_of(request)
        if self._is_ping(request):
            return _answer(0, AddedEvents(0), 0)
        body = await read_body(request, self._config.max_bytes)
        events, skipped = await in_thread_if_long(body, lambda: self._mapped(request, body))
        added = await backend.import_events(events) if events else AddedEvents(0)
        refused = set(added.refused_places)
        kept = [event for place, event in enumerate(events) if place not in refused]
        if kept:
            count_events(request, kept, added.stored)
        self._count(request, "stored", added.stored)
        self._count(request, "duplicate", len(kept) - added.stored)
        self._count(request, "refused", len(added.refused))
        self._count(request, "skipped", skipped)
        if added.refused:
            self.say(added.refused[0])
        return _answer(len(kept), added, skipped)

    def _mapped(self, request: Request, body: bytes) -> Mapped:
        delivery = self._verifier.check(request.headers, body, time.time())
        return self._mapping.events(parse_json(body), delivery, now_ms())

    def _is_ping(self, request: Request) -> bool:
        """Whether WooCommerce asks if there is anybody: what is not a form is signed."""
        declared = request.headers.get("content-type", "")
        return self._config.scheme == "woocommerce" and declared.partition(";")[0].strip().lower() == _FORM

    def _count(self, request: Request, outcome: str, number: int) -> None:
        if number:
            metrics_of(request).count(STREAM_CHANGES, f"hook:{self._name}", "events", outcome, by=number)

    def say(self, error: RecserveError) -> None:
        """Tell the log what was refused: senders rarely show their users the answer."""
        now = time.monotonic()
        if error.status < 500 and now - self._said >= _SAID_SECONDS:
            self._said = now
            # What is wrong with a body may quote it, and so a person: the place is enough.
            what = error.field if isinstance(error, InvalidRequestError) else error.message
            logger.warning("hook %s refused a body: %s: %s", self._name, error.code, what)


def _answer(accepted: int, added: AddedEvents, skipped: int) -> Response:
    return answers.json_response(
        {
            "accepted": accepted,
            "stored": added.stored,
            "duplicates": accepted - added.stored,
            "refused": len(added.refused),
            "skipped": skipped,
        }
    )
