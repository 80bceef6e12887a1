"""Pipeline: the life of a request on one page, from external ids to items with explanations.

It lives in the ingress: it reads the users' states, calls the stages through a :class:`StageClient` (direct
calls or Serve handles), and degrades instead of failing. It is pinned to one bundle, and follows what happens
to the catalogue while it serves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from recserve.data.catalogue import Catalogue
from recserve.errors import NotFoundError, RecserveError
from recserve.serving.guard.calls import GuardedCalls, PluginCalls
from recserve.serving.guard.failures import log_failure
from recserve.serving.requests.audience import AudienceFinder
from recserve.serving.requests.batch import (
    Outcome,
    PendingRequest,
    Result,
    Snapshot,
    StageGroup,
    given_candidates,
    share_stages,
)
from recserve.serving.requests.checking import check_request
from recserve.serving.requests.preparation import Preparer
from recserve.serving.requests.queries import build_queries
from recserve.serving.requests.request import Asked, Recommendation, Request
from recserve.serving.requests.texts import TextEncoder
from recserve.serving.scenario import ScenarioContext
from recserve.serving.stage_client import StageClient
from recserve.serving.stages.explanations import Page
from recserve.serving.stages.run import Exploration, Seen, StageBatch, run_stages
from recserve.serving.stages.trace import Trace
from recserve.serving.state.history_reader import Reading, ServingStore, StoreReader
from recserve.serving.state.item_encoding import NewItemEncoder
from recserve.serving.state.live_catalogue import CatalogueFollower
from recserve.serving.state.result_cache import ResultCache
from recserve.serving.state.serving_state import ServingState, ServingStates
from recserve.serving.state.trials import TrialRecorder
from recserve.serving.state.user_cache import UserState
from recserve.telemetry.metrics import Metrics
from recserve.telemetry.requests import enter, together
from recserve.telemetry.tracing import span


class Pipeline:
    """Recommender over one bundle, for batches of requests.

    Args:
        build: Builds the bundle's scenario context on its catalogue, or on what became of it.
        reader: Reads users' states and follows the catalogue.
        client: How stages are reached.
        cache: Answers that are given again; None keeps none. Pipelines of one process may share it.
        calls: How plugin code of this process is called.
        rng: Where exploration's draws come from.
        metrics: Where the steps of batches are counted.
    """

    def __init__(
        self,
        build: Callable[[Catalogue], ScenarioContext],
        reader: StoreReader,
        client: StageClient,
        *,
        cache: ResultCache | None = None,
        calls: PluginCalls | None = None,
        rng: np.random.Generator | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self.client = client
        self.reader = reader
        self.cache = cache or ResultCache()
        self.rng = rng or np.random.default_rng()
        self._calls = calls or GuardedCalls()
        self._metrics = metrics
        self._states = ServingStates(build, reader.live, self._calls)
        self._preparer = Preparer(self._calls)
        self.items = NewItemEncoder(self._states, reader.live, reader.store, client, self._calls)
        self.texts = TextEncoder(self._states, reader, client, metrics)
        self.audiences = AudienceFinder(self._states, client, self.texts)
        self.trials = TrialRecorder(reader.store, reader.live, self.context.event_types)
        reader.users.tell(self.cache)

    @property
    def store(self) -> ServingStore:
        """The store that is read."""
        return self.reader.store

    @property
    def live(self) -> CatalogueFollower:
        """What happened to the catalogue since the bundle was trained."""
        return self.reader.live

    @property
    def context(self) -> ScenarioContext:
        """The scenario context of the latest catalogue."""
        return self._states.latest.context

    async def recommend(self, requests: Sequence[Request]) -> list[Result]:
        """Answer a batch; a wrong request gets its error, the others their recommendation.

        Never raises for a dependency: a failed stage is named in ``degraded``.
        """
        _, recalled = await self.recall(requests)
        pending = [outcome.pending for outcome in recalled if outcome.pending is not None]
        computed = iter(await self.compute(pending))
        return [next(computed) if outcome.result is None else outcome.result for outcome in recalled]

    # ---- Recall: what needs no stage -------------------------------------------------------------------

    async def recall(self, requests: Sequence[Request]) -> tuple[Asked, list[Outcome]]:
        """Check requests, read the users' states, and look for cached answers.

        Returns:
            When that was, and for each request its error, its cached answer, or what :meth:`compute` goes
            on with.
        """
        enter(together([request.origin for request in requests]))
        trace, forgotten = Trace(self._metrics), self.cache.forgotten
        checked = [check_request(request, self.context) for request in requests]
        good = [
            (request, scenario)
            for request, scenario in zip(requests, checked, strict=True)
            if isinstance(scenario, str)
        ]
        with trace.stage("history", span_name="store"):
            reading = await self._read(good)
        current = await self._states.current()
        snapshot = Snapshot(reading, current.view, forgotten, trace)
        return snapshot.asked, [
            Outcome(scenario)
            if isinstance(scenario, RecserveError)
            else self._look_up(request, scenario, current, snapshot)
            for request, scenario in zip(requests, checked, strict=True)
        ]

    async def _read(self, asked: Sequence[tuple[Request, str]]) -> Reading:
        """States of all users at once, and the catalogue as it is now.

        Args:
            asked: Requests, and the names of the scenarios that they ask.
        """
        users = dict.fromkeys(request.user_id for request, _ in asked if request.user_id is not None)
        context = self.context
        exploring = any(
            context.scenario(name, request.arm).config.explore is not None for request, name in asked
        )
        return await self.reader.read(list(users), trials=exploring)

    def _look_up(self, request: Request, scenario: str, current: ServingState, snapshot: Snapshot) -> Outcome:
        """The cached answer, if it still holds."""
        reading, context = snapshot.reading, current.context
        state, key = reading.state(request.user_id), None
        # Each answer that a user sees changes the next, and a cached one would be shown beyond its cap.
        counted = request.user_id is not None and context.reads_impressions(scenario, request.rules)
        if not reading.store_unavailable and not counted:
            chosen = context.scenario(scenario, request.arm)
            key = self.cache.key(context.bundle, scenario, chosen, request, state.history, state.user)
        cached = self.cache.get(key, current.view, snapshot.trace.now)
        if cached is None:
            return Outcome(pending=PendingRequest(request, scenario, state, key, snapshot))
        return Outcome(
            Recommendation.of(
                scenario=scenario,
                items=cached.items,
                bundle=context.bundle,
                degraded={},
                timings=snapshot.trace.timings(),
                left_out=cached.left_out,
                arm=request.arm,
            )
        )

    # ---- Prepare: filters and rules of one request -----------------------------------------------------

    async def prepare(self, pending: PendingRequest) -> Outcome:
        """Have plugins read a request's filters and rules, by itself: a slow one holds up nobody else."""
        return await self._preparer.prepare(pending, await self._states.current())

    # ---- Compute: what the stages make -----------------------------------------------------------------

    async def compute(self, pending: Sequence[PendingRequest]) -> list[Result]:
        """Have the stages answer, and cache what they said.

        Args:
            pending: What :meth:`recall` of this pipeline could not answer, in one batch or in several.
        """
        if not pending:
            return []
        current = await self._states.current()
        prepared = [await self._preparer.prepare(waiting, current) for waiting in pending]
        groups = share_stages(outcome.pending for outcome in prepared if outcome.pending is not None)
        answered = await asyncio.gather(*(self._answer_group(group, current) for group in groups))
        results = {waiting: result for group in answered for waiting, result in group.items()}
        return [
            _final(outcome) if outcome.pending is None else results[outcome.pending] for outcome in prepared
        ]

    async def _answer_group(
        self, group: StageGroup, current: ServingState
    ) -> Mapping[PendingRequest, Result]:
        """The results of a group; where the whole fails, each request gets a result of its own."""
        enter(together([waiting.request.origin for same in group.duplicates for waiting in same]))
        try:
            with span("batch", queries=len(group.duplicates)):
                results = await self._answer(group.distinct, current)
        except Exception as error:
            log_failure("pipeline", error)
            if len(group.duplicates) == 1:
                failure = RecserveError(f"this request cannot be answered ({type(error).__name__})")
                return dict.fromkeys(group.duplicates[0], failure)
            return {
                waiting: result
                for alone in group.alone()
                for waiting, result in (await self._answer_group(alone, current)).items()
            }
        return {
            waiting: result if waiting is same[0] else _another(result)
            for same, result in zip(group.duplicates, results, strict=True)
            for waiting in same
        }

    async def _answer(self, pending: Sequence[PendingRequest], current: ServingState) -> list[Result]:
        """Build queries, encode their texts, run the stages, explain, and cache the answers."""
        context, view = current.context, current.view
        first, newest = pending[0], pending[-1]
        trace = first.snapshot.trace.resumed()
        if first.snapshot.reading.store_unavailable:
            trace.left_out({"store": "store"})
        arm = first.request.arm
        scenario = context.scenario(first.scenario, arm)
        requests = [waiting.request for waiting in pending]
        given = requests[0].items is not None
        # Who brings items along has chosen them, seen or not.
        usual: Seen = "allow" if given else scenario.config.seen
        seen = [request.seen or usual for request in requests]

        states = [self._with_rows(waiting, current) for waiting in pending]
        built = build_queries(
            requests,
            view,
            context.event_types,
            states,
            context.cold_start,
            now=trace.now,
            seen=seen,
            impressions=context.reads_impressions(first.scenario, first.request.rules),
            # Seen or not, and however often.
            cap=None if given else scenario.config.frequency_cap,
        )
        built = await self.texts.encoded(built, states, context, trace)
        queries = built.base
        prepared = [waiting.prepared for waiting in pending if waiting.prepared is not None]
        served = view.bars.served(trace.now)
        allowed = [wishes.mask.within(served) for wishes in prepared]
        candidates = None
        left_out: list[tuple[str, ...]] = [()] * len(requests)
        if given:
            candidates, left_out = given_candidates(requests, queries, allowed, context)
        exploration = None
        if scenario.config.explore is not None and not given:
            exploration = Exploration(scenario.config.explore, newest.snapshot.reading.trials, self.rng)
        batch = StageBatch(
            name=first.scenario,
            bundle=context.bundle,
            config=scenario.config,
            rerankers=prepared[0].rerankers,
            fallback=context.fallbacks[first.scenario],
            allowed=allowed,
            view=view,
            served=served,
            queries=queries,
            counts=np.array([request.n for request in requests], dtype=np.int64),
            seen=seen,
            given=candidates,
            exploration=exploration,
            parameters=None if arm is None else arm.parameters,
        )
        staged = await run_stages(batch, self.client, self._calls, trace)

        with trace.stage("explaining"):
            page = Page.of(requests, built, staged.page, context.catalogue, scenario.config.language)
            explainer = context.explainers[first.scenario]
            items = page.answers(await page.sentences(explainer, self._calls, first.scenario, trace))
        unread = queries.unread
        timings = trace.timings()
        results: list[Result] = []
        for index, waiting in enumerate(pending):
            if built.missing[index] is not None:
                results.append(NotFoundError(f"unknown item {built.missing[index]!r}", field="item_id"))
                continue
            answer = Recommendation.of(
                scenario=waiting.scenario,
                items=items[index],
                bundle=context.bundle,
                degraded=trace.of_answer(
                    bool(queries.texts[index] or states[index].texts), bool(unread[index])
                ),
                timings=timings,
                left_out=left_out[index],
                propensities=staged.propensities_of(index, len(items[index])),
                arm=waiting.request.arm,
            )
            if not answer.degraded:
                forgotten = waiting.snapshot.forgotten
                self.cache.put(waiting.key, view, trace.now, scenario, answer, forgotten)
            results.append(answer)
        return results

    def _with_rows(self, pending: PendingRequest, current: ServingState) -> UserState:
        """The user's state with catalogue rows, which the user cache keeps for the next request."""
        state = pending.state.resolved(current.view, current.context.event_types)
        if state is not pending.state and pending.request.user_id is not None:
            self.reader.users.advance(pending.request.user_id, pending.state, state)
        return state

    def forget(self, user_key: bytes) -> None:
        """Forget a user who was deleted, given as the digest of the id; other processes follow the store."""
        self.reader.users.forget(user_key)


def _final(outcome: Outcome) -> Result:
    """The result of an outcome that has one."""
    assert outcome.result is not None
    return outcome.result


def _another(result: Result) -> Result:
    """The same result for another request that asked the same."""
    return result.again() if isinstance(result, Recommendation) else result
