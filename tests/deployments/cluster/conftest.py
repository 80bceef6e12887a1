"""The test bed: three hosts without a shared disk, PostgreSQL, object storage, and Redis if installed."""

from __future__ import annotations

import contextlib
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import make_url

from tests.conftest import Domain
from tests.support.bed import GCS, HOME, PORT, REPOSITORY, TestBed, object_store, proxy_program, redis
from tests.support.forwarder import Forwarder
from tests.support.hosts import OUTSIDE, Hosts, why_not

__all__ = ["GCS", "HOME", "PORT", "TestBed"]


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of programs that the hosts see."""
    return tmp_path_factory.mktemp("programs")


@pytest.fixture(scope="module")
def hosts(programs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    """Three hosts."""
    if (reason := why_not()) is not None:
        pytest.skip(f"no hosts can be made here: {reason}")
    visible = [REPOSITORY, Path(sys.prefix), programs]
    with Hosts(3, tmp_path_factory.mktemp("hosts"), visible=visible) as made:
        yield made


@pytest.fixture(scope="module")
def bed(hosts: Hosts, programs: Path, empty_postgres: Callable[[str], str]) -> Iterator[TestBed]:
    """Three hosts with Ray; tests of one module share it."""
    pytest.importorskip("moto.server", reason="object storage needs: pip install 'moto[s3]' flask flask-cors")
    local = make_url(empty_postgres("cluster"))
    socket = Path(str(local.query["host"])) / ".s.PGSQL.5432"
    with contextlib.ExitStack() as stack:
        storage = stack.enter_context(object_store())
        database = stack.enter_context(Forwarder(OUTSIDE, socket))
        state = stack.enter_context(redis(programs)) if shutil.which("redis-server") else None
        url = local.set(host=OUTSIDE, port=database.port, query={}).render_as_string(hide_password=False)
        made = TestBed(hosts, url, storage.bucket, proxy_program(programs), state)
        for number, cpus in ((1, 0), (2, 2), (3, 2)):
            made.start_ray(number, cpus)
        yield made


@pytest.fixture(scope="session")
def files(domain: Domain) -> dict[str, Path]:
    """The example domain's files."""
    return {"events.csv": domain.events, "items.jsonl": domain.items}
