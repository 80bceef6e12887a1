"""Administration of experiments behind the routes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from recserve.api.backends.store_threads import StoreThreads
from recserve.experiments.administration import ExperimentAdmin
from recserve.experiments.definition import Definition
from recserve.experiments.follower import ExperimentFollower
from recserve.experiments.lifecycle import Experiment
from recserve.serving.pipeline import Pipeline
from recserve.store import Store


class ExperimentDesk:
    """Creates, starts and stops experiments for callers of the API; this process follows at once.

    Every method raises StoreError when the store cannot be reached.

    Args:
        store: The store.
        reads: Threads for reading it.
        writes: Threads for writing it.
        pipeline: The pipeline in service, whose scenarios experiments are over.
        follower: Follows the experiments for this process.
    """

    def __init__(
        self,
        store: Store,
        reads: StoreThreads,
        writes: StoreThreads,
        pipeline: Callable[[], Pipeline],
        follower: ExperimentFollower,
    ) -> None:
        self._store = store
        self._reads = reads
        self._writes = writes
        self._pipeline = pipeline
        self._follower = follower

    async def list(self) -> Sequence[Experiment]:
        """All experiments, oldest first."""
        return await self._reads.run(self._admin("").experiments)

    async def get(self, name: str) -> Experiment:
        """The experiment of a name.

        Raises:
            NotFoundError: There is none.
        """
        return await self._reads.run(partial(self._admin("").experiment, name))

    async def create(self, definition: Definition, actor: str) -> Experiment:
        """Store an experiment, which does not run yet; see :meth:`ExperimentAdmin.create`."""
        context = self._pipeline().context
        scenarios = {name: scenario.config for name, scenario in context.scenarios.items()}

        def check_rules(scenario: str, rules: Mapping[str, Any]) -> object:
            return context.rules[scenario].rerankers(rules) if rules else None

        return await self._writes.run(partial(self._admin(actor).create, definition, scenarios, check_rules))

    async def start(self, name: str, share: float | None, actor: str) -> Experiment:
        """Start an experiment, or have it take in more; see :meth:`ExperimentAdmin.start`."""
        return await self._changed(partial(self._admin(actor).start, name, share))

    async def stop(self, name: str, reason: str, arm: str | None, actor: str) -> Experiment:
        """Stop an experiment or one of its arms for good; see :meth:`ExperimentAdmin.stop`."""
        return await self._changed(partial(self._admin(actor).stop, name, reason, arm))

    async def _changed(self, change: Callable[[], Experiment]) -> Experiment:
        changed = await self._writes.run(change)
        await self._reads.run(self._follower.refresh)
        return changed

    def _admin(self, actor: str) -> ExperimentAdmin:
        return ExperimentAdmin(self._store, actor)
