"""Decisions on which bundle is served; each is in the history of promotions and in the audit log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from recserve.bundles.repository import BundleRepository
from recserve.data.entities import now_ms
from recserve.errors import BundleError, ConflictError, NotFoundError
from recserve.store import AuditEntry, Grounds, Store
from recserve.training.promotion.gate import Finding, GateError, figures_of, pass_gate


class NoEarlierBundleError(BundleError):
    """A rollback where no other bundle was current before."""

    code = "no_earlier_bundle"
    status = 409


@dataclass(frozen=True)
class Decider:
    """Makes bundles of a store current, for somebody.

    Attributes:
        store: The store.
        actor: Who asks, such as ``cli:LOGIN`` or ``key:ID``.
    """

    store: Store
    actor: str

    def check_known(self, bundle_id: str) -> None:
        """Refuse a bundle that the store does not know.

        Raises:
            NotFoundError: It was not trained here.
        """
        if bundle_id not in {known.bundle_id for known in self.store.bundles()}:
            raise NotFoundError(
                f"bundle {bundle_id} was not trained in this home: the store does not know it",
                field="bundle_id",
            )

    def promote(
        self,
        bundle_id: str,
        before: str | None,
        findings: Sequence[Finding],
        *,
        reason: str | None,
        forced: bool = False,
        anyway: str = "--force --reason TEXT",
    ) -> None:
        """Make a bundle current if its evidence allows it.

        Args:
            bundle_id: The bundle, verified.
            before: The bundle that was current when the evidence was weighed.
            findings: What speaks for and against it; nothing where there is nothing to compare it with.
            reason: Why, in words.
            forced: Whether somebody wants it whatever the evidence says.
            anyway: What overrules a refusal, for its message.

        Raises:
            GateError: The evidence speaks against it; the audit log has what.
            ConflictError: Another bundle became current meanwhile.
        """
        evidence = figures_of(findings)
        if self.store.current_bundle() != before:
            raise ConflictError("another bundle became current meanwhile; compare with that one")
        detail = {"before": before, "forced": forced, "reason": reason}
        try:
            pass_gate(findings, anyway)
        except GateError:
            self._audit("bundle.refuse", bundle_id, detail | evidence)
            raise
        kept = {**evidence, "forced": True} if forced else evidence
        self.store.set_current(bundle_id, Grounds(self.actor, "promote", reason, kept))
        self._audit("bundle.promote", bundle_id, detail | evidence)

    def roll_back(self, repository: BundleRepository, reason: str | None) -> tuple[str, str]:
        """Make the bundle that was current before this one current again.

        Args:
            repository: Where bundles live; the earlier one is verified before it is served.
            reason: Why, in words.

        Returns:
            The bundle that is current again, and the one that was until now.

        Raises:
            NoEarlierBundleError: No other bundle was current before.
            BundleError: The earlier one is damaged or gone.
        """
        history = self.store.bundle_history()
        if len(history) < 2:
            raise NoEarlierBundleError("there is no earlier bundle to go back to")
        current, earlier = history[0], history[1]
        repository.open(earlier)
        self.store.set_current(earlier, Grounds(self.actor, "rollback", reason))
        self._audit("bundle.rollback", earlier, {"before": current, "reason": reason})
        return earlier, current

    def _audit(self, action: str, target: str, detail: Mapping[str, Any]) -> None:
        self.store.add_audit(AuditEntry(now_ms(), self.actor, action, target, detail))
