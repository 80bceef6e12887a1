"""Handlers of recommendations: for users and sessions, similar items, and lists that are nobody's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from recserve.api.routes.gorse.feedback import FeedbackTypes
from recserve.api.routes.gorse.storing import FeedbackKey, FeedbackWriter, feedback_id
from recserve.api.routes.gorse.wire.answers import answer, ids, item_answer, scores
from recserve.api.routes.gorse.wire.bodies import TIMESTAMP, StepBody, read_list
from recserve.api.routes.gorse.wire.errors import NotMappedError
from recserve.api.routes.gorse.wire.parameters import categories, count, offset_of, write_back_delay
from recserve.api.routes.recommendations import backend_of, count_degraded, count_events
from recserve.api.schemas.recommend_request import check_not_future
from recserve.api.settings import ApiSettings
from recserve.auth.caller import caller_of
from recserve.auth.errors import ForbiddenError
from recserve.config import SEARCH_SCENARIO
from recserve.data.entities import Event, Item, now_ms
from recserve.serving.requests.request import Asked, Recommendation, RecommendedItem, SessionEvent
from recserve.serving.requests.request import Request as Wanted

CATEGORY_FILTER = "where"
"""Filter by which categories are asked for."""

POPULAR, LATEST = "popular", "latest"
_SIMILAR = ("neighbors", "similar", "default")
_READ = 1_000
"""Newest events of a user whose items count as read."""


class RecommendationRoutes:
    """The handlers.

    Args:
        settings: The API's settings.
    """

    def __init__(self, settings: ApiSettings) -> None:
        self._settings = settings
        self._types = FeedbackTypes(settings)

    async def to_user(self, request: Request) -> Response:
        """Answer ``GET /recommend/{user-id}`` and the same of a category."""
        user_id, n = request.path_params["user_id"], count(request)
        caller_of(request).check_user(user_id)
        kind = self._write_back_type(request)
        items = await self._page(request, Wanted(user_id=user_id, n=n, explain=False))
        if kind is not None:
            await self._write_back(request, user_id, kind, items)
        return answer(scores(items) if request.headers.get("X-API-Version") == "2" else ids(items))

    def _write_back_type(self, request: Request) -> str | None:
        kind = request.query_params.get("write-back-type") or None
        if write_back_delay(request) > 0:
            raise NotMappedError(
                "write-back-delay: an event counts as soon as it is stored, so feedback cannot be written "
                "now to count later. Leave the delay out, or send the feedback when it is due"
            )
        if kind is not None:
            self._types.event_type(kind)
            if "write" not in caller_of(request).scopes:
                raise ForbiddenError("write-back-type needs a key with the scope 'write'")
        return kind

    async def _write_back(
        self, request: Request, user_id: str, kind: str, items: Sequence[RecommendedItem]
    ) -> None:
        now, event = now_ms(), self._types.event_type(kind)
        events = [
            Event(
                user_id,
                item.item_id,
                event,
                now,
                event_id=feedback_id(FeedbackKey(kind, user_id, item.item_id)),
                timed=False,
            )
            for item in items
        ]
        count_events(request, events, await FeedbackWriter(backend_of(request)).insert(events))

    async def to_session(self, request: Request) -> Response:
        """Answer ``POST /session/recommend`` and the same of a category."""
        now = now_ms()
        session = await read_list(
            request, self._settings.max_body_bytes, StepBody, lambda body: self._step(body, now)
        )
        wanted = Wanted(session=tuple(session), n=count(request), explain=False)
        return answer(scores(await self._page(request, wanted)))

    def _step(self, body: StepBody, now: int) -> SessionEvent:
        kind, value, timestamp = (
            self._types.event_type(body.feedback_type),
            body.value or None,
            body.milliseconds(),
        )
        self._settings.check_event(kind, value)
        check_not_future(timestamp, now, "")
        return SessionEvent(body.item_id, kind, timestamp, value)

    async def similar(self, request: Request) -> Response:
        """Answer ``GET /item/{item-id}/neighbors`` and ``GET /item-to-item/{name}/{item-id}``."""
        name = request.path_params.get("name", _SIMILAR[0])
        scenario = name if name in self._settings.scenarios else self._settings.similar_scenario
        if name not in (*_SIMILAR, *self._settings.scenarios):
            raise self._unknown(name)
        wanted = Wanted(
            item_id=request.path_params["item_id"], n=count(request), scenario=scenario, explain=False
        )
        return answer(scores(await self._page(request, wanted)))

    async def nobodys(self, request: Request) -> Response:
        """Answer ``GET /popular``, ``/latest`` and ``/non-personalized/{name}``: the same for everybody."""
        name = request.path_params["name"]
        if name in self._settings.scenarios:
            scenario: str | None = name
        elif name == LATEST:
            return await self._latest(request)
        elif name == POPULAR:
            scenario = None
        else:
            raise self._unknown(name)
        read = tuple(await self._read_by(request))
        wanted = Wanted(n=count(request), scenario=scenario, exclude=read, explain=False)
        return answer(scores(await self._page(request, wanted)))

    async def latest(self, request: Request) -> Response:
        """Answer ``GET /latest`` and the same of a category."""
        request.path_params["name"] = LATEST
        return await self.nobodys(request)

    async def popular(self, request: Request) -> Response:
        """Answer ``GET /popular`` and the same of a category."""
        request.path_params["name"] = POPULAR
        return await self.nobodys(request)

    async def _latest(self, request: Request) -> Response:
        n = count(request)
        offset = offset_of(request, n)
        found = await backend_of(request).newest.find(
            TIMESTAMP,
            offset + n,
            within=(self._settings.gorse.categories, categories(request)),
            exclude=await self._read_by(request),
        )
        # Seconds, as Gorse scores the latest items.
        return answer([{"Id": item.item_id, "Score": item.timestamp // 1000} for item in found[offset:]])

    async def _read_by(self, request: Request) -> set[str]:
        """Items that the user of the parameter ``user-id`` has had to do with."""
        user_id = request.query_params.get("user-id")
        if not user_id:
            return set()
        caller_of(request).check_user(user_id)
        history = await backend_of(request).history(user_id, _READ)
        return {entry.event.item_id for entry in history if entry.event.item_id}

    async def collaborative(self, request: Request) -> Response:
        """Answer ``GET /collaborative-filtering/{user-id}``: a scenario of that name, if there is one."""
        name = "collaborative-filtering"
        if name not in self._settings.scenarios:
            raise self._unknown(name)
        user_id = request.path_params["user_id"]
        caller_of(request).check_user(user_id)
        wanted = Wanted(user_id=user_id, n=count(request), scenario=name, explain=False)
        return answer(scores(await self._page(request, wanted)))

    async def similar_users(self, request: Request) -> Response:
        """Answer ``GET /user/{user-id}/neighbors`` and ``GET /user-to-user/...``: not to be had."""
        raise NotMappedError(
            "similar users are not given out: they are found inside of retrievers such as user_knn. Who "
            "would like an item is POST /v1/items/{item_id}/audience"
        )

    async def search(self, request: Request, text: str, n: int) -> list[dict[str, Any]]:
        """Items that fit a text, as ``GET /items?q=`` lists them."""
        scenario = SEARCH_SCENARIO if SEARCH_SCENARIO in self._settings.scenarios else None
        found = await self._page(
            request, Wanted(query=text, n=n, scenario=scenario, explain=False, seen="allow")
        )
        name = self._settings.gorse.categories
        return [item_answer(Item(item.item_id, item.attributes), name) for item in found]

    def _unknown(self, name: str) -> NotMappedError:
        return NotMappedError(
            f"there is no list called {name[:80]!r}: configure a scenario of this name (there are: "
            f"{', '.join(self._settings.scenarios)})"
        )

    async def _page(self, request: Request, wanted: Wanted) -> Sequence[RecommendedItem]:
        """The items that a call asks for, ``offset`` and categories included."""
        backend, offset = backend_of(request), offset_of(request, wanted.n)
        wanted = replace(wanted, filter=self._filter(request, wanted))
        if not offset:
            found = await backend.recommend(wanted)
        else:
            # Gorse's offset is a place in one list, which is asked for as a whole. What stands before it is
            # not shown by this call, and so is not logged as shown.
            def told(whole: Recommendation, asked: Asked) -> None:
                if len(whole.items) > offset:
                    backend.shown(wanted, _from_place(whole, offset), asked)

            whole = await backend.recommend(replace(wanted, n=offset + wanted.n, told=told))
            found = _from_place(whole, offset)
        count_degraded(request, found)
        return found.items

    def _filter(self, request: Request, wanted: Wanted) -> Mapping[str, Any]:
        asked = categories(request)
        if not asked:
            return {}
        name = wanted.scenario or self._settings.default_scenario
        if CATEGORY_FILTER not in self._settings.filters.get(name, ()):
            raise NotMappedError(
                f"scenario {name!r} cannot be asked for a category: add "
                f"`filters: [{{use: {CATEGORY_FILTER}}}]` to it in recserve.yaml"
            )
        attribute = self._settings.gorse.categories
        return {CATEGORY_FILTER: " and ".join(f"{_quoted(value)} in `{attribute}`" for value in asked)}


def _from_place(found: Recommendation, offset: int) -> Recommendation:
    """An answer without its first items."""
    return replace(
        found,
        items=found.items[offset:],
        propensities=found.propensities[offset:],
        teams=found.teams[offset:],
    )


def _quoted(text: str) -> str:
    """A string of the filter's language, whose only escapes are those of quotes and backslashes."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
