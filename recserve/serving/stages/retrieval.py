"""The retrieval stage: filters, retrievers, their merge, and what came after the bundle was trained.

Synchronous and batch-first. Deadlines of single retrievers are kept here.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import lru_cache
from threading import BoundedSemaphore
from typing import Any

import numpy as np

from recserve.config import nearest
from recserve.data.arrays import BoolArray, Int32Array
from recserve.data.batches import Candidates, Queries, Retrieved
from recserve.data.catalogue import Catalogue
from recserve.data.entities import now_ms
from recserve.errors import NotFoundError, StageError
from recserve.plugin.protocols import ExpiringFilter, Retriever, RetrievesNewItems
from recserve.serving.scenario import Scenario
from recserve.serving.stages.fusion import merge, top_up
from recserve.serving.state.live_catalogue import CatalogueFollower, CatalogueView

logger = logging.getLogger(__name__)

NEW_ITEMS = 10
"""New items that every query gets as candidates where a scenario explores."""

NEW_ITEM_SOURCE = "new"

# Of a million items a mask takes a megabyte.
_MOST_MASKS = 256
_FEWEST_MASKS = 16
_MASK_BYTES = 32_000_000


@dataclass(frozen=True)
class RetrievalResult:
    """Merged candidates and what had to be left out.

    Attributes:
        candidates: Shape (B, K).
        degraded: Names such as ``retriever:mf`` of what failed or was late.
    """

    candidates: Candidates
    degraded: tuple[str, ...] = ()


class FilterMasks:
    """Joint masks of a scenario's filters, cached by argument, and no longer than a filter's ``ttl_seconds``.

    Args:
        scenarios: By name, with filters built.
        size: Items that masks cover; None for as many as a filter knows. What a filter does not know (a
            trained one, of new items) it does not allow.
    """

    def __init__(self, scenarios: Mapping[str, Scenario], size: int | None = None) -> None:
        self._scenarios = scenarios
        self._size = size
        self._mask = lru_cache(maxsize=kept_masks(size or 0))(self._compute)

    def allowed(self, scenario: str, arguments: Mapping[str, Any]) -> BoolArray | None:
        """Which items every filter of the scenario allows, bool (n_items,); None for all.

        Raises:
            InvalidRequestError: A filter refuses its argument.
        """
        masks = []
        for name in self._scenarios[scenario].filters:
            argument = arguments.get(name)
            mask = self._current(scenario, name, None if argument is None else json.dumps(argument))
            if mask is not None:
                masks.append(mask)
        if len(masks) < 2:
            return masks[0] if masks else None
        return np.asarray(np.logical_and.reduce(masks))

    def apply(self, scenario: str, queries: Queries, served: BoolArray | None = None) -> Queries:
        """The batch with ``allowed`` set from its ``filters`` and from what is served at all."""
        masks = [self.allowed(scenario, one) for one in queries.filters]
        if served is not None:
            masks = [served if mask is None else mask & served for mask in masks]
        return queries.with_allowed(tuple(masks))

    def _current(self, scenario: str, name: str, argument: str | None) -> BoolArray | None:
        """A mask that is not older than the filter says it may be."""
        chosen = self._scenarios[scenario].filters[name]
        if not isinstance(chosen, ExpiringFilter):
            return self._mask(scenario, name, argument, 0)
        ttl = chosen.ttl_seconds
        if ttl <= 0:
            return self._compute(scenario, name, argument, 0)
        return self._mask(scenario, name, argument, int(time.monotonic() / ttl))

    def _compute(self, scenario: str, name: str, argument: str | None, period: int) -> BoolArray | None:
        """The mask; ``period`` only tells the cache one stretch of time from the next."""
        value = None if argument is None else json.loads(argument)
        mask = self._scenarios[scenario].filters[name].allowed(value)
        if mask is None or self._size is None or len(mask) == self._size:
            return mask
        return np.pad(mask, (0, self._size - len(mask)))


def kept_masks(size: int) -> int:
    """How many masks of so many items a scenario's filters keep."""
    return min(_MOST_MASKS, max(_FEWEST_MASKS, _MASK_BYTES // max(size, 1)))


class RetrievalStage:
    """Filters, retrievers and their merge.

    Args:
        scenarios: By name, with retrievers and filters built.
        deadline: Seconds a retriever may take; a later one is left out.
        threads: Retrievers that run at the same time.
        live: What happened to the catalogue since; None where it stands still, as in training.
        refilter: Builds the scenarios' filters on another catalogue.
    """

    def __init__(
        self,
        scenarios: Mapping[str, Scenario],
        deadline: float | None = None,
        threads: int = 1,
        live: CatalogueFollower | None = None,
        refilter: Callable[[Catalogue], Mapping[str, Scenario]] | None = None,
    ) -> None:
        self._scenarios = scenarios
        self._live = live
        self._refilter = refilter
        self._masks = FilterMasks(scenarios)
        self._later: tuple[Catalogue, FilterMasks] | None = None
        self._deadline = deadline
        self._lanes: dict[int, _Lane] = {}
        if deadline is not None:
            for scenario in scenarios.values():
                for retriever in scenario.retrievers.values():
                    self._lanes.setdefault(id(retriever), _Lane(retriever, threads))

    def retrieve(self, scenario: str, queries: Queries, n: int = 0) -> RetrievalResult:
        """Candidates of a batch.

        Args:
            scenario: Name of the scenario.
            queries: The batch.
            n: Items that will be asked for in the end; the budget is never smaller.

        Raises:
            NotFoundError: Unknown scenario.
            StageError: Every retriever failed.
        """
        return self.retrieve_parts(scenario, queries, n)[0]

    def retrieve_parts(
        self, scenario: str, queries: Queries, n: int = 0
    ) -> tuple[RetrievalResult, Mapping[str, Retrieved]]:
        """Like :meth:`retrieve`, with what each retriever found before the merge, for evaluation."""
        chosen = self._scenario(scenario)
        view = None if self._live is None else self._live.newest(queries.live_version)
        if view is None:
            queries = self._masks.apply(scenario, queries)
        else:
            queries = self._filtered(scenario, view.attach(queries), view)
        budget = max(chosen.config.budget, n)
        found: dict[str, Retrieved] = {}
        failed: list[str] = []
        asked = {one.use: max(one.candidates, n) for one in chosen.config.retrievers}
        for name, outcome in self._run_all(chosen, queries, asked, view).items():
            if isinstance(outcome, Retrieved):
                found[name] = outcome
            else:
                logger.warning("retriever %s left out: %s", name, outcome)
                failed.append(f"retriever:{name}")
        if not found:
            raise StageError("no retriever answered")
        weights = {one.use: one.weight for one in chosen.config.retrievers}
        candidates = merge(found, weights, budget)
        if view is not None and chosen.config.explore is not None:
            candidates = self._with_new_items(chosen, queries, candidates, view)
        return RetrievalResult(candidates, tuple(failed)), found

    def _filtered(self, scenario: str, queries: Queries, view: CatalogueView) -> Queries:
        """The batch with ``allowed`` set for all items of the view."""
        later = self._later
        if later is None or later[0] is not view.catalogue:
            later = self._later = (view.catalogue, self._masks_on(view.catalogue))
        return later[1].apply(scenario, queries, view.bars.served(now_ms()))

    def _masks_on(self, catalogue: Catalogue) -> FilterMasks:
        scenarios = self._scenarios
        if self._refilter is not None:
            try:
                scenarios = self._refilter(catalogue)
            except Exception:
                # The filters at hand go on; what they do not know they do not allow.
                logger.exception("filters cannot be built with new items")
        return FilterMasks(scenarios, len(catalogue))

    def _with_new_items(
        self, scenario: Scenario, queries: Queries, candidates: Candidates, view: CatalogueView
    ) -> Candidates:
        """Some new items for everybody, below all else, for exploration to choose from."""
        new = np.flatnonzero(view.encoded)
        rows, vectors = (new + view.known).astype(np.int32), view.vectors[new]
        for retriever in scenario.retrievers.values():
            if isinstance(retriever, RetrievesNewItems) and len(rows):
                try:
                    fresh = retriever.retrieve_among(queries, rows, vectors, NEW_ITEMS)
                except Exception:
                    logger.exception("no new items to explore")
                    return candidates
                wanted = candidates.items.shape[1] + NEW_ITEMS
                return top_up(candidates, fresh, NEW_ITEM_SOURCE, wanted)
        return candidates

    def _run_all(
        self, scenario: Scenario, queries: Queries, asked: Mapping[str, int], view: CatalogueView | None
    ) -> dict[str, Retrieved | Exception]:
        if self._deadline is None:
            return {
                name: _guarded(retriever, queries, asked[name], view)
                for name, retriever in scenario.retrievers.items()
            }
        futures = {
            name: self._lanes[id(retriever)].submit(queries, asked[name], view)
            for name, retriever in scenario.retrievers.items()
        }
        done, _ = wait(futures.values(), timeout=self._deadline)
        late = TimeoutError(f"later than {self._deadline} s")
        return {name: future.result() if future in done else late for name, future in futures.items()}

    def _scenario(self, name: str) -> Scenario:
        try:
            return self._scenarios[name]
        except KeyError:
            raise NotFoundError(
                f"unknown scenario {name!r}{nearest(name, self._scenarios)}", field="scenario"
            ) from None


class _Lane:
    """Threads of one retriever: a hung one must not block its neighbours, nor pile up work for ever.

    Args:
        retriever: The retriever.
        threads: Calls that run at the same time; a bounded number more may wait.
    """

    def __init__(self, retriever: Retriever, threads: int) -> None:
        self._retriever = retriever
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="retriever")
        self._places = BoundedSemaphore(16 * threads)

    def submit(self, queries: Queries, k: int, view: CatalogueView | None) -> Future[Retrieved | Exception]:
        """Start a call; one that finds no place is answered at once with why."""
        if not self._places.acquire(blocking=False):
            refused: Future[Retrieved | Exception] = Future()
            refused.set_result(TimeoutError("earlier calls have not come back"))
            return refused
        future = self._pool.submit(_guarded, self._retriever, queries, k, view)
        future.add_done_callback(lambda _: self._places.release())
        return future


def _guarded(
    retriever: Retriever, queries: Queries, k: int, view: CatalogueView | None
) -> Retrieved | Exception:
    """One retriever's answer, or what it raised: a failing retriever is left out, not fatal."""
    try:
        return retriever.retrieve(queries, k) if view is None else _retrieve_live(retriever, queries, k, view)
    except Exception as error:
        return error


def _retrieve_live(retriever: Retriever, queries: Queries, k: int, view: CatalogueView) -> Retrieved:
    """What a retriever finds in the bundle, and among what has a vector of its own since."""
    allowed = tuple(None if mask is None else mask[: view.known] for mask in queries.allowed)
    found = retriever.retrieve(queries.with_allowed(allowed), k)
    rows, vectors = view.encoded_rows()
    if not len(rows) or not isinstance(retriever, RetrievesNewItems):
        return found
    return best_of(without(found, view.changed), retriever.retrieve_among(queries, rows, vectors, k), k)


def without(found: Retrieved, rows: Int32Array) -> Retrieved:
    """What was found but for some rows, pads at the end."""
    gone = np.isin(found.items, rows)
    if not gone.any():
        return found
    scores = np.where(gone, np.float32(-np.inf), found.scores)
    order = np.argsort(gone, axis=1, kind="stable")
    items = np.where(gone, np.int32(-1), found.items)
    return Retrieved(*(np.take_along_axis(one, order, axis=1) for one in (items, scores, found.evidence)))


def best_of(first: Retrieved, second: Retrieved, k: int) -> Retrieved:
    """The k best of two answers of one retriever that have no item in common, best first."""
    items = np.concatenate([first.items, second.items], axis=1)
    scores = np.concatenate([first.scores, second.scores], axis=1)
    seeds = np.concatenate([first.evidence, second.evidence], axis=1)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return Retrieved(*(np.take_along_axis(one, order, axis=1) for one in (items, scores, seeds)))
