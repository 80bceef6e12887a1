"""Serving state: everything of a bundle that a batch is served with, on one view of the catalogue."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from recserve.data.catalogue import Catalogue
from recserve.errors import RecserveError
from recserve.serving.guard.calls import PluginCall, PluginCalls
from recserve.serving.guard.failures import log_failure
from recserve.serving.scenario import ScenarioContext
from recserve.serving.stages.masks import FilterMasks
from recserve.serving.state.live_catalogue import CatalogueFollower, CatalogueView


@dataclass(frozen=True)
class ServingState:
    """What a batch is served with.

    Attributes:
        context: Built on the view's catalogue.
        masks: Of the context's filters.
        view: The catalogue, and what of it must not be returned.
    """

    context: ScenarioContext
    masks: FilterMasks
    view: CatalogueView


class ServingStates:
    """Holder of the latest serving state, built anew when the catalogue changes.

    Args:
        build: Builds the bundle's scenario context on a catalogue; runs code of plugins.
        live: Follows the catalogue.
        calls: How plugin code is called.
    """

    def __init__(
        self, build: Callable[[Catalogue], ScenarioContext], live: CatalogueFollower, calls: PluginCalls
    ) -> None:
        self._build = build
        self._live = live
        self._calls = calls
        self._building = threading.Lock()
        self._refused: Catalogue | None = None
        self.latest = self._made(live.view)
        """The state that was built last."""

    async def current(self) -> ServingState:
        """What serves the latest view; the state at hand where that cannot be built in time."""
        latest, view = self.latest, self._live.view
        if latest.view is view:
            return latest
        if latest.context.catalogue is not view.catalogue and view.catalogue is not self._refused:
            try:
                await self._calls.run(PluginCall.CATALOGUE, latest.context.bundle, self._catch_up)
            except RecserveError as error:
                # A plugin's rule cannot live with some new item; that must not stop the others.
                log_failure("scenarios on a catalogue with new items", error)
        # What must not be returned counts at once, whatever else has changed.
        self.latest = self._barring(self.latest, self._live.view)
        return self.latest

    def _catch_up(self) -> None:
        with self._building:
            view = self._live.view
            if self.latest.context.catalogue is view.catalogue or view.catalogue is self._refused:
                return
            try:
                self.latest = self._made(view)
            except BaseException:
                self._refused = view.catalogue
                raise

    def _made(self, view: CatalogueView) -> ServingState:
        context = self._build(view.catalogue)
        masks = FilterMasks(context.scenarios, len(context.catalogue), view.known)
        return ServingState(context, masks, view)

    def _barring(self, state: ServingState, view: CatalogueView) -> ServingState:
        """A state with what a view bars."""
        if state.view is view:
            return state
        if state.context.catalogue is view.catalogue:
            return replace(state, view=view)
        bars = self._live.bars(len(state.context.catalogue))
        return replace(state, view=replace(state.view, version=view.version, bars=bars))
