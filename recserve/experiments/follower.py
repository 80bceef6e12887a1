"""Follower of a store's experiments: the look-up of arms that a process answers by.

A thread reads the store's counter, and the experiments when it has changed, so that starting and stopping
take effect in every process within about a second and no request reads the store for it.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from recserve.data.system.periodic import PeriodicThread
from recserve.errors import StoreError
from recserve.experiments.assignment import AssignedArm, Assignments
from recserve.experiments.lifecycle import Experiment
from recserve.store import ExperimentRecord, Pulse

logger = logging.getLogger(__name__)

REFRESH_SECONDS = 0.5


class ExperimentSource(Protocol):
    """Protocol of the store that is followed; every :class:`recserve.store.Store` is one."""

    def pulse(self) -> Pulse:
        """The counters; ``experiments`` grows whenever an experiment changes."""
        ...

    def experiments(self) -> list[ExperimentRecord]:
        """All experiments."""
        ...


class ExperimentFollower:
    """Latest look-up of arms. Safe to use from several threads.

    While the store is down, experiments go on as they were seen last.

    Args:
        store: The store.
        scenarios: Names of the configured scenarios.
        bundles: Bundles that arms may name now.
    """

    def __init__(
        self,
        store: ExperimentSource,
        scenarios: Collection[str],
        bundles: Callable[[], Collection[str]] = tuple,
    ) -> None:
        self._store = store
        self._scenarios = frozenset(scenarios)
        self._bundles = bundles
        self._experiments: Sequence[Experiment] = ()
        self._served_bundles: frozenset[str] = frozenset()
        self._version: int | None = None
        self._barred: set[AssignedArm] = set()
        self._failing = False
        self._due = 0.0
        self._refreshing = threading.Lock()
        self._building = threading.Lock()
        self._following = PeriodicThread("recserve-experiments", self.refresh, REFRESH_SECONDS)
        self.assignments = Assignments()
        """The look-up."""

    async def look(self) -> None:
        """Look at the store, in a thread, unless that was done a moment ago; for who has not started one."""
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + REFRESH_SECONDS
            await asyncio.to_thread(self.refresh)

    def start(self) -> None:
        """Read the experiments and follow the store from now on; blocks for the first look."""
        self._following.start()

    def close(self) -> None:
        """Stop following the store."""
        self._following.close()

    def bar(self, arm: AssignedArm) -> None:
        """Serve an arm no more, whatever the store says: a guardrail has found a reason."""
        with self._building:
            self._barred.add(arm)
        self._rebuild()

    def refresh(self) -> None:
        """Look at the store now; it never raises for a store that is down."""
        with self._refreshing:
            try:
                # The counter is read first: at worst the experiments are newer than it, and read again.
                version = self._store.pulse().experiments
                bundles = frozenset(self._bundles())
                if version != self._version:
                    self._experiments = _readable(self._store.experiments())
                if version != self._version or bundles != self._served_bundles:
                    self._version, self._served_bundles = version, bundles
                    self._rebuild()
                self._failing = False
            except StoreError as error:
                if not self._failing:
                    logger.warning("experiments cannot be read, going on with those known: %s", error)
                self._failing = True
            except Exception:  # whatever it is, the thread must go on, or nothing could be stopped
                logger.exception("experiments cannot be read, going on with those known")

    def _rebuild(self) -> None:
        with self._building:
            experiments = [self._without_barred(experiment) for experiment in self._experiments]
            self.assignments = Assignments(experiments, self._scenarios, self._served_bundles)

    def _without_barred(self, experiment: Experiment) -> Experiment:
        """An experiment as it is once the store knows of the arms that were stopped here."""
        for arm in self._barred:
            same = (arm.experiment, arm.created) == (experiment.definition.name, experiment.created)
            if same and experiment.running:
                experiment = experiment.with_status(experiment.ended("a guardrail", 0, arm.name))
        return experiment


class ArmBundles:
    """Bundles that arms of running experiments ask for, read from a store. Not thread-safe.

    Args:
        store: The store.
    """

    def __init__(self, store: ExperimentSource) -> None:
        self._store = store
        self._version: int | None = None
        self._bundles: frozenset[str] = frozenset()

    def __call__(self) -> frozenset[str]:
        """Their ids.

        Raises:
            StoreError: The store cannot be reached.
        """
        version = self._store.pulse().experiments
        if version != self._version:
            self._bundles = frozenset(
                arm.bundle
                for experiment in _readable(self._store.experiments())
                if experiment.running
                for arm in experiment.served
                if arm.bundle is not None
            )
            self._version = version
        return self._bundles


def _readable(records: Sequence[ExperimentRecord]) -> list[Experiment]:
    """The experiments of records; what a newer version has written is left out, and said so."""
    found = []
    for record in records:
        try:
            found.append(Experiment.of(record))
        except ValueError as error:
            logger.warning("experiment %s is not served, it cannot be read: %s", record.name, error)
    return found
