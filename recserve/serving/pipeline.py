"""Runs batches of requests through the graph and degrades instead of failing.

The pipeline lives at the edge: it turns external ids into rows, loads histories, calls the stages through
a :class:`StageClient` (direct calls or Serve handles), and puts the answers into words. It is pinned to one
bundle, and follows what happens to the catalogue while it serves.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
from pydantic import ValidationError

from recserve.config import nearest
from recserve.data.arrays import FloatArray
from recserve.data.catalogue import Catalogue
from recserve.data.entities import Event, Item
from recserve.errors import InvalidRequestError, NotFoundError, RecserveError
from recserve.serving.batch import Asked, Batch, Clock, PendingRequest, Snapshot, _again, _together
from recserve.serving.request import Recommendation, Request
from recserve.serving.scenario import ScenarioContext
from recserve.serving.stage_client import StageClient, with_deadline
from recserve.serving.state.history_reader import Reading, ServingStore, StoreReader
from recserve.serving.state.live_catalogue import CatalogueFollower
from recserve.serving.state.result_cache import ResultCache
from recserve.serving.state.serving_state import ServingState, ServingStates
from recserve.store import ItemVectors

logger = logging.getLogger(__name__)


ENCODED_AT_ONCE = 64
"""Items whose vectors are waited for before they are stored; more are encoded in the background."""


class Pipeline:
    """Serves batches of requests from one bundle.

    Args:
        build: Builds the bundle's edge on its catalogue, or on what became of it.
        reader: Reads histories and follows the catalogue.
        client: How stages are reached.
        rng: Where exploration's draws come from.
    """

    def __init__(
        self,
        build: Callable[[Catalogue], ScenarioContext],
        reader: StoreReader,
        client: StageClient,
        rng: np.random.Generator | None = None,
    ) -> None:
        self.client = client
        self.reader = reader
        self.rng = rng or np.random.default_rng()
        self._states = ServingStates(build, reader.live)

    @property
    def store(self) -> ServingStore:
        """The store that is read."""
        return self.reader.store

    @property
    def _repeats(self) -> ResultCache:
        return self.reader.known.repeats

    @property
    def live(self) -> CatalogueFollower:
        """What happened to the catalogue since the bundle was trained."""
        return self.reader.live

    @property
    def edge(self) -> ScenarioContext:
        """The edge of the latest catalogue."""
        return self._states.latest.edge

    async def current(self) -> ServingState:
        """What serves the latest view of the catalogue."""
        return await self._states.current()

    async def recommend(self, requests: Sequence[Request]) -> list[Recommendation | RecserveError]:
        """Answer a batch; a wrong request gets its error, the others their recommendation.

        Never raises for a dependency: a failed stage is named in ``degraded``.
        """
        _, known = await self.recall(requests)
        made = iter(await self.make([one for one in known if isinstance(one, PendingRequest)]))
        return [next(made) if isinstance(one, PendingRequest) else one for one in known]

    async def recall(
        self, requests: Sequence[Request]
    ) -> tuple[Asked, list[Recommendation | RecserveError | PendingRequest]]:
        """The first half of :meth:`recommend`: read what is known, and answer what needs no stage.

        Returns:
            When that was, and for each request its answer from memory if nothing has changed since, its
            error if it is wrong, or else what :meth:`make` answers.
        """
        clock, forgotten = Clock(), self._repeats.forgotten
        checked: list[str | RecserveError] = []
        for request in requests:
            try:
                checked.append(self._check(request))
            except RecserveError as error:
                checked.append(error)
        asked = [
            (request.user_id, one)
            for request, one in zip(requests, checked, strict=True)
            if not isinstance(one, RecserveError)
        ]
        if not asked:
            return Asked(clock.now, 0), [one for one in checked if isinstance(one, RecserveError)]
        with clock.stage("history"):
            reading = await self._read(asked)
        current = await self.current()
        moment = Snapshot(reading, current.view, forgotten, clock)
        return moment.asked, [
            one if isinstance(one, RecserveError) else self._recalled(request, one, current, moment)
            for request, one in zip(requests, checked, strict=True)
        ]

    async def _read(self, asked: Sequence[tuple[str | None, str]]) -> Reading:
        """Histories and profiles of all users at once, and the catalogue as it is now.

        Args:
            asked: Users, and the names of the scenarios that they ask.
        """
        users = dict.fromkeys(user_id for user_id, _ in asked if user_id is not None)
        exploring = any(self.edge.scenarios[scenario].config.explore is not None for _, scenario in asked)
        return await self.reader.read(list(users), trials=exploring)

    def _recalled(
        self, request: Request, scenario: str, current: ServingState, moment: Snapshot
    ) -> Recommendation | PendingRequest:
        """The answer that was given before, if it still holds."""
        person, key, edge = moment.reading.person(request.user_id), None, current.edge
        if not moment.reading.lost:
            key = self._repeats.key(
                edge.bundle, scenario, edge.scenarios[scenario], request, person.history, person.user
            )
        known = self._repeats.get(key, current.view, moment.clock.now)
        if known is None:
            return PendingRequest(request, scenario, person, key, moment)
        return Recommendation.of(
            scenario, known.items, edge.bundle, (), moment.clock.stop(), left_out=known.left_out
        )

    async def make(self, asked: Sequence[PendingRequest]) -> list[Recommendation | RecserveError]:
        """The second half of :meth:`recommend`: have the stages answer, and remember what they said.

        Args:
            asked: What :meth:`recall` of this pipeline could not answer, in one batch or in several.
        """
        if not asked:
            return []
        current = await self.current()
        groups = _together(asked)
        batches = [Batch(self.client, self.rng, [same[0] for same in group], current) for group in groups]
        made = await asyncio.gather(*(batch.run() for batch in batches))
        found: dict[PendingRequest, Recommendation | RecserveError] = {}
        for group, batch, answers in zip(groups, batches, made, strict=True):
            for (first, *others), answer in zip(group, answers, strict=True):
                if isinstance(answer, Recommendation) and not answer.degraded:
                    scenario = current.edge.scenarios[first.scenario]
                    self._repeats.put(
                        first.key, current.view, batch.now, scenario, answer, first.moment.forgotten
                    )
                found[first] = answer
                found.update((one, _again(answer)) for one in others)
        return [found[one] for one in asked]

    def _check(self, request: Request) -> str:
        """Validate what needs no store; returns the scenario's name."""
        edge = self.edge
        scenario = request.scenario or edge.default_scenario
        if scenario not in edge.scenarios:
            raise NotFoundError(
                f"unknown scenario {scenario!r}{nearest(scenario, edge.scenarios)}", field="scenario"
            )
        known_filters = edge.filter_arguments[scenario]
        for name, argument in request.filter.items():
            validator = known_filters.get(name)
            if validator is None:
                raise InvalidRequestError(
                    f"scenario {scenario!r} has no filter {name!r}{nearest(name, known_filters)}",
                    field=f"filter.{name}",
                )
            try:
                validator.validate_python(argument)
            except ValidationError as error:
                raise InvalidRequestError(
                    f"filter {name!r}: {error.errors(include_url=False)[0]['msg']}",
                    field=f"filter.{name}",
                ) from None
        self._states.latest.masks.allowed(scenario, request.filter)
        for step in request.session:
            if step.event not in edge.event_types:
                raise InvalidRequestError(
                    f"unknown event type {step.event!r} (known: {', '.join(edge.event_types)})",
                    field="session.event",
                )
        if request.rules:
            edge.rules[scenario].rerankers(request.rules)
        return scenario

    async def item_vectors(self, items: Sequence[Item]) -> ItemVectors | None:
        """Vectors of items that are about to be stored, so that they are found at once.

        Returns:
            Vectors of the first :data:`ENCODED_AT_ONCE` items that are not hidden; None without an
            encoder, or when it is lost. :meth:`encode_pending` makes up for what is missing.
        """
        edge = self.edge
        chosen = [item for item in items if not item.hidden][:ENCODED_AT_ONCE]
        if edge.fingerprint is None or not chosen:
            return None
        try:
            vectors = await self._encode_items(edge, chosen)
        except RecserveError as error:
            logger.warning("new items are encoded later: %s", error)
            return None
        by_id = {item.item_id: vector for item, vector in zip(chosen, vectors, strict=True)}
        return ItemVectors(edge.fingerprint, by_id)

    async def encode_pending(self, limit: int = ENCODED_AT_ONCE) -> int:
        """Encode items of the store that have no vector yet, oldest change first.

        Returns:
            The number of vectors stored.

        Raises:
            RecserveError: The store or the encoder is lost.
        """
        edge = self.edge
        if edge.fingerprint is None:
            return 0
        pending = await asyncio.to_thread(
            self.store.unencoded_items, edge.fingerprint, self.live.since, limit
        )
        if not pending:
            return 0
        vectors = await self._encode_items(edge, [state.item for state in pending])
        by_id = {state.item.item_id: vector for state, vector in zip(pending, vectors, strict=True)}
        changed = {state.item.item_id: state.changed for state in pending}
        return await asyncio.to_thread(self.store.set_vectors, ItemVectors(edge.fingerprint, by_id), changed)

    async def _encode_items(self, edge: ScenarioContext, items: Sequence[Item]) -> FloatArray:
        texts = [edge.item_text.text(item) for item in items]
        return await self.client.encode(edge.bundle, texts)

    def shown(self, answers: Sequence[Recommendation]) -> None:
        """Count the new items of served answers, for exploration; returns at once."""
        view = self.live.view
        if not len(view.encoded):
            return
        row = view.catalogue.ids.row
        listed = (item.item_id for answer in answers for item in answer.items)
        counts = Counter(item_id for item_id in listed if row(item_id) >= view.known)
        if counts:
            self.store.add_trials(counts, {})

    def clicked(self, events: Sequence[Event]) -> None:
        """Count events that answers led to on new items, for exploration; returns at once."""
        view, types = self.live.view, self.edge.event_types
        if not len(view.encoded):
            return
        row = view.catalogue.ids.row
        counts = Counter(
            event.item_id
            for event in events
            if event.recommendation_id is not None
            and event.event in types
            and types[event.event].weight > 0
            and row(event.item_id) >= view.known
        )
        if counts:
            self.store.add_trials({}, counts)

    def forget(self, user_key: bytes) -> None:
        """Forget a user who was deleted, given as the digest of the id; other processes follow the store."""
        self.reader.known.forget(user_key)


__all__ = ["PendingRequest", "Pipeline", "ScenarioContext", "StageClient", "with_deadline"]
