"""Handlers of items."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Query
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from recserve.api.backends.desks.vector_map import MOST_POINTS
from recserve.api.middleware.body import read, validate
from recserve.api.middleware.parts import AUDIENCE, ends_in
from recserve.api.routes.recommendations import ItemId, Limit, ListCursor, backend_of
from recserve.api.schemas import browsing
from recserve.api.schemas import responses as answers
from recserve.api.schemas.recommend_request import AudienceBody
from recserve.api.schemas.write_request import ItemIdsBody, ItemPatchesBody, ItemsBody
from recserve.api.settings import ApiSettings
from recserve.auth.caller import caller_of
from recserve.data.entities import Item
from recserve.errors import NotFoundError
from recserve.store import ItemPatch

_LIST = "items"
_NONE: list[str] = []

MapPoints = Annotated[int, Query(ge=1, le=MOST_POINTS, description="At most this many items.")]


class ItemRoutes:
    """The handlers.

    Args:
        settings: The API's settings.
    """

    def __init__(self, settings: ApiSettings) -> None:
        self._settings = settings

    async def upsert_items(self, request: Request) -> Response:
        """Answer `POST /v1/items`."""

        def parse(data: Any) -> list[Item]:
            return validate(ItemsBody, data).to_items(self._settings)

        items = await read(request, self._settings.max_bulk_bytes, parse)
        accepted, encoded = await backend_of(request).upsert_items(items)
        return answers.json_response({"accepted": accepted, "encoded": encoded})

    async def patch_items(self, request: Request) -> Response:
        """Answer `PATCH /v1/items`."""

        def parse(data: Any) -> list[ItemPatch]:
            return validate(ItemPatchesBody, data).to_patches(self._settings)

        patches = await read(request, self._settings.max_bulk_bytes, parse)
        unknown = await backend_of(request).patch_items(patches)
        return answers.json_response(answers.changed_answer({one.item_id for one in patches}, unknown))

    async def delete_items(self, request: Request) -> Response:
        """Answer `DELETE /v1/items`."""

        def parse(data: Any) -> list[str]:
            return list(dict.fromkeys(validate(ItemIdsBody, data).item_ids))

        item_ids = await read(request, self._settings.max_bulk_bytes, parse)
        deleted = await backend_of(request).delete_items(item_ids, caller_of(request).actor)
        return answers.json_response({"deleted": deleted})

    async def delete_item(self, request: Request, item_id: ItemId) -> Response:
        """Answer `DELETE /v1/items/{item_id}`."""
        deleted = await backend_of(request).delete_items([item_id], caller_of(request).actor)
        return answers.json_response({"deleted": deleted})

    async def audience(self, request: Request, item_id: ItemId) -> Response:
        """Answer `POST /v1/items/{item_id}/audience`."""

        def parse(data: Any) -> AudienceBody:
            return validate(AudienceBody, data)

        if not ends_in(request, AUDIENCE):  # an item called so, which cannot be posted to
            raise HTTPException(HTTPStatus.METHOD_NOT_ALLOWED, headers={"Allow": "DELETE, GET"})
        asked = await read(request, self._settings.max_body_bytes, parse)
        found = await backend_of(request).audience(item_id, asked.scenario, asked.limit)
        return answers.json_response(found)

    async def list_items(
        self,
        request: Request,
        limit: Limit = 100,
        cursor: ListCursor = None,
        q: browsing.Words = None,
        attribute: browsing.Attributes = _NONE,
        state: browsing.State = None,
    ) -> Response:
        """Answer `GET /v1/items`."""
        backend = backend_of(request)
        search = browsing.search_of(q, attribute, state)
        if search is None:
            found = await backend.list_items(backend.cursors.after(_LIST, cursor), limit + 1)
            # One more than asked for tells whether there is another page.
            last, listed = found[limit - 1].item_id if len(found) > limit else None, found[:limit]
            name, examined = _LIST, len(listed)
        else:
            name = browsing.search_name(search)
            page = await backend.search_items(search, backend.cursors.after(name, cursor), limit)
            last, listed, examined = page.last, page.items, page.examined
        following = None if last is None else backend.cursors.of_list(name, last)
        items = [answers.item_answer(item) for item in listed]
        return answers.json_response({"items": items, "cursor": following, "examined": examined})

    async def vector_map(
        self, request: Request, limit: MapPoints = MOST_POINTS, attribute: browsing.MapAttribute = None
    ) -> Response:
        """Answer `GET /v1/vectors/map`."""
        return answers.json_response(await backend_of(request).vectors.draw(limit, attribute))

    async def item(self, request: Request, item_id: ItemId) -> Response:
        """Answer `GET /v1/items/{item_id}`."""
        item = await backend_of(request).item(item_id)
        if item is None:
            raise NotFoundError(f"unknown item {item_id[:80]!r}", field="item_id")
        return answers.json_response(answers.item_answer(item))
