"""Outcomes that components count of their own work, such as cached, asked or rejected; metrics show them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from threading import Lock

MOST_OUTCOMES = 1_000
"""Distinct pairs that are counted; a component that makes names up must not fill the memory."""

_OTHER = "other"


class OutcomeCounts:
    """Counters by component and outcome. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._counts: Counter[tuple[str, str]] = Counter()

    def count(self, component: str, outcome: str, by: int = 1) -> None:
        """Add to an outcome of a component; beyond :data:`MOST_OUTCOMES` pairs to its outcome ``other``."""
        with self._lock:
            known = (component, outcome) in self._counts or len(self._counts) < MOST_OUTCOMES
            self._counts[component, outcome if known else _OTHER] += by

    def read(self) -> Mapping[tuple[str, ...], float]:
        """All counts of this process."""
        with self._lock:
            return {labels: float(count) for labels, count in self._counts.items()}


PROCESS_OUTCOMES = OutcomeCounts()
"""The counts of this process."""


def count_outcome(component: str, outcome: str, by: int = 1) -> None:
    """Count an outcome in this process, shown as ``recserve_component_outcomes_total``.

    Args:
        component: Name of the component.
        outcome: What happened, in one word; a component has few of them.
        by: How often.
    """
    PROCESS_OUTCOMES.count(component, outcome, by)
