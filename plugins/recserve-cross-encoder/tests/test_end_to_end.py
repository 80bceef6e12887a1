"""A bundle with a trained cross-encoder, served: pages by its scores, and pages that it is late for."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recserve_cross_encoder.engines import OnnxPairs

from recserve import Dataset, Event, FloatArray
from recserve.bundles.bundle import Bundle
from recserve.bundles.repository import BundleRepository
from recserve.config import parse_config
from recserve.plugin.registry import Registry
from recserve.plugin.resolved import ResolvedConfig
from recserve.serving.local import local_pipeline
from recserve.serving.pipeline import Pipeline
from recserve.serving.requests.request import Recommendation, Request
from recserve.store import Store, open_store
from recserve.training.trainer import Trainer
from tests.support.cross_encoder import TINY_SETTINGS

KEY = "reranker.cross_encoder"
SETTINGS = {**TINY_SETTINGS, "weight": 1.0, "depth": 32}


def resolve(tiny: Path, *, reranked: bool = True, **server: Any) -> ResolvedConfig:
    reranker = {"use": "cross_encoder", "params": {**SETTINGS, "model": str(tiny)}}
    plain = {
        "encoder": None,
        # What is popular says nothing about groups of items, so that only the reranker can.
        "scenarios": {
            "home": {"retrievers": [{"use": "popular"}], "rerankers": [reranker] if reranked else []}
        },
        "train": {"seed": 1, "threads": 1, "device": "cpu"},
        "server": server,
    }
    return Registry.discover().resolve(parse_config(plain))


@pytest.fixture(scope="module")
def store(behaviour: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A store with what users did within their groups."""
    events = [
        Event(behaviour.user_ids.ids[user], behaviour.catalogue.ids.ids[item], "view", int(moment))
        for user, item, moment in zip(behaviour.users, behaviour.items, behaviour.timestamps, strict=True)
    ]
    with open_store(None, tmp_path_factory.mktemp("store")) as store:
        store.upsert_items(behaviour.catalogue.items())
        store.import_events(events)
        yield store


@pytest.fixture(scope="module")
def bundle(tiny: Path, store: Store, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle with a trained reranker."""
    home = tmp_path_factory.mktemp("home")
    trainer = Trainer(home, resolve(tiny), Registry.discover(), BundleRepository(home / "bundles"))
    return trainer.run(store.snapshot(), evaluated=False).bundle


def ask(pipeline: Pipeline) -> list[Recommendation]:
    """Pages of eight users, two of each group."""
    answers = asyncio.run(pipeline.recommend([Request(user_id=f"user-{row}", n=5) for row in range(8)]))
    assert all(isinstance(answer, Recommendation) for answer in answers)
    return [answer for answer in answers if isinstance(answer, Recommendation)]


def ids(pages: list[Recommendation]) -> list[list[str]]:
    return [[item.item_id for item in page.items] for page in pages]


def of_own_group(pages: list[Recommendation]) -> float:
    """Share of the items that are of the user's group; a quarter by chance."""
    hits = [int(item.item_id[1:]) % 4 == user % 4 for user, page in enumerate(pages) for item in page.items]
    assert len(hits) == 40
    return sum(hits) / len(hits)


def test_a_served_bundle_orders_pages_by_what_its_cross_encoder_learnt(
    tiny: Path, bundle: Bundle, store: Store
) -> None:
    entry = bundle.manifest.components[KEY]
    assert entry.facts["weight"] == 1
    assert entry.facts["loss"][1] < entry.facts["loss"][0]
    pages = ask(local_pipeline(resolve(tiny), bundle, store))
    assert [page.degraded for page in pages] == [()] * 8
    without = ask(local_pipeline(resolve(tiny, reranked=False), bundle, store))
    assert of_own_group(pages) > of_own_group(without) + 0.25


def test_a_late_one_leaves_the_order_and_its_scores_serve_the_next_page(
    tiny: Path, bundle: Bundle, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    released, computed, scores = threading.Event(), threading.Event(), OnnxPairs.scores

    def slow(self: OnnxPairs, feed: Mapping[str, np.ndarray]) -> FloatArray:
        released.wait(20)
        found = scores(self, feed)
        computed.set()
        return found

    in_time = ask(local_pipeline(resolve(tiny), bundle, store))
    without = ask(local_pipeline(resolve(tiny, reranked=False), bundle, store))
    pipeline = local_pipeline(resolve(tiny, reranking_deadline_ms=200), bundle, store)
    monkeypatch.setattr(OnnxPairs, "scores", slow)
    late = ask(pipeline)
    assert {(page.degraded, page.causes) for page in late} == {(("reranker:cross_encoder",), ("late",))}
    assert ids(late) == ids(without) != ids(in_time)
    released.set()
    end = time.monotonic() + 20
    while (again := ask(pipeline))[0].degraded and time.monotonic() < end:
        time.sleep(0.1)
    assert computed.is_set()
    assert ids(again) == ids(in_time)
