"""Everything of a bundle that one batch is served with, on one view of the catalogue."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from recserve.data.catalogue import Catalogue
from recserve.serving.scenario import ScenarioContext
from recserve.serving.stages.retrieval import FilterMasks
from recserve.serving.state.live_catalogue import CatalogueFollower, CatalogueView

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ServingState:
    """What a batch is served with.

    Attributes:
        edge: Built on the view's catalogue.
        masks: Of the edge's filters.
        view: The catalogue, and what of it must not be returned.
    """

    edge: ScenarioContext
    masks: FilterMasks
    view: CatalogueView


class ServingStates:
    """Builds the serving state anew when the catalogue changes, and keeps the last that could be.

    Args:
        build: Builds the bundle's scenario context on a catalogue.
        live: Follows the catalogue.
    """

    def __init__(self, build: Callable[[Catalogue], ScenarioContext], live: CatalogueFollower) -> None:
        self._build = build
        self._live = live
        self._building = threading.Lock()
        self._refused: Catalogue | None = None
        self.latest = self._made(live.view)
        """The state that was built last."""

    async def current(self) -> ServingState:
        """What serves the latest view; built anew, in a thread, when the catalogue changed."""
        now, view = self.latest, self._live.view
        if now.view is view:
            return now
        if now.edge.catalogue is view.catalogue or view.catalogue is self._refused:
            # Only what is barred has changed.
            self.latest = self._barring(now, view)
            return self.latest
        return await asyncio.to_thread(self._catch_up)

    def _catch_up(self) -> ServingState:
        with self._building:
            view = self._live.view
            if self.latest.edge.catalogue is not view.catalogue and view.catalogue is not self._refused:
                try:
                    self.latest = self._made(view)
                except Exception:
                    # A plugin's rule cannot live with some new item; that must not stop the others.
                    logger.exception("new items are not served: the edge cannot be built with them")
                    self._refused = view.catalogue
            self.latest = self._barring(self.latest, view)
            return self.latest

    def _made(self, view: CatalogueView) -> ServingState:
        edge = self._build(view.catalogue)
        return ServingState(edge, FilterMasks(edge.scenarios, len(edge.catalogue)), view)

    def _barring(self, now: ServingState, view: CatalogueView) -> ServingState:
        """The edge at hand with what a view bars."""
        if now.edge.catalogue is view.catalogue:
            return replace(now, view=view)
        held = replace(now.view, version=view.version, bars=self._live.bars(len(now.edge.catalogue)))
        return replace(now, view=held)
