"""Masks of a scenario's filters: which items may be returned at all, cached by argument."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from cachetools import LRUCache

from recserve.data.arrays import BoolArray
from recserve.errors import OverloadedError, RecserveError
from recserve.serving.guard.failures import cause_of, log_failure
from recserve.serving.guard.results import check_mask
from recserve.serving.scenario import Scenario, ttl_of

# Of a million items a mask takes a megabyte.
_MOST_MASKS = 256
_FEWEST_MASKS = 16
_MASK_BYTES = 32_000_000


@dataclass(frozen=True, slots=True)
class FilterCall:
    """One filter with one argument, whose mask is wanted.

    Attributes:
        scenario: Name of the scenario.
        name: Name of the filter.
        argument: The argument as JSON, None where the request gives none.
    """

    scenario: str
    name: str
    argument: str | None


@dataclass(frozen=True, slots=True)
class JointMask:
    """What all filters of a scenario allow together.

    Attributes:
        allowed: bool, shape (n_items,); None for all.
        failed: Names of filters that failed, and why. What they would allow is not known, so nothing is.
    """

    allowed: BoolArray | None
    failed: Mapping[str, str] = field(default_factory=dict)

    def within(self, served: BoolArray | None) -> BoolArray | None:
        """Which of the items that are served at all are allowed."""
        if served is None or self.allowed is None:
            return served if self.allowed is None else self.allowed
        return self.allowed & served


class FilterMasks:
    """Masks of the filters of all scenarios, cached no longer than a filter's ``ttl_seconds``.

    Args:
        scenarios: By name, with filters built.
        size: Items that masks cover; None for as many as a filter knows, as in training.
        known: Items of the bundle. A trained filter knows these alone and so does not allow new ones.
    """

    def __init__(
        self, scenarios: Mapping[str, Scenario], size: int | None = None, known: int | None = None
    ) -> None:
        self._scenarios = scenarios
        self._size = size
        self._sizes = () if size is None else (size,) if known is None else (size, known)
        self._kept: LRUCache[tuple[FilterCall, int], tuple[BoolArray | None]]
        self._kept = LRUCache(kept_masks(size or 0))
        self._lock = threading.Lock()

    def calls(self, scenario: str, arguments: Mapping[str, Any]) -> list[FilterCall]:
        """The filters of a scenario with what a request gives them."""
        given = ((name, arguments.get(name)) for name in self._scenarios[scenario].filters)
        return [
            FilterCall(scenario, name, None if argument is None else json.dumps(argument))
            for name, argument in given
        ]

    def cached(self, call: FilterCall) -> tuple[BoolArray | None] | None:
        """The mask at hand in a tuple, or None if it has to be computed."""
        period = self._period(call)
        if period is None:
            return None
        with self._lock:
            return self._kept.get((call, period))

    def compute(self, call: FilterCall) -> BoolArray | None:
        """Compute a mask and keep it; runs code of the plugin.

        Raises:
            InvalidRequestError: The filter refuses its argument.
            StageError: The mask is not one.
        """
        period = self._period(call)
        value = None if call.argument is None else json.loads(call.argument)
        mask = check_mask(self._scenarios[call.scenario].filters[call.name].allowed(value), self._sizes)
        if mask is not None and self._size is not None and len(mask) < self._size:
            mask = np.pad(mask, (0, self._size - len(mask)))
        if period is not None:
            with self._lock:
                self._kept[(call, period)] = (mask,)
        return mask

    def allowed(self, scenario: str, arguments: Mapping[str, Any]) -> BoolArray | None:
        """Which items every filter of the scenario allows, computed in this thread where need be.

        Raises:
            InvalidRequestError: A filter refuses its argument.
        """
        calls = self.calls(scenario, arguments)
        found = [(call, self.cached(call)) for call in calls]
        return self.joint(calls, [self.compute(call) if at is None else at[0] for call, at in found]).allowed

    def joint(
        self, calls: Sequence[FilterCall], outcomes: Sequence[BoolArray | RecserveError | None]
    ) -> JointMask:
        """What filters allow together, from the mask or the failure of each.

        Raises:
            InvalidRequestError: A filter refused its argument.
            OverloadedError: Too many masks are being computed.
            RecserveError: A filter failed and the size of a mask is not known.
        """
        masks: list[BoolArray] = []
        failed: dict[str, str] = {}
        for call, outcome in zip(calls, outcomes, strict=True):
            if isinstance(outcome, RecserveError):
                if outcome.status < 500 or isinstance(outcome, OverloadedError) or self._size is None:
                    raise outcome
                log_failure(f"filter:{call.name}", outcome)
                failed[f"filter:{call.name}"] = cause_of(outcome)
            elif outcome is not None:
                masks.append(outcome)
        if failed:
            return JointMask(np.zeros(self._size or 0, dtype=np.bool_), failed)
        if len(masks) < 2:
            return JointMask(masks[0] if masks else None)
        return JointMask(np.asarray(np.logical_and.reduce(masks)))

    def _period(self, call: FilterCall) -> int | None:
        """The stretch of time that a mask computed now holds for; None if it must not be kept."""
        ttl = ttl_of(self._scenarios[call.scenario].filters[call.name])
        if ttl is None:
            return 0
        return None if ttl <= 0 else int(time.monotonic() / ttl)


def kept_masks(size: int) -> int:
    """How many masks of so many items a scenario's filters keep."""
    return min(_MOST_MASKS, max(_FEWEST_MASKS, _MASK_BYTES // max(size, 1)))
