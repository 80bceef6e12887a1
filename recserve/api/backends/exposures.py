"""Log of exposures: what answers showed to whom, written in the background."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from recserve.data.events.context import context_text, plain_part
from recserve.errors import RecserveError
from recserve.serving.pipeline import Pipeline
from recserve.serving.requests.request import Asked, Recommendation, Request
from recserve.store import ExposedItem, Exposure, Shown, Store
from recserve.telemetry.instruments import CONTEXTS_LOST, EXPOSURES, EXPOSURES_LOST
from recserve.telemetry.metrics import Metrics

logger = logging.getLogger(__name__)


class ExposureLog:
    """Log of exposures in a store. Its methods return at once: a good answer is worth more than its entry.

    Args:
        store: The store.
        metrics: Where exposures are counted.
    """

    def __init__(self, store: Store, metrics: Metrics) -> None:
        self._store = store
        self._metrics = metrics

    def shown(
        self, pipeline: Pipeline, served: Sequence[tuple[Request, Recommendation]], asked: Asked
    ) -> None:
        """Log what was shown to whom.

        Args:
            pipeline: The pipeline that answered.
            served: Requests and their answers.
            asked: When they were asked for.
        """
        counter = EXPOSURES
        try:
            shown = [self._exposure(request, answer, asked) for request, answer in served]
            self._store.add_exposures(shown, pipeline.context.impressions)
            pipeline.trials.shown([answer for _, answer in served])
        except RecserveError as error:
            logger.warning("answers were not logged: %s", error)
            counter = EXPOSURES_LOST
        for _, answer in served:
            self._metrics.count(counter, answer.scenario)

    def shadow(self, request: Request, answer: Recommendation, asked: Asked) -> None:
        """Log an answer that nobody was shown."""
        try:
            self._store.add_exposures([replace(self._exposure(request, answer, asked), shadow=True)])
        except RecserveError as error:
            logger.warning("a shadow answer was not logged: %s", error)

    def _exposure(self, request: Request, answer: Recommendation, asked: Asked) -> Exposure:
        exposure = _exposure(request, answer, asked)
        if not request.context:
            return exposure
        try:
            return replace(exposure, context=context_text(plain_part(request.context)))
        except ValueError:
            self._metrics.count(CONTEXTS_LOST, answer.scenario)
            return exposure


def _exposure(request: Request, answer: Recommendation, asked: Asked) -> Exposure:
    """What an answer showed to whom, for the store's log.

    Args:
        request: The request.
        answer: Its answer.
        asked: When it was asked for: somebody who was deleted since stays so.
    """
    items: tuple[Shown, ...] = answer.items
    if answer.teams or answer.propensities:
        teams = answer.teams or (None,) * len(answer.items)
        propensities = answer.propensities or (None,) * len(answer.items)
        items = tuple(
            ExposedItem(item.item_id, item.score, item.sources, team, propensity)
            for item, team, propensity in zip(answer.items, teams, propensities, strict=True)
        )
    return Exposure(
        recommendation_id=answer.recommendation_id,
        user_id=request.user_id,
        bundle=answer.bundle,
        scenario=answer.scenario,
        timestamp=asked.at,
        items=items,
        since=asked.deletions,
        experiment=answer.experiment,
        arm=answer.arm,
        degraded=answer.degraded,
    )
