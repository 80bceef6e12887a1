"""Calls about items.

Generated from the OpenAPI document by ``python -m tools.clients``; do not edit.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Literal

from recserve_client.answers import Audience, Changed, Deleted, Item, Items, ItemsStored, VectorMap
from recserve_client.core.sending import AsyncSender, Call
from recserve_client.params import ItemParam, ItemPatchParam


class ItemsCalls(AsyncSender):
    """Calls about items."""

    async def list_items(
        self,
        *,
        limit: int | None = None,
        cursor: str | None = None,
        q: str | None = None,
        attribute: Sequence[str] | None = None,
        state: Literal["shown", "hidden", "expired"] | None = None,
    ) -> Items:
        """List items.

        The whole catalogue, part by part: `cursor` of each answer asks for the next part. The order
        is fixed and means nothing. An item is never listed twice, even while others write. With
        `q`, `attribute` or `state` only what matches: a call looks at no more than 20,000 items, so
        it may find few or none and still have a `cursor`.

        Args:
            limit: At most this many. Default: 100.
            cursor: From the answer before: what follows it.
            q: Up to 10 words, all of which occur in the id or in a value of an attribute, also
                inside a longer word: Chinese needs no blanks between them.
            attribute: `NAME:VALUE`; given more than once, all must hold. Of a list, one entry is
                enough.
            state: Only items that may be returned (`shown`), are `hidden`, or have `expired`.
        """
        return await self._send(
            Call(
                "GET",
                "/v1/items",
                Items,
                repeatable=True,
                query={"limit": limit, "cursor": cursor, "q": q, "attribute": attribute, "state": state},
            )
        )

    async def iter_items(
        self,
        *,
        limit: int | None = None,
        q: str | None = None,
        attribute: Sequence[str] | None = None,
        state: Literal["shown", "hidden", "expired"] | None = None,
    ) -> AsyncIterator[Item]:
        """List items, page by page.

        Asks for a page when it is needed; see :meth:`list_items`.
        """
        cursor: str | None = None
        while True:
            page = await self.list_items(limit=limit, q=q, attribute=attribute, state=state, cursor=cursor)
            for entry in page.items:
                yield entry
            if page.cursor is None:
                return
            cursor = page.cursor

    async def upsert_items(self, items: Sequence[ItemParam]) -> ItemsStored:
        """Add or replace items.

        Up to 10,000 items, all or none. They are durable when this answers, and can be found by
        content within seconds, without training.

        Args:
            items: Up to 10,000 items; of equal ids the last one counts.
        """
        return await self._send(
            Call("POST", "/v1/items", ItemsStored, repeatable=True, body={"items": items})
        )

    async def patch_items(self, items: Sequence[ItemPatchParam]) -> Changed:
        """Change items.

        Sets some attributes (null removes one), hides items or lets them expire; what is left out
        stays. A hidden or expired item is not in any answer from now on.

        Args:
            items: Up to 10,000 changes, made in this order.
        """
        return await self._send(Call("PATCH", "/v1/items", Changed, repeatable=True, body={"items": items}))

    async def delete_items(self, item_ids: Sequence[str]) -> Deleted:
        """Delete items.

        Up to 10,000 items, all or none. No answer has them from now on. Deleting again does no
        harm.

        Args:
            item_ids: Up to 10,000 ids.
        """
        return await self._send(
            Call("DELETE", "/v1/items", Deleted, repeatable=True, body={"item_ids": item_ids})
        )

    async def vector_map(self, *, limit: int | None = None, attribute: str | None = None) -> VectorMap:
        """Map of items.

        Up to 2,000 items of the bundle in service on a plane: the two principal components of their
        text vectors. Near one another are items whose texts are alike. Hidden items are left out;
        without a text encoder there are no points.

        Args:
            limit: At most this many items. Default: 2000.
            attribute: Attribute whose value comes with each point.
        """
        return await self._send(
            Call(
                "GET",
                "/v1/vectors/map",
                VectorMap,
                repeatable=True,
                query={"limit": limit, "attribute": attribute},
            )
        )

    async def audience(
        self, item_id: str, *, limit: int | None = None, scenario: str | None = None
    ) -> Audience:
        """Who would like an item.

        The users who want it most, in order, with scores. Considered are up to 2,000 users, those
        of the newest events, who have not had the item; `considered` says how many they were. Works
        for an item that was written a moment ago: it is judged by its text. The scenario's ranker
        must be able to compare users.

        Args:
            item_id: As it is; the client encodes it.
            limit: Users that are returned, at most. Default: 100.
            scenario: A scenario whose ranker can compare users; default: the server's.
        """
        return await self._send(
            Call(
                "POST",
                Call.path("/v1/items/{item_id}/audience", item_id),
                Audience,
                repeatable=True,
                body={"limit": limit, "scenario": scenario},
            )
        )

    async def item(self, item_id: str) -> Item:
        """One item.

        Its id, title, attributes and state.

        Args:
            item_id: As it is; the client encodes it.
        """
        return await self._send(Call("GET", Call.path("/v1/items/{item_id}", item_id), Item, repeatable=True))

    async def delete_item(self, item_id: str) -> Deleted:
        """Delete an item.

        No answer has it from now on. Deleting again does no harm.

        Args:
            item_id: As it is; the client encodes it.
        """
        return await self._send(
            Call("DELETE", Call.path("/v1/items/{item_id}", item_id), Deleted, repeatable=True)
        )
