"""The gate between a trained bundle and the one that is served: findings, and what they decide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from recserve.errors import ConflictError, RecserveError


class GateError(RecserveError):
    """A bundle is worse than the one that is served."""

    code = "worse_bundle"
    status = 409


class NotMeasuredError(ConflictError):
    """Two bundles that nothing has measured on the same data."""

    code = "not_measured"


@dataclass(frozen=True)
class Finding:
    """Evidence for or against a bundle.

    Attributes:
        source: Where it comes from, such as ``offline`` or ``experiment NAME``.
        summary: The figures, for people.
        figures: The same, JSON-like, to be kept.
        objection: Why the bundle is not to be promoted; None if the figures allow it.
        favours: Whether the figures show that it is better, which overrules objections of weaker findings.
    """

    source: str
    summary: str
    figures: Mapping[str, Any]
    objection: str | None = None
    favours: bool = False


def pass_gate(findings: Sequence[Finding], anyway: str = "--force --reason TEXT") -> None:
    """Let a bundle pass that no finding speaks against.

    Args:
        findings: The weakest kind of evidence first: what was replayed, estimated, and seen.
        anyway: What overrules a refusal, for its message.

    Raises:
        GateError: Some do; says all of them with their figures.
    """
    decisive = [place for place, finding in enumerate(findings) if finding.favours]
    counted = findings[decisive[-1] :] if decisive else findings
    against = [f"{finding.summary}, {finding.objection}" for finding in counted if finding.objection]
    if against:
        raise GateError(f"refused: {'; '.join(against)}; promote it anyway with {anyway}")


def figures_of(findings: Sequence[Finding]) -> dict[str, Any]:
    """Figures to be kept with a decision, by their source."""
    return {finding.source: dict(finding.figures) for finding in findings}
