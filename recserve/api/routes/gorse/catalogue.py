"""Handlers of items."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from recserve.api.routes.gorse.recommendations import RecommendationRoutes
from recserve.api.routes.gorse.wire.answers import answer, categories_of, item_answer, rows_affected
from recserve.api.routes.gorse.wire.bodies import ItemBody, ItemFields, read_list, read_one
from recserve.api.routes.gorse.wire.parameters import MOST_LISTED, count, cursor_of
from recserve.api.routes.recommendations import backend_of
from recserve.api.settings import ApiSettings
from recserve.auth.caller import caller_of
from recserve.data.entities import Item
from recserve.errors import NotFoundError
from recserve.store import ItemPatch

_LIST = "gorse-items"


class ItemRoutes:
    """The handlers.

    Args:
        settings: The API's settings.
        recommendations: Search items.
    """

    def __init__(self, settings: ApiSettings, recommendations: RecommendationRoutes) -> None:
        self._settings = settings
        self._categories = settings.gorse.categories
        self._recommendations = recommendations

    async def insert(self, request: Request) -> Response:
        """Answer ``POST /item``."""
        body = await read_one(request, self._settings.max_bulk_bytes, ItemBody)
        await backend_of(request).upsert_items([body.to_item(self._settings)])
        return rows_affected(1)

    async def insert_many(self, request: Request) -> Response:
        """Answer ``POST /items``."""
        items = await read_list(
            request, self._settings.max_bulk_bytes, ItemBody, lambda body: body.to_item(self._settings)
        )
        if items:
            await backend_of(request).upsert_items(items)
        return rows_affected(len(items))

    async def modify(self, request: Request) -> Response:
        """Answer ``PATCH /item/{item-id}``."""
        body = await read_one(request, self._settings.max_bulk_bytes, ItemFields)
        patch = body.to_patch(request.path_params["item_id"], self._settings)
        return await self._patch(request, patch)

    async def show(self, request: Request) -> Response:
        """Answer ``GET /item/{item-id}``."""
        return answer(item_answer(await _item(request), self._categories))

    async def list_items(self, request: Request) -> Response:
        """Answer ``GET /items``, also for a text."""
        text = request.query_params.get("q")
        if text:
            found = await self._recommendations.search(request, text, count(request))
            return answer({"Cursor": "", "Items": found})
        backend, n = backend_of(request), count(request, most=MOST_LISTED)
        items = await backend.list_items(backend.cursors.after(_LIST, cursor_of(request)), n + 1)
        following = backend.cursors.of_list(_LIST, items[n - 1].item_id) if len(items) > n else ""
        listed = [item_answer(item, self._categories) for item in items[:n]]
        return answer({"Cursor": following, "Items": listed})

    async def delete(self, request: Request) -> Response:
        """Answer ``DELETE /item/{item-id}``."""
        item_id = request.path_params["item_id"]
        return rows_affected(await backend_of(request).delete_items([item_id], caller_of(request).actor))

    async def add_category(self, request: Request) -> Response:
        """Answer ``PUT /item/{item-id}/category/{category}``."""
        item, category = await _item(request), request.path_params["category"]
        held = categories_of(item.attributes, self._categories) or []
        return await self._categorise(request, item, held if category in held else [*held, category])

    async def remove_category(self, request: Request) -> Response:
        """Answer ``DELETE /item/{item-id}/category/{category}``."""
        item, category = await _item(request), request.path_params["category"]
        held = categories_of(item.attributes, self._categories) or []
        return await self._categorise(request, item, [name for name in held if name != category])

    async def _categorise(self, request: Request, item: Item, categories: list[str]) -> Response:
        return await self._patch(request, ItemPatch(item.item_id, {self._categories: categories}))

    async def _patch(self, request: Request, patch: ItemPatch) -> Response:
        unknown = await backend_of(request).patch_items([patch])
        return rows_affected(0 if unknown else 1)


async def _item(request: Request) -> Item:
    item = await backend_of(request).item(request.path_params["item_id"])
    if item is None:
        raise NotFoundError("item not found")
    return item
