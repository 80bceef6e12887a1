"""Scheduled retraining: train where enough is new, promote what passes the gate, keep the last bundles."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from recserve.bundles.catalogue_vectors import Progress
from recserve.bundles.repository import BundleRepository
from recserve.data.system.files import held_alone
from recserve.errors import ConflictError
from recserve.plugin.executor import Executor
from recserve.plugin.registry import Registry
from recserve.plugin.resolved import ResolvedConfig
from recserve.store import Grounds, Store
from recserve.training.fitting import silent
from recserve.training.promotion.gate import Finding, GateError, figures_of, pass_gate
from recserve.training.promotion.offline import compare
from recserve.training.recording import record_training
from recserve.training.retraining.status import StatusReporter
from recserve.training.trainer import Trainer

Outcome = Literal["promoted", "refused", "nothing to do"]


@dataclass(frozen=True)
class Retrained:
    """Outcome of a retraining run.

    Attributes:
        outcome: What was done.
        reason: Why, for people.
        bundle_id: The bundle that was trained, None if there was nothing to do.
        before: The bundle that was current when the run began.
        findings: What the gate went by; empty where there was nothing to compare with.
        removed: Old bundles that were removed.
    """

    outcome: Outcome
    reason: str
    bundle_id: str | None = None
    before: str | None = None
    findings: tuple[Finding, ...] = ()
    removed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Retraining:
    """One retraining run of a home.

    Attributes:
        home: The home folder.
        resolved: Its configuration.
        registry: All components.
        repository: Where its bundles live.
        store: Its store.
        progress: Called with (description, done, total).
        executor: Computes parts of fits and of evaluations; None for this process.
        actor: Who runs it, such as ``cli:LOGIN``.
    """

    home: Path
    resolved: ResolvedConfig
    registry: Registry
    repository: BundleRepository
    store: Store
    progress: Progress = silent
    executor: Executor | None = None
    actor: str | None = None

    def run(self, *, force: bool = False) -> Retrained:
        """Train if there is reason to, let the gate decide, and remove bundles nobody needs.

        Args:
            force: Train even if nothing is new.

        Raises:
            ConflictError: Another retraining of this home is running.
            DataError: There is nothing to learn from.
        """
        # A slow run and the next one of a schedule never overlap.
        refusal = ConflictError(f"another `recserve retrain` of {self.home} is running")
        status = StatusReporter(self.home, self.progress)
        with held_alone(self.home / "retrain.lock", refusal), status.reporting():
            reason, due = self.reason()
            done = self._train(reason, status) if due or force else Retrained("nothing to do", reason)
            status.end(done.outcome, done.reason, done.bundle_id, done.before)
        return done

    def _train(self, reason: str, status: StatusReporter) -> Retrained:
        """Train, and promote what passes the gate."""
        deletions = self.store.pulse().deletions
        tables = self.store.snapshot()
        trainer = Trainer(
            self.home,
            self.resolved,
            self.registry,
            self.repository,
            status.step,
            executor=self.executor,
        )
        result = trainer.run(tables)
        before = self.store.current_bundle()
        record_training(self.home, self.resolved.config, self.store, tables, result, deletions)
        candidate = result.bundle
        findings: tuple[Finding, ...] = ()
        current, unusable = (None, None) if before is None else self.repository.examined(before)
        if unusable is not None:
            # Neither can it be served: whatever was trained is better than that.
            reason = f"{reason}; the current bundle cannot be compared with: {unusable}"
        elif before is not None and before != candidate.id:
            verdict = compare(
                self.home,
                self.resolved.config,
                self.registry,
                current or self.repository.open(before),
                candidate,
                lambda: tables,
                status.step,
                self.executor,
            )
            findings = (verdict.finding(self.resolved.config.promotion.margin),)
            reason = f"{reason}; {verdict}"
        outcome: Outcome = "promoted"
        try:
            pass_gate(findings)
            grounds = Grounds(self.actor, "retrain", reason, figures_of(findings))
            self.store.set_current(candidate.id, grounds)
        except GateError:
            outcome = "refused"
        return Retrained(outcome, reason, candidate.id, before, findings, self._remove_old())

    def reason(self) -> tuple[str, bool]:
        """What is new since the last training, in words, and whether that is enough to train again."""
        records = self.store.bundles()
        if not records:
            return "nothing has been trained yet", True
        last = records[0]
        config = self.resolved.config
        damage = self.repository.damage(last.bundle_id)
        if damage is not None:
            return f"the last bundle cannot be used: {damage}", True
        # Records of before these were kept lack them.
        if any(last.summary.get(key) is None for key in ("events", "config_hash", "seed")):
            return f"the record of bundle {last.bundle_id} does not tell what was trained", True
        if (last.summary["config_hash"], last.summary["seed"]) != (config.training_hash(), config.train.seed):
            return "the configuration has changed since the last training", True
        if postponed := last.summary.get("postponed"):
            return f"bundle {last.bundle_id} was trained quickly, without {', '.join(postponed)}", True
        deleted = self.store.pulse().deletions - int(last.summary.get("deletions", 0))
        if deleted:
            return f"{deleted:,} user ids were deleted since bundle {last.bundle_id}", True
        last_event = last.summary.get("last_event")
        # By their numbers: of all events there may be fewer than before, as old ones expire.
        new = (
            self.store.counts().events - int(last.summary["events"])
            if last_event is None
            else self.store.new_events(int(last_event))
        )
        least = config.retrain.min_events
        told = f"{new:,} new events since bundle {last.bundle_id}"
        return (told, True) if new >= least else (f"{told}, fewer than retrain.min_events = {least:,}", False)

    def _remove_old(self) -> tuple[str, ...]:
        """Remove bundles beyond the newest; never the current one nor the one a rollback returns to."""
        needed = set(self.store.bundle_history()[:2])
        records = [record.bundle_id for record in self.store.bundles()]
        needed.update(records[: self.resolved.config.retrain.keep])
        present = set(self.repository.ids())
        removed = tuple(name for name in records if name in present and name not in needed)
        for name in removed:
            self.repository.remove(name)
        return removed
