"""What became of what was shown: impressions joined with events, daily counts, reports."""

from __future__ import annotations

from recserve.outcomes.join import OutcomeRules, impressions

__all__ = ["OutcomeRules", "impressions"]
