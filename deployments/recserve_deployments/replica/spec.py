"""What a replica is told when it starts, and what it opens for its whole life.

A replica loads only its role's plugins, so a retrieval replica never imports what only the ranker uses, and a
broken plugin stays harmless to every role that does without it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recserve.bundles.repository import BundleRepository
from recserve.config import Config, parse_config
from recserve.data.system.compilation import KERNELS, compile_kernels, compiled
from recserve.errors import RuntimeEnvironmentError
from recserve.plugin.registry import Registry
from recserve.plugin.resolved import ReplicaRole, ResolvedConfig
from recserve.serving.guard.flight_record import FlightRecord
from recserve.serving.guard.workers import THREADS, WorkerPool
from recserve.store import Store, open_store
from recserve_deployments.local_server.environment import run_directory

logger = logging.getLogger(__name__)

STORE_PATIENCE = 10.0
"""Seconds that the store may take for a call: a write that waits for so long, and then is still being
committed for as long again, is answered before Serve ends the request."""


@dataclass(frozen=True)
class ReplicaSpec:
    """All that a replica is told when it starts; small and plain, because it travels.

    Attributes:
        role: What the replica serves.
        home: The home folder, absolute.
        config: The whole configuration as plain data.
        plugins: Entry points that it loads.
    """

    role: ReplicaRole
    home: str
    config: Mapping[str, Any]
    plugins: frozenset[str]

    def open(self) -> Opened:
        """Load the plugins and open what is shared by all bundles.

        Raises:
            RecserveError: A plugin is missing or broken, or the store cannot be opened.
        """
        _log_like_serve()
        if self.role != ReplicaRole.ENCODING:
            # Now, not while the first requests wait.
            compile_kernels()
            compiled(KERNELS)
        config = parse_config(dict(self.config))
        registry = Registry.discover(only=self.plugins)
        home = Path(self.home)
        return Opened(
            home=home,
            config=config,
            registry=registry,
            resolved=registry.resolve(config, self.role),
            store=open_store(config.store.url, home, STORE_PATIENCE),
            repository=BundleRepository(home, config.bundles),
        )

    def workers(self, threads: int = THREADS) -> WorkerPool:
        """Threads for plugin code, whose calls under way outlive the process; see :class:`FlightRecord`."""
        try:
            folder = run_directory(Path(self.home)) / "flights"
            return WorkerPool(threads, FlightRecord(folder, self.role))
        except (OSError, RuntimeEnvironmentError) as error:
            logger.warning("calls under way are not written down: %s", error)
            return WorkerPool(threads)


def _log_like_serve() -> None:
    """Have our log lines in the replica's own log file, beside Serve's."""
    handlers = logging.getLogger("ray.serve").handlers
    for name in ("recserve", "recserve_deployments"):
        ours = logging.getLogger(name)
        ours.setLevel(logging.INFO)
        ours.handlers = list(handlers)
        ours.propagate = not handlers


@dataclass(frozen=True)
class Opened:
    """What a replica holds for its whole life.

    Attributes:
        home: The home folder.
        config: The whole configuration.
        registry: The role's plugins.
        resolved: The role's components; those of other roles refuse to be built.
        store: The store.
        repository: Where bundles live.
    """

    home: Path
    config: Config
    registry: Registry
    resolved: ResolvedConfig
    store: Store
    repository: BundleRepository
