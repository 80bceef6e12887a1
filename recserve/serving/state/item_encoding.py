"""Encoding of items that came or changed after the bundle was trained, so that they are found at once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Protocol

from recserve.bundles.embedding_cache import checked_item_vectors
from recserve.data.arrays import FloatArray
from recserve.data.entities import Item
from recserve.errors import DataError, RecserveError
from recserve.plugin.protocols import ItemEncoder
from recserve.serving.guard.calls import PluginCall, PluginCalls
from recserve.serving.scenario import ScenarioContext
from recserve.serving.stage_client import StageClient
from recserve.serving.state.live_catalogue import CatalogueFollower
from recserve.serving.state.serving_state import ServingStates
from recserve.store import ItemState, ItemVectors

logger = logging.getLogger(__name__)

ENCODED_AT_ONCE = 64
"""Items whose vectors are waited for before they are stored; more are encoded in the background."""


class VectorStore(Protocol):
    """The part of a store that keeps vectors of items."""

    def unencoded_items(self, fingerprint: str, since: int, limit: int) -> Sequence[ItemState]:
        """See :meth:`recserve.store.Store.unencoded_items`."""
        ...

    def set_vectors(self, vectors: ItemVectors, changed: Mapping[str, int]) -> int:
        """See :meth:`recserve.store.Store.set_vectors`."""
        ...


class NewItemEncoder:
    """Encoder of new items with a bundle's text encoder, and with its item encoders.

    Args:
        states: Hold the bundle's scenario context.
        live: Follows the catalogue.
        store: Where vectors go.
        client: Reaches the text encoder.
        calls: How item texts are rendered.
    """

    def __init__(
        self,
        states: ServingStates,
        live: CatalogueFollower,
        store: VectorStore,
        client: StageClient,
        calls: PluginCalls,
    ) -> None:
        self._states = states
        self._live = live
        self._store = store
        self._client = client
        self._calls = calls

    async def vectors(self, items: Sequence[Item]) -> ItemVectors | None:
        """Vectors of items that are about to be stored.

        Returns:
            Vectors of the first :data:`ENCODED_AT_ONCE` items that are not hidden; None without an
            encoder, or when it is lost. :meth:`encode_pending` makes up for what is missing.
        """
        context = self._states.latest.context
        chosen = [item for item in items if not item.hidden][:ENCODED_AT_ONCE]
        if context.fingerprint is None or not chosen:
            return None
        try:
            vectors = await self._encode(context, chosen)
        except RecserveError as error:
            logger.warning("new items are encoded later: %s", error)
            return None
        by_id = {item.item_id: vector for item, vector in zip(chosen, vectors, strict=True)}
        return ItemVectors(context.fingerprint, by_id)

    async def computed(self, items: Sequence[Item]) -> dict[str, ItemVectors]:
        """Vectors of named spaces that item encoders make of items that are about to be stored, by space.

        Of the first :data:`ENCODED_AT_ONCE` items that are not hidden and bring no vector of the space. What
        is missing, also because an encoder fails, comes with the next training.
        """
        context = self._states.latest.context
        found: dict[str, ItemVectors] = {}
        for name, encoder in context.item_encoders.items():
            chosen = [item for item in items if not item.hidden and name not in item.vectors]
            if not chosen:
                continue
            try:
                by_id = await self._calls.run(
                    PluginCall.ITEM_ENCODER, name, _encoded, encoder, chosen[:ENCODED_AT_ONCE]
                )
            except RecserveError as error:
                logger.warning("new items get their vectors in the space %s with a training: %s", name, error)
                continue
            if by_id:
                found[name] = ItemVectors(encoder.fingerprint, by_id)
        return found

    async def encode_pending(self, limit: int = ENCODED_AT_ONCE) -> int:
        """Encode items of the store that have no vector yet, oldest change first.

        Returns:
            The number of vectors stored.

        Raises:
            RecserveError: The store or the encoder is lost.
        """
        context = self._states.latest.context
        if context.fingerprint is None:
            return 0
        pending = await asyncio.to_thread(
            self._store.unencoded_items, context.fingerprint, self._live.since, limit
        )
        if not pending:
            return 0
        vectors = await self._encode(context, [state.item for state in pending])
        by_id = {state.item.item_id: vector for state, vector in zip(pending, vectors, strict=True)}
        changed = {state.item.item_id: state.changed for state in pending}
        return await asyncio.to_thread(
            self._store.set_vectors, ItemVectors(context.fingerprint, by_id), changed
        )

    async def _encode(self, context: ScenarioContext, items: Sequence[Item]) -> FloatArray:
        def texts() -> list[str]:
            return [context.item_text.text(item) for item in items]

        return await self._client.encode(
            context.bundle, await self._calls.run(PluginCall.ITEM_TEXT, context.bundle, texts)
        )


def _encoded(encoder: ItemEncoder, items: Sequence[Item]) -> dict[str, FloatArray]:
    """Vectors of the items that have something to encode, by id."""
    ids: list[str] = []
    contents: list[bytes] = []
    for item in items:
        try:
            content = encoder.content(item)
        except DataError as error:
            logger.warning("item %r has no vector: %s", item.item_id[:80], error)
            continue
        if content is not None:
            ids.append(item.item_id)
            contents.append(content)
    if not contents:
        return {}
    vectors = checked_item_vectors(encoder.encode(contents), len(contents), encoder.dimension)
    return {item_id: vector for item_id, vector in zip(ids, vectors, strict=True) if vector.any()}
