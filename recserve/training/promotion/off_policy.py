"""Off-policy evidence: what a bundle would have put where chance decided, and what that would have earned.

Exploration fills some places of a page by chance, and the exposure keeps with which probability. For each of
these places a bundle is asked which of the items explored there on that day it ranks first, given what the
user had done by then. Where that is the item that was shown, its outcome speaks for the bundle. Only what was
shown after the bundle was trained counts: of the rest it may have learnt the outcomes.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recserve.config import Config
from recserve.data.arrays import Float64Array, Int64Array
from recserve.data.entities import DAY_MS, now_ms
from recserve.outcomes.intervals import Interval, RatioSample, plain_interval
from recserve.outcomes.join import impressions
from recserve.outcomes.off_policy import (
    LoggedRows,
    coverage,
    cross_fitted_means,
    doubly_robust,
    ips,
    snips,
)
from recserve.serving.pipeline import Pipeline
from recserve.serving.requests.request import Recommendation, Request, SessionEvent
from recserve.store import Moment, Store
from recserve.store.lake import LakeFolder
from recserve.training.promotion.gate import Finding

FEWEST_PLACES = 100
"""Of fewer places no estimate is made."""

_MOST_PLACES = 2_000
_BATCH = 64
_EVENTS = 200


@dataclass(frozen=True, eq=False)
class Replay:
    """Places that chance filled, with what was shown there and what a bundle would have.

    Attributes:
        units: int64, shape (R,); user of each place; an answer to nobody known is a user of its own.
        places: int64, shape (R,); place on the page, from 0.
        items: int64, shape (R,); number of the item that was shown.
        chosen: int64, shape (R,); number of the item that the bundle would have shown, -1 for none.
        rewards: float64, shape (R,); 1 for a click.
        propensities: float64, shape (R,).
    """

    units: Int64Array
    places: Int64Array
    items: Int64Array
    chosen: Int64Array
    rewards: Float64Array
    propensities: Float64Array

    def finding(self) -> Finding:
        """The estimates as evidence, against a bundle that would have earned less than what was shown."""
        log = LoggedRows(
            self.units, self.rewards, self.propensities, (self.items == self.chosen).astype(np.float64)
        )
        shown = plain_interval(RatioSample.of_rows(self.units, self.rewards).estimate())
        covered = coverage(log)
        estimates = {"ips": ips(log), "snips": snips(log), "dr": self._doubly_robust(log)}
        best = estimates["dr"]
        summary = (
            f"{_told(best)} clicks a place that chance fills (doubly robust, {covered.rows} places since it "
            f"was trained), against {_told(shown)} of what was shown there"
        )
        if not covered.complete:
            summary += (
                f"; the log holds {covered.mean_weight.value:.0%} of what it would show, so that says little"
            )
        figures = {
            **{name: _rounded(estimate) for name, estimate in estimates.items()},
            "shown": _rounded(shown),
            "places": covered.rows,
            "effective_places": round(covered.effective_rows, 1),
            "mean_weight": _rounded(covered.mean_weight),
        }
        worse = covered.complete and best.high < shown.low
        return Finding("off-policy", summary, figures, "which is less" if worse else None)

    def _doubly_robust(self, log: LoggedRows) -> Interval:
        size = 1 + int(self.places.max()), 1 + int(max(self.items.max(), self.chosen.max()))
        model = cross_fitted_means(log, self.places, self.items, size)
        predicted = model.means[model.folds, self.places, self.items]
        wanted = model.means[model.folds, self.places, np.maximum(self.chosen, 0)]
        return doubly_robust(log, predicted, np.where(self.chosen >= 0, wanted, 0.0))


def off_policy(
    store: Store, config: Config, build: Callable[[], Pipeline], since: int, lake: LakeFolder | None = None
) -> Finding | None:
    """Estimate what a bundle would earn; None where chance has filled too few places since it was trained.

    Args:
        store: Holds exposures with propensities and what followed.
        config: What counts as a click.
        build: Makes a pipeline over the bundle.
        since: When the bundle was trained, milliseconds since the epoch.
        lake: The store's lake.
    """
    found = impressions(store, config, since, now_ms(), lake=lake)
    table = found.filter(pc.is_valid(found["propensity"])).slice(0, _MOST_PLACES)
    return None if len(table) < FEWEST_PLACES else replay(store, build(), table).finding()


def replay(store: Store, pipeline: Pipeline, table: pa.Table) -> Replay:
    """Ask a bundle for the places of some impressions, all of them with a propensity."""
    rows = table.select(
        ["recommendation_id", "user_hash", "scenario", "timestamp", "item_id", "position"]
    ).to_pylist()
    explored: dict[tuple[str, int], set[str]] = defaultdict(set)
    for row in rows:
        explored[row["scenario"], row["timestamp"] // DAY_MS].add(row["item_id"])
    numbers = {item: number for number, item in enumerate(sorted({row["item_id"] for row in rows}))}
    requests = _requests(store, pipeline, rows, explored)
    chosen = [numbers.get(item, -1) for item in asyncio.run(_first_items(pipeline, requests))]
    # A negative number of its own for each answer to nobody known; hashes are spread over all of 64 bits.
    units = [-2 - place if row["user_hash"] is None else row["user_hash"] for place, row in enumerate(rows)]
    return Replay(
        units=np.array(units, dtype=np.int64),
        places=np.array([row["position"] for row in rows], dtype=np.int64),
        items=np.array([numbers[row["item_id"]] for row in rows], dtype=np.int64),
        chosen=np.array(chosen, dtype=np.int64),
        rewards=table["clicked"].to_numpy(zero_copy_only=False).astype(np.float64),
        propensities=table["propensity"].to_numpy(zero_copy_only=False).astype(np.float64),
    )


def _requests(
    store: Store,
    pipeline: Pipeline,
    rows: Sequence[dict[str, Any]],
    explored: dict[tuple[str, int], set[str]],
) -> list[Request]:
    """What to ask a bundle for each row: the explored items, ranked for what the user had done by then."""
    types, scenarios = pipeline.context.event_types, pipeline.context.scenarios
    requests = []
    for row in rows:
        exposure = store.exposures(row["recommendation_id"])
        user_id, moment = None if exposure is None else exposure.user_id, row["timestamp"]
        past = [] if user_id is None else store.history(user_id, _EVENTS, before=Moment(moment, 0))
        session = tuple(
            SessionEvent(event.item_id, event.event, event.timestamp, event.value)
            for _, event in reversed(past)
            if event.item_id and event.event in types
        )
        items = tuple(sorted(explored[row["scenario"], moment // DAY_MS]))
        scenario = row["scenario"] if row["scenario"] in scenarios else None
        requests.append(Request(session=session, n=1, scenario=scenario, items=items, explain=False))
    return requests


async def _first_items(pipeline: Pipeline, requests: Sequence[Request]) -> list[str]:
    """The item that is ranked first for each request, empty for none."""
    answers = [
        answer
        for start in range(0, len(requests), _BATCH)
        for answer in await pipeline.recommend(requests[start : start + _BATCH])
    ]
    return [
        answer.items[0].item_id if isinstance(answer, Recommendation) and answer.items else ""
        for answer in answers
    ]


def _told(interval: Interval) -> str:
    return f"{interval.value:.4f} ({interval.low:.4f} to {interval.high:.4f})"


def _rounded(interval: Interval) -> list[float]:
    return [round(float(part), 6) for part in interval]
