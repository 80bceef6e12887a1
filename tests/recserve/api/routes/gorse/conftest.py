"""A server that speaks Gorse's API, behind a real socket."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from recserve.api import create_app
from recserve.config import GorseConfig
from recserve.store import Store
from tests.recserve.api.conftest import SETTINGS, Served, build, listening

SPEAKS_GORSE = replace(
    SETTINGS, gorse=GorseConfig(enabled=True, categories="genres"), filters={"home": ("since", "where")}
)


@dataclass
class GorseServer:
    """A server behind a real socket.

    Attributes:
        url: What Gorse's clients call the entry point.
        served: The parts behind it.
        http: A plain client of Gorse's paths, for what Gorse's own client has no method for.
    """

    url: str
    served: Served
    http: httpx.Client

    @property
    def store(self) -> Store:
        return self.served.store


@contextmanager
def serving(folder: Path, app: FastAPI | None = None) -> Iterator[GorseServer]:
    """Serve from a fresh store."""
    made = build(folder, where=True, app=app or create_app(settings=SPEAKS_GORSE))
    with made.store, listening(made.app) as url, httpx.Client(base_url=f"{url}/api", verify=False) as http:
        yield GorseServer(url, made, http)


@pytest.fixture(scope="module")
def application() -> FastAPI:
    """One application for many servers, one after the other."""
    return create_app(settings=SPEAKS_GORSE)


@pytest.fixture
def gorse_server(tmp_path: Path, application: FastAPI) -> Iterator[GorseServer]:
    """A fresh server for each test."""
    with serving(tmp_path, application) as server:
        yield server


@pytest.fixture(scope="module")
def unchanged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GorseServer]:
    """One server for tests that leave it as it is."""
    with serving(tmp_path_factory.mktemp("gorse")) as server:
        yield server
