"""Keeps the current and the previous bundle of a replica, and swaps when a new one is made current.

A request is pinned to the bundle that the ingress chose for it. During a rollout replicas swap at slightly
different moments, which is why each keeps the previous bundle too, and loads one that it is asked for
before it noticed it itself.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from recserve.bundles.bundle import Bundle
from recserve.bundles.repository import BundleRepository, open_newest
from recserve.errors import NotReadyError, RecserveError
from recserve_deployments.replica.warmup import settle

logger = logging.getLogger(__name__)

P = TypeVar("P")

# A bundle that could not be loaded is looked at again this much later: its files may have been restored.
_RETRY_SECONDS = 60.0


@dataclass(frozen=True)
class Held(Generic[P]):
    """A loaded bundle.

    Attributes:
        bundle: The bundle.
        part: What the replica made of it.
    """

    bundle: Bundle
    part: P


class BundleHost(Generic[P]):
    """The bundles of one replica. Its coroutines run on one event loop; loading happens in threads.

    Args:
        repository: Where bundles live.
        wanted: Ids that are or were current, the current one first (reads the store; may block).
        load: Makes the replica's part of a bundle, warmed up (blocks).
        reload_seconds: How often to look for a new current bundle.
        announce: Awaited with a new bundle's id after it is loaded and before it is swapped in.
        beside: Ids that are served beside the current one, by arms of experiments (reads the store; may
            block).
    """

    def __init__(
        self,
        repository: BundleRepository,
        wanted: Callable[[], Sequence[str]],
        load: Callable[[Bundle], P],
        reload_seconds: float,
        announce: Callable[[str], Awaitable[None]] | None = None,
        beside: Callable[[], Collection[str]] = tuple,
    ) -> None:
        self._repository = repository
        self._wanted = wanted
        self._load = load
        self._reload_seconds = reload_seconds
        self._announce = announce
        self._wanted_beside = beside
        self._beside: dict[str, Held[P]] = {}
        self._unwanted: set[str] = set()
        self._current: Held[P] | None = None
        self._previous: Held[P] | None = None
        self._loading: dict[str, asyncio.Task[Held[P]]] = {}
        self._refused: dict[str, float] = {}
        self.serving_since = time.monotonic()
        """When the current bundle was swapped in, by the monotonic clock."""

    @property
    def current(self) -> Held[P]:
        """The bundle in service.

        Raises:
            NotReadyError: None is loaded yet.
        """
        if self._current is None:
            raise NotReadyError("no bundle is loaded yet")
        return self._current

    @property
    def ids(self) -> list[str]:
        """Loaded bundles, the current one first."""
        return [held.bundle.id for held in self._held]

    @property
    def served(self) -> frozenset[str]:
        """Bundles that a request may be pinned to at once: the current one, and those beside it."""
        current = [] if self._current is None else [self._current.bundle.id]
        return frozenset([*current, *self._beside])

    @property
    def _held(self) -> list[Held[P]]:
        """All that is loaded, each bundle once, the current one first."""
        held = [one for one in (self._current, self._previous, *self._beside.values()) if one is not None]
        return list({one.bundle.id: one for one in held}.values())

    def part_of(self, bundle_id: str) -> P:
        """The part of a bundle that is loaded.

        Raises:
            NotReadyError: It is not, or no longer.
        """
        for held in self._held:
            if held.bundle.id == bundle_id:
                return held.part
        raise NotReadyError(f"bundle {bundle_id} is not loaded")

    async def start(self) -> None:
        """Load the current bundle, or the newest earlier one that is intact.

        Raises:
            BundleError: There is none.
        """

        def load() -> Held[P]:
            bundle = open_newest(self._repository, self._wanted())
            return Held(bundle, self._load(bundle))

        self._current = await asyncio.to_thread(load)
        self.serving_since = time.monotonic()
        await asyncio.to_thread(settle)
        logger.info("serving bundle %s", self._current.bundle.id)

    async def get(self, bundle_id: str) -> P:
        """The part of the bundle that a request is pinned to, loaded now if need be.

        Raises:
            BundleError: It is missing or damaged.
        """
        for held in self._held:
            if held.bundle.id == bundle_id:
                return held.part
        held = await self._fetch(bundle_id)
        if self._current is not None and self._current.bundle.id != bundle_id:
            self._previous = held
        return held.part

    async def watch(self) -> None:
        """Follow the store's current bundle for ever."""
        while True:
            await asyncio.sleep(self._reload_seconds)
            try:
                await self._follow()
                await self._follow_beside()
            except RecserveError as error:
                logger.warning("cannot look for a new bundle: %s", error)
            except Exception:
                logger.exception("looking for a new bundle failed")

    async def _follow(self) -> None:
        ids = await asyncio.to_thread(self._wanted)
        if not ids or ids[0] == self.current.bundle.id:
            return
        wanted = ids[0]
        if self._refused.get(wanted, 0.0) > time.monotonic():
            return
        try:
            held = await self._fetch(wanted)
        except RecserveError as error:
            self._refused[wanted] = time.monotonic() + _RETRY_SECONDS
            logger.error("bundle refused, %s goes on serving: %s", self.current.bundle.id, error)
            return
        if self._announce is not None:
            await self._announce(wanted)
        if wanted != self.current.bundle.id:
            self._previous, self._current = self._current, held
            self.serving_since = time.monotonic()
            await asyncio.to_thread(settle)  # of the bundle before the previous one nothing is left
        logger.info("now serving bundle %s", wanted)

    async def _follow_beside(self) -> None:
        """Load what arms of experiments ask for, and let go of what none asks for any more."""
        wanted = set(await asyncio.to_thread(self._wanted_beside))
        gone = set(self._beside) - wanted
        # Requests under way may be pinned to it, so it stays for one look more.
        for bundle_id in gone & self._unwanted:
            del self._beside[bundle_id]
            logger.info("no longer serving bundle %s beside the current one", bundle_id)
            await asyncio.to_thread(settle)
        self._unwanted = gone
        for bundle_id in sorted(wanted - set(self._beside)):
            if self._refused.get(bundle_id, 0.0) > time.monotonic():
                continue
            try:
                held = await self._fetch(bundle_id)
            except RecserveError as error:
                self._refused[bundle_id] = time.monotonic() + _RETRY_SECONDS
                logger.error("bundle refused, arms of experiments do without it: %s", error)
                continue
            if self._announce is not None:
                await self._announce(bundle_id)
            self._beside[bundle_id] = held
            await asyncio.to_thread(settle)
            logger.info("serving bundle %s beside the current one", bundle_id)

    async def _fetch(self, bundle_id: str) -> Held[P]:
        """Load a bundle; callers that want the same one at the same time share the work."""
        for held in self._held:
            if held.bundle.id == bundle_id:
                return held

        def load() -> Held[P]:
            bundle = self._repository.open(bundle_id)
            return Held(bundle, self._load(bundle))

        task = self._loading.get(bundle_id)
        if task is None:
            task = asyncio.get_running_loop().create_task(asyncio.to_thread(load))
            self._loading[bundle_id] = task
            task.add_done_callback(lambda _: self._loading.pop(bundle_id, None))
        # A caller that gives up must not stop the loading that others wait for.
        return await asyncio.shield(task)
