"""What a batch goes by is read only when something changed, or became due."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from recserve import Catalogue, Item
from recserve.serving.state.history_reader import StoreReader
from recserve.serving.state.live_catalogue import CatalogueFollower
from recserve.store import Store, open_store

WAIT_SECONDS = 20.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(None, tmp_path) as opened:
        yield opened


@pytest.fixture
def reader(store: Store) -> StoreReader:
    base = [Item(f"b{n}", {"title": f"Base {n}"}) for n in range(3)]
    store.upsert_items(base)
    catalogue = Catalogue.of(base, np.eye(3, dtype=np.float32))
    live = CatalogueFollower(catalogue, store, store.pulse().catalogue, None)
    return StoreReader(store, live, limit=10, deadline=5.0)


def test_a_second_new_item_is_known_without_anybody_committing_anything_more(
    store: Store, reader: StoreReader
) -> None:
    def knows(item_id: str) -> bool:
        asyncio.run(reader.read([]))
        return reader.live.view.catalogue.ids.row(item_id) >= 0

    knows("b0")
    for name in ("first", "second"):  # the second one comes while the catalogue pauses between rebuilds
        store.upsert_items([Item(name, {"title": name})])
        knows(name)
    deadline = time.monotonic() + WAIT_SECONDS
    while not knows("second"):
        assert time.monotonic() < deadline, "the item is unknown for as long as nothing else happens"
        time.sleep(0.05)
