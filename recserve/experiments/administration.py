"""Administration of experiments: create, start, stop; every change is in the audit log."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from recserve.config import PipelineConfig
from recserve.data.entities import now_ms
from recserve.errors import ExperimentConflictError, NotFoundError
from recserve.experiments.definition import Definition, check_definition
from recserve.experiments.lifecycle import Experiment, Status
from recserve.store import AuditEntry, ExperimentRecord, Store

GUARDRAIL = "guardrail"
"""Who stopped an arm, in the audit log, where nobody did."""


class ExperimentAdmin:
    """Creates, starts and stops experiments in a store. Its methods block.

    Args:
        store: The store.
        actor: Who asks, for the audit log.
    """

    def __init__(self, store: Store, actor: str) -> None:
        self._store = store
        self._actor = actor

    def create(
        self,
        definition: Definition,
        scenarios: Mapping[str, PipelineConfig],
        check_rules: Callable[[str, Mapping[str, Any]], object],
    ) -> Experiment:
        """Store an experiment, which does not run yet.

        Args:
            definition: What is asked for.
            scenarios: The configured scenarios.
            check_rules: Raises for rules that a scenario refuses.

        Raises:
            InvalidRequestError: It names what is not there.
            ExperimentConflictError: There is one of this name.
        """
        bundles = {bundle.bundle_id for bundle in self._store.bundles()}
        check_definition(definition, scenarios, check_rules, bundles)
        plain = definition.model_dump(mode="json", exclude_none=True)
        record = ExperimentRecord(definition.name, now_ms(), plain, Status().plain())
        if not self._store.add_experiment(record):
            raise ExperimentConflictError(
                f"there is an experiment {definition.name!r} already; choose another name", field="name"
            )
        self._audit("experiment.create", definition.name, {"scenario": definition.scenario})
        return Experiment.of(record)

    def start(self, name: str, share: float | None = None) -> Experiment:
        """Start an experiment, or have one that runs take in a larger share.

        Args:
            name: Its name.
            share: Of its layer; None for the definition's, or as it is.

        Raises:
            NotFoundError: There is no such experiment.
            ExperimentConflictError: Another one is in the way, or it was stopped.
            InvalidRequestError: The share is less than it has.
        """
        now = now_ms()
        started = self._change(name, lambda mine, others: mine.started(others, share, now))
        self._audit("experiment.start", name, {"share": started.status.share})
        return started

    def stop(self, name: str, reason: str, arm: str | None = None) -> Experiment:
        """Stop an experiment for good, or one of its arms.

        Args:
            name: Its name.
            reason: Why, for people.
            arm: The arm; None for all of it.

        Raises:
            NotFoundError: There is no such experiment or arm.
            ExperimentConflictError: An arm of an experiment that does not run.
        """
        now = now_ms()
        stopped = self._change(name, lambda mine, others: mine.ended(reason, now, arm))
        detail = {"reason": reason, "state": stopped.status.state}
        self._audit("experiment.stop", name, detail if arm is None else {**detail, "arm": arm})
        return stopped

    def experiments(self) -> list[Experiment]:
        """All experiments, oldest first."""
        return [Experiment.of(record) for record in self._store.experiments()]

    def experiment(self, name: str) -> Experiment:
        """The experiment of a name.

        Raises:
            NotFoundError: There is none.
        """
        for experiment in self.experiments():
            if experiment.definition.name == name:
                return experiment
        raise NotFoundError(
            f"there is no experiment {name[:80]!r}; list them with: recserve experiment list",
            field="experiment",
        )

    def _change(self, name: str, change: Callable[[Experiment, list[Experiment]], Status]) -> Experiment:
        record = self._store.change_experiment(
            name,
            lambda mine, all_: change(Experiment.of(mine), [Experiment.of(other) for other in all_]).plain(),
        )
        return Experiment.of(record)

    def _audit(self, action: str, name: str, detail: Mapping[str, Any]) -> None:
        self._store.add_audit(AuditEntry(now_ms(), self._actor, action, name, detail))
