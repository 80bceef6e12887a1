"""A store on each engine, and a day on which things were shown."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from recserve.store import Store, open_store


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """An empty store on each engine in turn."""
    url = None
    if request.param == "postgres":
        url = str(request.getfixturevalue("empty_postgres")("outcomes"))
    with open_store(url, tmp_path) as opened:
        yield opened


@pytest.fixture
def sqlite_store(tmp_path: Path) -> Iterator[Store]:
    """An empty store on SQLite, for what does not depend on the engine."""
    with open_store(None, tmp_path) as opened:
        yield opened
