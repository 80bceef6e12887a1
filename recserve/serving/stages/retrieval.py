"""The retrieval stage: filters, retrievers, their merge, and what came after the bundle was trained.

Synchronous and batch-first. Deadlines of single retrievers are kept here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from recserve.config import nearest
from recserve.data.arrays import BoolArray, FloatArray, Int32Array
from recserve.data.batches import Candidates, Queries, Retrieved
from recserve.data.catalogue import Catalogue
from recserve.data.entities import now_ms
from recserve.errors import NotFoundError, RecserveError
from recserve.experiments.definition import Parameters
from recserve.plugin.protocols import MatchesWords, Retriever, RetrievesNewItems, RetrievesWrittenItems
from recserve.serving.guard.failures import as_stage_error, cause_of, log_failure
from recserve.serving.guard.results import check_retrieved
from recserve.serving.guard.workers import WorkerCall, WorkerPool
from recserve.serving.scenario import Scenario
from recserve.serving.stages.fusion import merge, top_up
from recserve.serving.stages.masks import FilterCall, FilterMasks
from recserve.serving.state.live_catalogue import CatalogueFollower, CatalogueView

NEW_ITEMS = 10
"""New items that every query gets as candidates where a scenario explores."""

NEW_ITEM_SOURCE = "new"

LOST = "retrieval"
"""Name of the loss when no retriever answered."""


Ask = Callable[[Retriever, Queries, int, CatalogueView | None], Retrieved]
"""Asks a retriever, as :func:`ask_retriever` does."""


@dataclass(frozen=True)
class RetrievalResult:
    """Merged candidates and what had to be left out.

    Attributes:
        candidates: Shape (B, K).
        degraded: Names such as ``retriever:mf`` of what failed or was late, and why.
    """

    candidates: Candidates
    degraded: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Guard:
    """Limits of the plugin code that retrieval calls.

    Attributes:
        pool: The threads.
        retriever_seconds: Deadline of all retrievers together.
        filter_seconds: Deadline of the filters of a batch.
    """

    pool: WorkerPool
    retriever_seconds: float
    filter_seconds: float


class RetrievalStage:
    """Filters, retrievers and their merge.

    Args:
        scenarios: By name, with retrievers and filters built.
        guard: Limits of retrievers and filters; without any they run in the caller's thread.
        live: What happened to the catalogue since; None where it stands still, as in training.
        refilter: Builds the scenarios' filters on another catalogue.
        ask: Asks a retriever; training remembers what it said for other scenarios.
    """

    def __init__(
        self,
        scenarios: Mapping[str, Scenario],
        guard: Guard | None = None,
        live: CatalogueFollower | None = None,
        refilter: Callable[[Catalogue], Mapping[str, Scenario]] | None = None,
        ask: Ask | None = None,
    ) -> None:
        self._scenarios = scenarios
        self._guard = guard
        self._live = live
        self._refilter = refilter
        self._ask = ask_retriever if ask is None else ask
        self._masks = FilterMasks(scenarios)
        self._later: tuple[Catalogue, FilterMasks] | None = None

    def retrieve(
        self, scenario: str, queries: Queries, n: int = 0, parameters: Parameters | None = None
    ) -> RetrievalResult:
        """Candidates of a batch.

        Args:
            scenario: Name of the scenario.
            queries: The batch.
            n: Items that will be asked for in the end; the budget is never smaller.
            parameters: Of the scenario, where an arm of an experiment changes some.

        Raises:
            NotFoundError: Unknown scenario.
        """
        return self.retrieve_parts(scenario, queries, n, parameters)[0]

    def retrieve_parts(
        self, scenario: str, queries: Queries, n: int = 0, parameters: Parameters | None = None
    ) -> tuple[RetrievalResult, Mapping[str, Retrieved]]:
        """Like :meth:`retrieve`, with what each retriever found before the merge, for evaluation."""
        chosen = self._scenario(scenario).with_parameters(parameters)
        view = None if self._live is None else self._live.newest(queries.live_version)
        queries, failed = self._filtered(scenario, queries, view)
        budget = max(chosen.config.budget, n)
        found: dict[str, Retrieved] = {}
        asked = {config.use: max(config.candidates, n) for config in chosen.config.retrievers}
        for name, outcome in self._run_all(scenario, queries, asked, view).items():
            if isinstance(outcome, Retrieved):
                found[name] = outcome
            else:
                log_failure(f"retriever:{name}", outcome)
                failed[f"retriever:{name}"] = cause_of(outcome)
        if not found:
            cause = next(reversed(failed.values()), "failed")
            return RetrievalResult(Candidates.empty(len(queries)), {**failed, LOST: cause}), found
        candidates = merge(words_alone(found, chosen, queries), fusion_weights(chosen, queries), budget)
        if view is not None and chosen.config.explore is not None:
            candidates, lost = self._with_new_items(scenario, queries, candidates, view)
            failed |= lost
        return RetrievalResult(candidates, failed), found

    def _filtered(
        self, scenario: str, queries: Queries, view: CatalogueView | None
    ) -> tuple[Queries, dict[str, str]]:
        """The batch with ``allowed`` set for all items of the view, and the filters that failed and why."""
        masks, served = self._masks, None
        if view is not None:
            queries, served = view.attach(queries), view.bars.served(now_ms())
            if self._later is None or self._later[0] is not view.catalogue:
                self._later = (view.catalogue, self._masks_on(view))
            masks = self._later[1]
        by_query = [masks.calls(scenario, arguments) for arguments in queries.filters]
        outcomes = self._masks_of(masks, {call for calls in by_query for call in calls})
        joint = [masks.joint(calls, [outcomes[call] for call in calls]) for calls in by_query]
        failed = {name: cause for mask in joint for name, cause in mask.failed.items()}
        return queries.with_allowed(tuple(mask.within(served) for mask in joint)), failed

    def _masks_of(
        self, masks: FilterMasks, calls: set[FilterCall]
    ) -> dict[FilterCall, BoolArray | RecserveError | None]:
        """The mask of each filter and argument, or why there is none."""
        found = {call: masks.cached(call) for call in calls}
        missing = [call for call, at in found.items() if at is None]
        outcomes: dict[FilterCall, BoolArray | RecserveError | None] = {
            call: at[0] for call, at in found.items() if at is not None
        }
        if self._guard is None:
            return outcomes | {call: masks.compute(call) for call in missing}
        computed = self._guard.pool.run_all(
            [WorkerCall(f"filter:{call.name}@{call.scenario}", masks.compute, (call,)) for call in missing],
            self._guard.filter_seconds,
        )
        return outcomes | dict(zip(missing, computed, strict=True))

    def _masks_on(self, view: CatalogueView) -> FilterMasks:
        scenarios = self._scenarios
        if self._refilter is not None:
            try:
                scenarios = self._refilter(view.catalogue)
            except Exception as error:
                # The filters at hand go on; what they do not know they do not allow.
                log_failure("filters on a catalogue with new items", error)
        return FilterMasks(scenarios, len(view.catalogue), view.known)

    def _with_new_items(
        self, scenario: str, queries: Queries, candidates: Candidates, view: CatalogueView
    ) -> tuple[Candidates, dict[str, str]]:
        """Some new items for everybody, below all else, for exploration to choose from."""
        new = np.flatnonzero(view.encoded)
        rows, vectors = (new + view.known).astype(np.int32), view.vectors[new]
        for name, retriever in self._scenarios[scenario].retrievers.items():
            if isinstance(retriever, RetrievesNewItems) and len(rows):
                lane = f"retriever:{name}@{scenario}"
                (fresh,) = self._call_all(
                    [WorkerCall(lane, _retrieve_new, (retriever, queries, rows, vectors, NEW_ITEMS, view))]
                )
                if not isinstance(fresh, Retrieved):
                    log_failure(f"retriever:{name}", fresh)
                    return candidates, {f"retriever:{name}": cause_of(fresh)}
                wanted = candidates.items.shape[1] + NEW_ITEMS
                return top_up(candidates, fresh, NEW_ITEM_SOURCE, wanted), {}
        return candidates, {}

    def _run_all(
        self, scenario: str, queries: Queries, asked: Mapping[str, int], view: CatalogueView | None
    ) -> dict[str, Retrieved | RecserveError]:
        retrievers = self._scenarios[scenario].retrievers
        calls = [
            WorkerCall(f"retriever:{name}@{scenario}", self._ask, (retrievers[name], queries, k, view))
            for name, k in asked.items()
        ]
        return dict(zip(asked, self._call_all(calls), strict=True))

    def _call_all(self, calls: Sequence[WorkerCall[Retrieved]]) -> list[Retrieved | RecserveError]:
        """Call retrievers side by side; one that fails or is late is left out, not fatal."""
        if self._guard is not None:
            return self._guard.pool.run_all(calls, self._guard.retriever_seconds)
        outcomes: list[Retrieved | RecserveError] = []
        for call in calls:
            try:
                outcomes.append(call.function(*call.arguments))
            except Exception as error:
                outcomes.append(as_stage_error(error))
        return outcomes

    def _scenario(self, name: str) -> Scenario:
        try:
            return self._scenarios[name]
        except KeyError:
            raise NotFoundError(
                f"unknown scenario {name!r}{nearest(name, self._scenarios)}", field="scenario"
            ) from None


def fusion_weights(scenario: Scenario, queries: Queries) -> dict[str, float | FloatArray]:
    """Weight of each retriever: as configured, or as training chose for queries that go by history alone."""
    configured = {config.use: config.weight for config in scenario.config.retrievers}
    chosen = None if scenario.order is None else scenario.order.weights
    if not chosen:
        return dict(configured)
    plain = queries.plain
    return {
        name: np.where(plain, chosen.get(name, weight), weight).astype(np.float32)
        for name, weight in configured.items()
    }


def words_alone(
    found: Mapping[str, Retrieved], scenario: Scenario, queries: Queries
) -> Mapping[str, Retrieved]:
    """What was found, that of lexical retrievers alone where they answer a text the encoder did not read.

    What goes by the history has nothing to do with what somebody looks for.
    """
    unread = queries.unread
    if not unread.any():
        return found
    lexical = {name for name in found if isinstance(scenario.retrievers[name], MatchesWords)}
    matched = np.zeros(len(queries), dtype=np.bool_)
    for name in lexical:
        matched |= (found[name].items >= 0).any(axis=1)
    answered = unread & matched
    return {name: one if name in lexical else silenced(one, answered) for name, one in found.items()}


def silenced(found: Retrieved, queries: BoolArray) -> Retrieved:
    """What was found without anything for some queries, bool, shape (B,)."""
    gone = queries[:, None]
    return Retrieved(
        items=np.where(gone, np.int32(-1), found.items),
        scores=np.where(gone, np.float32(-np.inf), found.scores),
        evidence=np.where(gone, np.int32(-1), found.evidence),
    )


def ask_retriever(
    retriever: Retriever, queries: Queries, k: int, view: CatalogueView | None = None
) -> Retrieved:
    """What a retriever finds in the bundle, and among what was written or has a vector of its own since.

    Args:
        retriever: The retriever.
        queries: The batch, with what filters allow.
        k: Items asked of it.
        view: What happened to the catalogue since; None where it stands still.

    Raises:
        StageError: The retriever broke its contract.
    """
    if view is None:
        return check_retrieved(retriever.retrieve(queries, k), len(queries), k)
    allowed = tuple(None if mask is None else mask[: view.known] for mask in queries.allowed)
    found = retriever.retrieve(queries.with_allowed(allowed), k)
    found = check_retrieved(found, len(queries), k, view.known)
    if isinstance(retriever, (MatchesWords, RetrievesWrittenItems)):
        rows = view.written_rows()
        if not len(rows):
            return found
        written = _retrieve_written(retriever, queries, rows, k, view)
        return best_of(without(found, view.rewritten), written, k)
    rows, vectors = view.encoded_rows()
    if not len(rows) or not isinstance(retriever, RetrievesNewItems):
        return found
    return best_of(without(found, view.changed), _retrieve_new(retriever, queries, rows, vectors, k, view), k)


def _retrieve_new(
    retriever: RetrievesNewItems,
    queries: Queries,
    rows: Int32Array,
    vectors: FloatArray,
    k: int,
    view: CatalogueView,
) -> Retrieved:
    """What a retriever finds among items that came or changed after the bundle was trained."""
    found = retriever.retrieve_among(queries, rows, vectors, k)
    return check_retrieved(found, len(queries), k, view.known + len(view.vectors))


def _retrieve_written(
    retriever: MatchesWords | RetrievesWrittenItems,
    queries: Queries,
    rows: Int32Array,
    k: int,
    view: CatalogueView,
) -> Retrieved:
    """What is found by words or attributes of items that came or changed after the bundle was trained."""
    if isinstance(retriever, MatchesWords):
        found = retriever.match_words(queries, rows, view.catalogue, k)
    else:
        found = retriever.retrieve_written(queries, rows, view.catalogue, k)
    return check_retrieved(found, len(queries), k, len(view.catalogue))


def without(found: Retrieved, rows: Int32Array) -> Retrieved:
    """What was found but for some rows, pads at the end."""
    gone = np.isin(found.items, rows)
    if not gone.any():
        return found
    scores = np.where(gone, np.float32(-np.inf), found.scores)
    order = np.argsort(gone, axis=1, kind="stable")
    items = np.where(gone, np.int32(-1), found.items)
    return Retrieved(
        items=np.take_along_axis(items, order, axis=1),
        scores=np.take_along_axis(scores, order, axis=1),
        evidence=np.take_along_axis(found.evidence, order, axis=1),
    )


def best_of(first: Retrieved, second: Retrieved, k: int) -> Retrieved:
    """The k best of two answers of one retriever that have no item in common, best first."""
    items = np.concatenate([first.items, second.items], axis=1)
    scores = np.concatenate([first.scores, second.scores], axis=1)
    evidence = np.concatenate([first.evidence, second.evidence], axis=1)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return Retrieved(
        items=np.take_along_axis(items, order, axis=1),
        scores=np.take_along_axis(scores, order, axis=1),
        evidence=np.take_along_axis(evidence, order, axis=1),
    )
