"""What the stage replicas have in common."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Collection
from typing import Any, Generic, TypeVar

from recserve.bundles.bundle import Bundle
from recserve.serving.local import guarded
from recserve_deployments.bundle_watcher import BundleHost
from recserve_deployments.replica_spec import Opened, ReplicaSpec

P = TypeVar("P")
T = TypeVar("T")


class StageReplica(Generic[P]):
    """A replica that turns each bundle into one part of the graph. Subclasses are the deployments.

    Subclasses implement :meth:`load` and start with ``await self.start(spec)``.
    """

    opened: Opened
    bundles: BundleHost[P]

    async def start(self, spec: ReplicaSpec) -> None:
        """Load plugins and the current bundle, then follow the store's pointer.

        Raises:
            RecserveError: A plugin or every bundle is broken.
        """
        self.opened = await asyncio.to_thread(spec.open)
        self.bundles = BundleHost(
            self.opened.repository,
            self.opened.store.bundle_history,
            self.load,
            self.opened.config.server.reload_seconds,
        )
        await self.bundles.start()
        self._watcher = asyncio.get_running_loop().create_task(self.bundles.watch())

    def load(self, bundle: Bundle) -> P:
        """Make the part and warm it up; blocks."""
        raise TypeError(f"{type(self).__name__} does not say what to load")

    async def call(self, method: Callable[..., T], *arguments: Any) -> T:
        """Run blocking work in a thread; the replica's event loop is Serve's too."""
        return await asyncio.to_thread(guarded, method, *arguments)

    async def prepare(self, bundle_id: str) -> bool:
        """Have a bundle loaded before requests are pinned to it.

        Raises:
            BundleError: It is missing or damaged.
        """
        await self.bundles.get(bundle_id)
        return True

    async def ping(self) -> bool:
        """Answers when the replica does."""
        return True

    async def inspect(self, modules: Collection[str] = ()) -> dict[str, Any]:
        """For tests and people: process id, loaded bundles, and which of some modules are imported."""
        return {
            "pid": os.getpid(),
            "bundles": self.bundles.ids,
            "imported": sorted(name for name in modules if name in sys.modules),
        }

    def check_health(self) -> None:
        """Called by Serve now and then; raising has the replica replaced.

        Raises:
            RuntimeError: The watcher is gone, so that new bundles would never arrive.
        """
        if self._watcher.done():
            raise RuntimeError("the bundle watcher stopped")

    def __del__(self) -> None:
        opened = getattr(self, "opened", None)
        if opened is not None:
            opened.store.close()
