"""Bundles of a replica: current and previous, swapping, loading on demand, refusing what is damaged."""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
from recserve_deployments.replica.bundle_watcher import BundleHost

from recserve.bundles.bundle import Bundle
from recserve.bundles.manifest import ITEMS, MANIFEST, Manifest
from recserve.bundles.repository import BundleRepository
from recserve.errors import BundleError, NotReadyError


@pytest.fixture
def home(trained_home: Path, tmp_path: Path) -> Path:
    shutil.copytree(trained_home / "bundles", tmp_path / "bundles")
    return tmp_path


def another(home: Path, seed: int) -> str:
    """A bundle that differs from the trained one only by its seed, and so by its id."""
    source = next(path.parent for path in sorted((home / "bundles").glob(f"*/{MANIFEST}")))
    manifest = Manifest.model_validate_json((source / MANIFEST).read_bytes())
    manifest = manifest.model_copy(update={"seed": seed})
    target = home / "bundles" / manifest.bundle_id()
    shutil.copytree(source, target)
    (target / MANIFEST).write_bytes(manifest.canonical())
    return target.name


class Hosted:
    """A host whose store is a list, and which remembers what it loaded."""

    def __init__(self, home: Path, reload_seconds: float = 0.01) -> None:
        self.repository = BundleRepository(home)
        self.wanted = self.repository.ids()[:1]
        self.loaded: list[str] = []
        self.announced: list[tuple[str, str]] = []
        self.beside: set[str] = set()
        self.host: BundleHost[str] = BundleHost(
            self.repository,
            lambda: self.wanted,
            self.load,
            reload_seconds,
            self.announce,
            lambda: self.beside,
        )

    def load(self, bundle: Bundle) -> str:
        self.loaded.append(bundle.id)
        return f"part of {bundle.id}"

    async def announce(self, bundle_id: str) -> None:
        self.announced.append((bundle_id, self.host.current.bundle.id))

    async def current_becomes(self, bundle_id: str) -> None:
        while self.host.current.bundle.id != bundle_id:
            await asyncio.sleep(0.01)

    async def served_are(self, *bundle_ids: str) -> None:
        while self.host.served != set(bundle_ids):
            await asyncio.sleep(0.01)


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(main, 60))


def test_it_follows_the_pointer_and_keeps_the_previous_bundle(home: Path) -> None:
    hosted = Hosted(home)
    first, second, third = hosted.wanted[0], another(home, 101), another(home, 102)

    async def main() -> None:
        host = hosted.host
        await host.start()
        watcher = asyncio.create_task(host.watch())
        assert host.current.part == f"part of {first}"
        hosted.wanted = [second, first]
        await hosted.current_becomes(second)
        # Announced while the old one was still serving.
        assert hosted.announced == [(second, first)]
        assert host.ids == [second, first]
        hosted.wanted = [third, second, first]
        await hosted.current_becomes(third)
        assert host.ids == [third, second]
        # Back to the previous one without loading it again.
        hosted.wanted = [second, third, first]
        await hosted.current_becomes(second)
        assert hosted.loaded == [first, second, third]
        assert not watcher.done()
        watcher.cancel()

    run(main())


def test_a_bundle_that_a_request_is_pinned_to_is_loaded_once_on_demand(home: Path) -> None:
    hosted = Hosted(home, reload_seconds=1000)
    first, second = hosted.wanted[0], another(home, 101)

    async def main() -> None:
        await hosted.host.start()
        parts = await asyncio.gather(*(hosted.host.get(second) for _ in range(5)))
        assert set(parts) == {f"part of {second}"}
        assert hosted.loaded == [first, second]
        assert hosted.host.current.bundle.id == first
        assert await hosted.host.get(first) == f"part of {first}"
        assert hosted.loaded == [first, second]
        with pytest.raises(BundleError, match="20990101-000000000000"):
            await hosted.host.get("20990101-000000000000")

    run(main())


def test_a_caller_that_gives_up_does_not_stop_the_loading(home: Path) -> None:
    hosted = Hosted(home, reload_seconds=1000)
    second = another(home, 101)

    async def main() -> None:
        await hosted.host.start()
        impatient = asyncio.create_task(hosted.host.get(second))
        patient = asyncio.create_task(hosted.host.get(second))
        await asyncio.sleep(0)
        impatient.cancel()
        assert await patient == f"part of {second}"

    run(main())


def test_a_damaged_bundle_is_refused_once_and_the_current_one_stays(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hosted = Hosted(home)
    first, second, third = hosted.wanted[0], another(home, 101), another(home, 102)
    damaged = home / "bundles" / second / ITEMS
    damaged.write_bytes(damaged.read_bytes()[:-1])

    async def main() -> None:
        await hosted.host.start()
        watcher = asyncio.create_task(hosted.host.watch())
        hosted.wanted = [second, first]
        with caplog.at_level(logging.ERROR):
            while not (refusals := [one for one in caplog.records if "refused" in one.message]):
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.2)
        assert refusals == [one for one in caplog.records if "refused" in one.message], "only once"
        assert ITEMS in refusals[0].message
        assert hosted.host.current.bundle.id == first
        hosted.wanted = [third, second, first]
        await hosted.current_becomes(third)
        watcher.cancel()

    run(main())


def test_starting_steps_over_a_damaged_current_bundle(home: Path) -> None:
    hosted = Hosted(home)
    first, second = hosted.wanted[0], another(home, 101)
    (home / "bundles" / second / ITEMS).unlink()
    hosted.wanted = [second, first]

    async def main() -> None:
        await hosted.host.start()
        assert hosted.host.current.bundle.id == first

    run(main())


def test_a_store_that_fails_does_not_end_the_watching(home: Path) -> None:
    hosted = Hosted(home)
    first, second = hosted.wanted[0], another(home, 101)
    broken = True

    def wanted() -> list[str]:
        if broken and hosted.loaded:
            raise OSError("the disk is gone")
        return hosted.wanted

    async def main() -> None:
        nonlocal broken
        host = BundleHost(hosted.repository, wanted, hosted.load, 0.01)
        await host.start()
        watcher = asyncio.create_task(host.watch())
        hosted.wanted = [second, first]
        await asyncio.sleep(0.1)
        assert host.current.bundle.id == first
        broken = False
        while host.current.bundle.id != second:
            await asyncio.sleep(0.01)
        watcher.cancel()

    run(main())


def test_bundles_of_arms_are_held_beside_the_current_one(home: Path) -> None:
    hosted = Hosted(home)
    first, second, third = hosted.wanted[0], another(home, 101), another(home, 102)

    async def main() -> None:
        host = hosted.host
        await host.start()
        watcher = asyncio.create_task(host.watch())
        hosted.beside = {second}
        await hosted.served_are(first, second)
        assert hosted.announced == [(second, first)]
        assert host.part_of(second) == f"part of {second}"
        # A swap leaves it alone, and the current bundle may be asked for, too.
        hosted.wanted = [third, first]
        await hosted.current_becomes(third)
        assert host.ids == [third, first, second]
        hosted.beside = {second, third}
        await hosted.served_are(second, third)
        # The arm's bundle has won.
        hosted.wanted = [second, third, first]
        await hosted.current_becomes(second)
        assert hosted.loaded == [first, second, third]
        hosted.beside = set()
        await hosted.served_are(second)
        assert host.ids == [second, third]
        with pytest.raises(NotReadyError, match=f"bundle {first} is not loaded"):
            host.part_of(first)
        assert not watcher.done()
        watcher.cancel()

    run(main())


def test_a_bundle_beside_that_is_damaged_harms_nothing(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    hosted = Hosted(home)
    first, second = hosted.wanted[0], another(home, 101)
    (home / "bundles" / second / ITEMS).write_bytes(b"")

    async def main() -> None:
        await hosted.host.start()
        watcher = asyncio.create_task(hosted.host.watch())
        hosted.beside = {second}
        while "arms of experiments do without it" not in caplog.text:
            await asyncio.sleep(0.01)
        assert hosted.host.served == {first}
        assert not watcher.done()
        watcher.cancel()

    run(main())
