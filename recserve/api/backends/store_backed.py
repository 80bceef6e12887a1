"""The part of a backend that only needs a store and a pipeline, the same whoever hosts it."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ParamSpec, TypeVar

from recserve.api.backends.experiments import ExperimentDesk
from recserve.api.backends.protocol import HistoryEntry
from recserve.api.backends.reports import ReportDesk
from recserve.api.backends.store_threads import StoreThreads
from recserve.api.pagination import Cursors
from recserve.data.entities import Event, Item, User, now_ms
from recserve.errors import NotFoundError, NotReadyError, OutcomeUnknownError, RecserveError, StoreError
from recserve.experiments.administration import GUARDRAIL
from recserve.experiments.assignment import AssignedArm
from recserve.experiments.follower import ExperimentFollower
from recserve.serving.pipeline import Pipeline
from recserve.serving.requests.arms.answers import ArmAnswers
from recserve.serving.requests.audience import CONSIDERED_USERS, READ_EVENTS, Audience
from recserve.serving.requests.request import Asked, Recommendation, Request
from recserve.serving.state.live_catalogue import CatalogueView
from recserve.store import (
    AuditEntry,
    DeletionReceipt,
    ExposedItem,
    Exposure,
    ItemPatch,
    ItemState,
    Moment,
    Shown,
    Store,
    UserPatch,
    key_of,
)
from recserve.telemetry.instruments import EXPOSURES, EXPOSURES_LOST
from recserve.telemetry.metrics import Metrics

logger = logging.getLogger(__name__)

T = TypeVar("T")
P = ParamSpec("P")

_AUDITED_IDS = 100
_PING_SECONDS = 1.0


class StoredBackend:
    """Events, items and users of a store, and what a pipeline must hear of them.

    Args:
        store: The store; not closed here.
        pipeline: The pipeline in service. Writes do without it while it raises NotReadyError.
        scenarios: Names of the configured scenarios.
        reports: Makes reports.
        metrics: Where exposures are counted; None makes some that nobody reads.
        bundles: Bundles that arms of experiments may name now.
    """

    def __init__(
        self,
        store: Store,
        pipeline: Callable[[], Pipeline],
        scenarios: Collection[str],
        reports: ReportDesk,
        metrics: Metrics | None = None,
        bundles: Callable[[], Collection[str]] = tuple,
    ) -> None:
        self.cursors = Cursors(store.secret("cursors"))
        self._store = store
        self._served = pipeline
        self.reports = reports
        self.metrics = metrics or Metrics()
        # Threads of their own: a store that hangs must not take those that stages need, and writes that
        # wait for a lock must not stop reads, which on SQLite need none.
        self._readers = StoreThreads("store-reads", threads=16, queue=256)
        # Many, because writes that wait together are made durable together.
        self._writers = StoreThreads("store-writes", threads=32, queue=256, late=OutcomeUnknownError)
        follower = ExperimentFollower(store, scenarios, bundles)
        self.arms = ArmAnswers(follower, self, lambda: self._served().context.default_scenario, self.metrics)
        self.experiments = ExperimentDesk(store, self._readers, self._writers, pipeline, follower)

    async def read_store(self, call: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        """Call a reading method of the store without blocking the event loop."""
        return await self._readers.run(partial(call, *arguments, **named))

    async def write_store(self, call: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        """Call a writing method of the store without blocking the event loop."""
        return await self._writers.run(partial(call, *arguments, **named))

    def _pipeline(self) -> Pipeline | None:
        try:
            return self._served()
        except NotReadyError:
            return None

    async def store_problem(self) -> str | None:
        """What is wrong with the store in one line, None if it answers."""
        try:
            await asyncio.wait_for(self.read_store(self._store.ping), _PING_SECONDS)
        except StoreError as error:
            return error.message
        except TimeoutError:
            return f"no answer within {_PING_SECONDS:g} s"
        return None

    @property
    def busy(self) -> bool:
        """See :class:`recserve.serving.requests.arms.answers.AnsweringHost`."""
        return False

    async def answer(self, request: Request) -> Recommendation:
        """Answer a request by the arm that it carries; hosts say how."""
        raise NotImplementedError

    async def recommend(self, request: Request) -> Recommendation:
        """See :meth:`recserve.api.Backend.recommend`."""
        return await self.arms.answer(request)

    def answered(
        self, pipeline: Pipeline, served: Sequence[tuple[Request, Recommendation]], asked: Asked
    ) -> None:
        """Note what was answered to whom; returns at once.

        Args:
            pipeline: The pipeline that answered.
            served: Requests and their answers.
            asked: When they were asked for.
        """
        shown = [(request, answer) for request, answer in served if request.told is None]
        if len(shown) < len(served):
            for request, answer in served:
                if request.told is not None:
                    request.told(answer, asked)
        if shown:
            self.log_answers(pipeline, shown, asked)

    def shown(self, request: Request, answer: Recommendation, asked: Asked) -> None:
        """Log a page that was put together of several answers."""
        self.log_answers(self._served(), [(request, answer)], asked)

    def shadowed(self, request: Request, answer: Recommendation, asked: Asked) -> None:
        """Log an answer that nobody was shown."""
        try:
            self._store.add_exposures([replace(_exposure(request, answer, asked), shadow=True)])
        except RecserveError as error:
            logger.warning("a shadow answer was not logged: %s", error)

    async def exposure(self, recommendation_id: str) -> Exposure | None:
        """What an answer showed, by whichever process."""
        return await self.read_store(self._store.exposures, recommendation_id)

    async def stop_arm(self, arm: AssignedArm, reason: str) -> None:
        """Have the store stop an arm that a guardrail found wanting."""
        await self.experiments.stop(arm.experiment or "", reason, arm.name, GUARDRAIL)

    def log_answers(
        self, pipeline: Pipeline, served: Sequence[tuple[Request, Recommendation]], asked: Asked
    ) -> None:
        """Log what was shown to whom; returns at once.

        Args:
            pipeline: The pipeline that answered.
            served: Requests and their answers.
            asked: When they were asked for.
        """
        counter = EXPOSURES
        try:
            shown = [_exposure(request, answer, asked) for request, answer in served]
            self._store.add_exposures(shown, pipeline.context.impressions)
            pipeline.trials.shown([answer for _, answer in served])
        except RecserveError as error:
            # A good answer is worth more than its log entry.
            logger.warning("answers were not logged: %s", error)
            counter = EXPOSURES_LOST
        for _, answer in served:
            self.metrics.count(counter, answer.scenario)

    async def audience(self, item_id: str, scenario: str | None, limit: int) -> Audience:
        """See :meth:`recserve.api.Backend.audience`."""
        pipeline = self._served()
        histories = await self.read_store(self._recent_histories, item_id, pipeline)
        return await pipeline.audiences.find(item_id, histories, scenario, limit)

    def _recent_histories(self, item_id: str, pipeline: Pipeline) -> dict[str, list[Event]]:
        """Histories of those who did something last; the pipeline then knows the item.

        Raises:
            NotFoundError: There is no such item.
        """
        if self._item(item_id, pipeline) is None:
            raise NotFoundError(f"unknown item {item_id[:80]!r}", field="item_id")
        pipeline.live.at_least(self._store.pulse().catalogue)
        return self._store.histories(self._store.recent_users(CONSIDERED_USERS), READ_EVENTS)

    async def add_events(self, events: Sequence[Event]) -> int:
        """See :meth:`recserve.api.Backend.add_events`."""
        events = [_named(event) if event.text is not None else event for event in events]
        stored = await self.write_store(self._store.add_events, events)
        pipeline = self._pipeline()
        if pipeline is not None:
            pipeline.texts.encode_later(events)
            types = pipeline.context.event_types
            self.arms.events_added(events, lambda name: name in types and types[name].weight < 0)
        # Of a repeated batch nobody knows which events are new: an outcome counts once or not at all.
        if pipeline is not None and stored == len(events):
            try:
                pipeline.trials.clicked([event for event in events if event.recommendation_id is not None])
            except StoreError as error:  # the events are durable; exploration learns a little less
                logger.warning("outcomes were not counted: %s", error)
        return stored

    async def remove_event(self, event_id: str) -> int:
        """See :meth:`recserve.api.Backend.remove_event`."""
        return await self.write_store(self._store.remove_event, event_id)

    async def remove_events(self, user_id: str, item_id: str) -> int:
        """See :meth:`recserve.api.Backend.remove_events`."""
        return await self.write_store(self._store.remove_events, user_id, item_id)

    async def item(self, item_id: str) -> Item | None:
        """The store's version of an item, the bundle's where the store does not know it or is down."""
        pipeline = self._pipeline()
        try:
            return await self.read_store(self._item, item_id, pipeline)
        except StoreError:
            known = None if pipeline is None else _item_of(pipeline.live.view, item_id)
            if known is None:
                raise
            return known

    def _item(self, item_id: str, pipeline: Pipeline | None) -> Item | None:
        stored = self._store.items([item_id]).get(item_id)
        if stored is not None or pipeline is None or pipeline.context.catalogue.ids.row(item_id) < 0:
            return stored
        # Deleted, or only the bundle, which was trained elsewhere, ever knew it.
        return _item_of(pipeline.live.at_least(self._store.pulse().catalogue), item_id)

    async def list_items(self, after: str | None, limit: int) -> Sequence[Item]:
        """See :meth:`recserve.api.Backend.list_items`."""
        return await self.read_store(self._store.list_items, after, limit)

    async def upsert_items(self, items: Sequence[Item]) -> tuple[int, int]:
        """See :meth:`recserve.api.Backend.upsert_items`."""
        items = list({item.item_id: item for item in items}.values())
        pipeline = self._pipeline()
        vectors = None if pipeline is None else await pipeline.items.vectors(items)
        accepted = await self.write_store(self._store.upsert_items, items, vectors)
        return accepted, 0 if vectors is None else len(vectors.by_id)

    async def patch_items(self, patches: Sequence[ItemPatch]) -> Sequence[str]:
        """See :meth:`recserve.api.Backend.patch_items`."""
        unknown, changed = await self.write_store(self._patch, patches)
        pipeline = self._pipeline()
        if pipeline is not None and changed:
            try:
                await self._encode(pipeline, changed)
            except StoreError as error:  # the changes are durable; what is left is made up for later
                logger.warning("vectors of %d changed items were not stored: %s", len(changed), error)
        return unknown

    def _patch(self, patches: Sequence[ItemPatch]) -> tuple[list[str], list[ItemState]]:
        """Unknown ids, and the items that have no vector any more."""
        # Hidden items are not encoded; one that is shown again may have no vector.
        touched = {patch.item_id for patch in patches if patch.attributes or patch.hidden is False}
        before = self._store.pulse().catalogue if touched else 0
        unknown = self._store.patch_items(patches)
        if not touched:
            return unknown, []
        try:
            changes = self._store.item_changes(before)
        except StoreError as error:
            logger.warning("changed items are encoded later: %s", error)
            return unknown, []
        return unknown, [
            state
            for state in changes
            if state.item.item_id in touched and state.vector is None and not state.deleted
        ]

    async def _encode(self, pipeline: Pipeline, changed: Sequence[ItemState]) -> None:
        vectors = await pipeline.items.vectors([state.item for state in changed])
        if vectors is not None:
            versions = {state.item.item_id: state.changed for state in changed}
            await self.write_store(self._store.set_vectors, vectors, versions)

    async def delete_items(self, item_ids: Sequence[str], actor: str) -> int:
        """See :meth:`recserve.api.Backend.delete_items`."""
        deleted = await self.write_store(self._store.delete_items, item_ids)
        if deleted:
            target = item_ids[0] if len(item_ids) == 1 else f"{len(item_ids)} items"
            await self._audit(
                actor, "item.delete", target, {"deleted": deleted, "item_ids": list(item_ids[:_AUDITED_IDS])}
            )
        return deleted

    async def history(self, user_id: str, limit: int, before: Moment | None = None) -> Sequence[HistoryEntry]:
        """See :meth:`recserve.api.Backend.history`."""
        return await self.read_store(self._history, user_id, limit, before, self._pipeline())

    def _history(
        self, user_id: str, limit: int, before: Moment | None, pipeline: Pipeline | None
    ) -> list[HistoryEntry]:
        found = self._store.history(user_id, limit, before)
        ids = list({event.item_id for _, event in found if event.item_id})
        items: dict[str, Item | None] = {**self._store.items(ids)}
        unknown = [item_id for item_id in ids if item_id not in items]
        if unknown and pipeline is not None:
            # Deleted, or only the bundle, which was trained elsewhere, ever knew them.
            view = pipeline.live.at_least(self._store.pulse().catalogue)
            items.update((item_id, _item_of(view, item_id)) for item_id in unknown)
        titles = {item_id: item.title for item_id, item in items.items() if item is not None}
        return [
            HistoryEntry(place, event, titles.get(event.item_id, event.item_id) or None)
            for place, event in found
        ]

    async def user(self, user_id: str) -> User | None:
        """See :meth:`recserve.api.Backend.user`."""
        return (await self.read_store(self._store.users, [user_id])).get(user_id)

    async def list_users(self, after: str | None, limit: int) -> Sequence[User]:
        """See :meth:`recserve.api.Backend.list_users`."""
        return await self.read_store(self._store.list_users, after, limit)

    async def upsert_users(self, users: Sequence[User]) -> int:
        """See :meth:`recserve.api.Backend.upsert_users`."""
        return await self.write_store(self._store.upsert_users, users)

    async def patch_users(self, patches: Sequence[UserPatch]) -> Sequence[str]:
        """See :meth:`recserve.api.Backend.patch_users`."""
        return await self.write_store(self._store.patch_users, patches)

    async def merge_user(self, source: str, target: str, actor: str) -> int:
        """See :meth:`recserve.api.Backend.merge_user`."""
        moved = await self.write_store(self._store.merge_user, source, target)
        self._forget(source)
        # Digests: the log must not be what keeps somebody's id, but who knows both ids must find the entry.
        detail = {"from": key_of(source).hex(), "moved": moved}
        await self._audit(actor, "user.merge", key_of(target).hex(), detail)
        return moved

    async def delete_user(self, user_id: str, actor: str) -> DeletionReceipt:
        """See :meth:`recserve.api.Backend.delete_user`."""
        receipt = await self.write_store(self._store.delete_user, user_id)
        self._forget(user_id)
        counts = {name: getattr(receipt, name) for name in ("events", "exposures", "profiles", "impressions")}
        # The log must not be what keeps the person's id.
        await self._audit(actor, "user.delete", receipt.receipt_id, counts)
        return receipt

    def _forget(self, user_id: str) -> None:
        """Drop what this process remembers; other replicas follow the store."""
        pipeline = self._pipeline()
        if pipeline is not None:
            pipeline.forget(key_of(user_id))

    async def _audit(self, actor: str, action: str, target: str, detail: dict[str, Any]) -> None:
        logger.info("%s of %s by %s: %s", action, target, actor, detail)
        entry = AuditEntry(now_ms(), actor, action, target, detail)
        try:
            await self.write_store(self._store.add_audit, entry)
        except StoreError as error:  # what was done is done, and its caller must hear so
            logger.error("%s of %s by %s is missing in the audit log: %s", action, target, actor, error)


def _item_of(view: CatalogueView, item_id: str) -> Item | None:
    row = view.catalogue.ids.row(item_id)
    return None if row < 0 or view.bars.barred[row] else view.catalogue.item(row)


def _named(event: Event) -> Event:
    """An event with an id, by which the vector of its text is stored."""
    return event if event.event_id else replace(event, event_id=secrets.token_hex(16))


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
