"""The part of a backend that only needs a store and a pipeline, the same whoever hosts it."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from recserve.api.backends.answering import AnsweringBackend
from recserve.api.backends.protocol import HistoryEntry
from recserve.data.entities import Event, Item, User, now_ms
from recserve.errors import NotFoundError, StoreError
from recserve.serving.pipeline import Pipeline
from recserve.serving.requests.audience import CONSIDERED_USERS, READ_EVENTS, Audience
from recserve.serving.state.live_catalogue import CatalogueView
from recserve.store import (
    AddedEvents,
    AuditEntry,
    DeletionReceipt,
    Having,
    ItemPage,
    ItemPatch,
    ItemSearch,
    ItemState,
    ListedUser,
    Moment,
    UserPatch,
    UserPlace,
    browse_users,
    find_user,
    key_of,
)

logger = logging.getLogger(__name__)

_AUDITED_IDS = 100
_EVENT_FIELDS = (
    "user_id", "item_id", "event", "timestamp", "value", "event_id", "recommendation_id", "text", "context"
)  # fmt: skip


class StoredBackend(AnsweringBackend):
    """Events, items and users of a store, and what a pipeline must hear of them."""

    async def audience(self, item_id: str, scenario: str | None, limit: int) -> Audience:
        """See :meth:`recserve.api.Backend.audience`."""
        pipeline = self._served()
        histories = await self.read_store(self._recent_histories, item_id, pipeline)
        return await pipeline.audiences.find(item_id, histories, scenario, limit)

    def _recent_histories(self, item_id: str, pipeline: Pipeline) -> dict[str, list[Event]]:
        """Histories of those who did something last; the pipeline then knows the item.

        Raises:
            NotFoundError: There is no such item.
        """
        if self._item(item_id, pipeline) is None:
            raise NotFoundError(f"unknown item {item_id[:80]!r}", field="item_id")
        pipeline.live.at_least(self._store.pulse().catalogue)
        return self._store.histories(self._store.recent_users(CONSIDERED_USERS), READ_EVENTS)

    async def add_events(self, events: Sequence[Event]) -> int:
        """See :meth:`recserve.api.Backend.add_events`."""
        events = _with_names(events)
        stored = await self.write_store(self._store.add_events, events)
        self._added(events, stored)
        return stored

    async def import_events(self, events: Sequence[Event]) -> AddedEvents:
        """See :meth:`recserve.api.Backend.import_events`."""
        events = _with_names(events)
        added = await self.write_store(self._store.import_events, events)
        self._added(events, added.stored)
        return added

    def _added(self, events: Sequence[Event], stored: int) -> None:
        """Tell those who go by new events; ``stored`` of these are new."""
        pipeline = self._pipeline()
        if pipeline is not None:
            pipeline.texts.encode_later(events)
            types = pipeline.context.event_types
            self.arms.events_added(events, lambda name: name in types and types[name].weight < 0)
        # Of a repeated batch nobody knows which events are new: an outcome counts once or not at all.
        if pipeline is not None and stored == len(events):
            try:
                pipeline.trials.clicked([event for event in events if event.recommendation_id is not None])
            except StoreError as error:  # the events are durable; exploration learns a little less
                logger.warning("outcomes were not counted: %s", error)

    async def events_with(self, user_id: str, item_ids: Sequence[str]) -> Sequence[Event]:
        """See :meth:`recserve.api.Backend.events_with`."""
        return await self.read_store(self._store.events_with, user_id, item_ids)

    async def events_after(self, number: int, limit: int) -> tuple[Sequence[Event], int]:
        """See :meth:`recserve.api.Backend.events_after`."""
        table, reached = await self.read_store(self._store.events_after, number, limit)
        fields = [table[name].to_pylist() for name in _EVENT_FIELDS]
        named = (dict(zip(_EVENT_FIELDS, row, strict=True)) for row in zip(*fields, strict=True))
        return [Event(**event) for event in named], reached

    async def remove_event(self, event_id: str) -> int:
        """See :meth:`recserve.api.Backend.remove_event`."""
        return await self.write_store(self._store.remove_event, event_id)

    async def remove_events(self, user_id: str, item_id: str) -> int:
        """See :meth:`recserve.api.Backend.remove_events`."""
        return await self.write_store(self._store.remove_events, user_id, item_id)

    async def item(self, item_id: str) -> Item | None:
        """The store's version of an item, the bundle's where the store does not know it or is down."""
        pipeline = self._pipeline()
        try:
            return await self.read_store(self._item, item_id, pipeline)
        except StoreError:
            known = None if pipeline is None else _item_of(pipeline.live.view, item_id)
            if known is None:
                raise
            return known

    def _item(self, item_id: str, pipeline: Pipeline | None) -> Item | None:
        stored = self._store.items([item_id]).get(item_id)
        if stored is not None or pipeline is None or pipeline.context.catalogue.ids.row(item_id) < 0:
            return stored
        # Deleted, or only the bundle, which was trained elsewhere, ever knew it.
        return _item_of(pipeline.live.at_least(self._store.pulse().catalogue), item_id)

    async def list_items(self, after: str | None, limit: int) -> Sequence[Item]:
        """See :meth:`recserve.api.Backend.list_items`."""
        return await self.read_store(self._store.list_items, after, limit)

    async def search_items(self, search: ItemSearch, after: str | None, limit: int) -> ItemPage:
        """See :meth:`recserve.api.Backend.search_items`."""
        return await self.read_store(self._store.search_items, search, after, limit)

    async def upsert_items(self, items: Sequence[Item]) -> tuple[int, int]:
        """See :meth:`recserve.api.Backend.upsert_items`."""
        items = list({item.item_id: item for item in items}.values())
        pipeline = self._pipeline()
        vectors = None if pipeline is None else await pipeline.items.vectors(items)
        computed = {} if pipeline is None else await pipeline.items.computed(items)
        accepted = await self.write_store(self._store.upsert_items, items, vectors, computed)
        return accepted, 0 if vectors is None else len(vectors.by_id)

    async def patch_items(self, patches: Sequence[ItemPatch]) -> Sequence[str]:
        """See :meth:`recserve.api.Backend.patch_items`."""
        unknown, changed = await self.write_store(self._patch, patches)
        pipeline = self._pipeline()
        if pipeline is not None and changed:
            try:
                await self._encode(pipeline, changed)
            except StoreError as error:  # the changes are durable; what is left is made up for later
                logger.warning("vectors of %d changed items were not stored: %s", len(changed), error)
        return unknown

    def _patch(self, patches: Sequence[ItemPatch]) -> tuple[list[str], list[ItemState]]:
        """Unknown ids, and the items that have no vector any more."""
        # Hidden items are not encoded; one that is shown again may have no vector.
        touched = {patch.item_id for patch in patches if patch.attributes or patch.hidden is False}
        before = self._store.pulse().catalogue if touched else 0
        unknown = self._store.patch_items(patches)
        if not touched:
            return unknown, []
        try:
            changes = self._store.item_changes(before)
        except StoreError as error:
            logger.warning("changed items are encoded later: %s", error)
            return unknown, []
        return unknown, [
            state
            for state in changes
            if state.item.item_id in touched and state.vector is None and not state.deleted
        ]

    async def _encode(self, pipeline: Pipeline, changed: Sequence[ItemState]) -> None:
        vectors = await pipeline.items.vectors([state.item for state in changed])
        if vectors is not None:
            versions = {state.item.item_id: state.changed for state in changed}
            await self.write_store(self._store.set_vectors, vectors, versions)

    async def delete_items(self, item_ids: Sequence[str], actor: str) -> int:
        """See :meth:`recserve.api.Backend.delete_items`."""
        deleted = await self.write_store(self._store.delete_items, item_ids)
        if deleted:
            target = item_ids[0] if len(item_ids) == 1 else f"{len(item_ids)} items"
            await self._audit(
                actor, "item.delete", target, {"deleted": deleted, "item_ids": list(item_ids[:_AUDITED_IDS])}
            )
        return deleted

    async def history(self, user_id: str, limit: int, before: Moment | None = None) -> Sequence[HistoryEntry]:
        """See :meth:`recserve.api.Backend.history`."""
        return await self.read_store(self._history, user_id, limit, before, self._pipeline())

    def _history(
        self, user_id: str, limit: int, before: Moment | None, pipeline: Pipeline | None
    ) -> list[HistoryEntry]:
        found = self._store.history(user_id, limit, before)
        ids = list({event.item_id for _, event in found if event.item_id})
        items: dict[str, Item | None] = {**self._store.items(ids)}
        unknown = [item_id for item_id in ids if item_id not in items]
        if unknown and pipeline is not None:
            # Deleted, or only the bundle, which was trained elsewhere, ever knew them.
            view = pipeline.live.at_least(self._store.pulse().catalogue)
            items.update((item_id, _item_of(view, item_id)) for item_id in unknown)
        titles = {item_id: item.title for item_id, item in items.items() if item is not None}
        return [
            HistoryEntry(place, event, titles.get(event.item_id, event.item_id) or None)
            for place, event in found
        ]

    async def user(self, user_id: str) -> User | None:
        """See :meth:`recserve.api.Backend.user`."""
        return (await self.read_store(self._store.users, [user_id])).get(user_id)

    async def browse_users(
        self, having: Having, place: UserPlace | None, limit: int
    ) -> tuple[Sequence[ListedUser], UserPlace | None]:
        """See :meth:`recserve.api.Backend.browse_users`."""
        return await self.read_store(browse_users, self._store, having, place, limit)

    async def find_user(self, user_id: str) -> ListedUser | None:
        """See :meth:`recserve.api.Backend.find_user`."""
        return await self.read_store(find_user, self._store, user_id)

    async def upsert_users(self, users: Sequence[User]) -> int:
        """See :meth:`recserve.api.Backend.upsert_users`."""
        return await self.write_store(self._store.upsert_users, users)

    async def patch_users(self, patches: Sequence[UserPatch]) -> Sequence[str]:
        """See :meth:`recserve.api.Backend.patch_users`."""
        return await self.write_store(self._store.patch_users, patches)

    async def merge_user(self, source: str, target: str, actor: str) -> int:
        """See :meth:`recserve.api.Backend.merge_user`."""
        moved = await self.write_store(self._store.merge_user, source, target)
        self._forget(source)
        # Digests: the log must not be what keeps somebody's id, but who knows both ids must find the entry.
        detail = {"from": key_of(source).hex(), "moved": moved}
        await self._audit(actor, "user.merge", key_of(target).hex(), detail)
        return moved

    async def delete_user(self, user_id: str, actor: str) -> DeletionReceipt:
        """See :meth:`recserve.api.Backend.delete_user`."""
        receipt = await self.write_store(self._store.delete_user, user_id)
        self._forget(user_id)
        counts = {name: getattr(receipt, name) for name in ("events", "exposures", "profiles", "impressions")}
        # The log must not be what keeps the person's id.
        await self._audit(actor, "user.delete", receipt.receipt_id, counts)
        return receipt

    def _forget(self, user_id: str) -> None:
        """Drop what this process remembers; other replicas follow the store."""
        pipeline = self._pipeline()
        if pipeline is not None:
            pipeline.forget(key_of(user_id))

    async def _audit(self, actor: str, action: str, target: str, detail: dict[str, Any]) -> None:
        logger.info("%s of %s by %s: %s", action, target, actor, detail)
        entry = AuditEntry(now_ms(), actor, action, target, detail)
        try:
            await self.write_store(self._store.add_audit, entry)
        except StoreError as error:  # what was done is done, and its caller must hear so
            logger.error("%s of %s by %s is missing in the audit log: %s", action, target, actor, error)


def _item_of(view: CatalogueView, item_id: str) -> Item | None:
    row = view.catalogue.ids.row(item_id)
    return None if row < 0 or view.bars.barred[row] else view.catalogue.item(row)


def _with_names(events: Sequence[Event]) -> list[Event]:
    """Events of which those with a text have an id, by which its vector is stored."""
    return [
        event if event.text is None or event.event_id else replace(event, event_id=secrets.token_hex(16))
        for event in events
    ]
