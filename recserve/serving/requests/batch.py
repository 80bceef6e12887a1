"""Requests between the two halves of the pipeline, and which of them share a call of the stages."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from recserve.data.arrays import BoolArray
from recserve.data.batches import Candidates, Queries
from recserve.errors import RecserveError
from recserve.plugin.protocols import Reranker
from recserve.serving.requests.request import Asked, Recommendation, Request
from recserve.serving.scenario import ScenarioContext
from recserve.serving.stages.masks import JointMask
from recserve.serving.stages.trace import Trace
from recserve.serving.state.history_reader import Reading
from recserve.serving.state.live_catalogue import CatalogueView
from recserve.serving.state.result_cache import Key
from recserve.serving.state.user_cache import UserState

GIVEN = "request"
"""Source of items that the caller brought along."""

Result = Recommendation | RecserveError
"""What a request gets in the end."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Snapshot of store and catalogue that a batch of requests is answered from.

    Attributes:
        reading: What the store knew.
        view: The catalogue.
        forgotten: :attr:`ResultCache.forgotten` of before the store was read.
        trace: Begun when the requests came.
    """

    reading: Reading
    view: CatalogueView
    forgotten: int
    trace: Trace

    @property
    def asked(self) -> Asked:
        """When the requests came."""
        return Asked(self.trace.now, self.reading.deletions)


@dataclass(frozen=True, slots=True)
class Prepared:
    """What plugins made of a request's own wishes, before it joins a batch.

    Attributes:
        context: The scenario context that it holds for.
        mask: What the scenario's filters allow.
        rerankers: With their names, the request's rules applied.
    """

    context: ScenarioContext
    mask: JointMask
    rerankers: Sequence[tuple[str, Reranker]]


@dataclass(frozen=True, slots=True, eq=False)
class PendingRequest:
    """A request whose answer has to be computed.

    Attributes:
        request: The request.
        scenario: Name of its scenario.
        state: The user's state.
        key: See :meth:`recserve.serving.state.result_cache.ResultCache.key`.
        snapshot: What was known when it came.
        prepared: None before :meth:`recserve.serving.pipeline.Pipeline.prepare`.
    """

    request: Request
    scenario: str
    state: UserState
    key: Key | None
    snapshot: Snapshot
    prepared: Prepared | None = None

    @property
    def deduplication_key(self) -> Hashable | None:
        """Requests with equal keys share one computation; None disables sharing."""
        return None if self.key is None else (self.key, id(self.snapshot.view))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a step made of a request: its result, or what the next step goes on with.

    Attributes:
        result: The answer or the error; None while the request is pending.
        pending: None once there is a result.
    """

    result: Result | None = None
    pending: PendingRequest | None = None


@dataclass(frozen=True, slots=True)
class StageGroup:
    """Requests that share a call of the stages.

    Attributes:
        duplicates: For each distinct request all those that get the same answer, the first of them computed.
    """

    duplicates: Sequence[Sequence[PendingRequest]]

    @property
    def distinct(self) -> list[PendingRequest]:
        """The requests whose answers are computed."""
        return [same[0] for same in self.duplicates]

    def alone(self) -> list[StageGroup]:
        """Each distinct request in a group of its own."""
        return [StageGroup([same]) for same in self.duplicates]


def share_stages(pending: Iterable[PendingRequest]) -> list[StageGroup]:
    """Group requests by what the stages need in common: scenario and its parameters, rules, given items."""
    groups: dict[Hashable, dict[Hashable, list[PendingRequest]]] = {}
    for waiting in pending:
        request = waiting.request
        arm = request.arm
        shared = (
            waiting.scenario,
            None if arm is None or arm.parameters is None else arm,
            json.dumps(request.rules),
            request.items is not None,
            waiting.snapshot.reading.store_unavailable,
        )
        same = waiting.deduplication_key or waiting
        groups.setdefault(shared, {}).setdefault(same, []).append(waiting)
    return [StageGroup(list(group.values())) for group in groups.values()]


def given_candidates(
    requests: Sequence[Request],
    queries: Queries,
    allowed: Sequence[BoolArray | None],
    context: ScenarioContext,
) -> tuple[Candidates, list[tuple[str, ...]]]:
    """The items that callers brought, in their order, and for each request those that may not be returned.

    Args:
        requests: All bring items.
        queries: Their queries.
        allowed: What may be returned to each, bool, shape (n,); None for all.
        context: Knows the rows of items.
    """
    lists: list[list[int]] = []
    left_out: list[tuple[str, ...]] = []
    for index, (request, mask) in enumerate(zip(requests, allowed, strict=True)):
        given = {item_id: context.catalogue.ids.row(item_id) for item_id in request.items or ()}
        barred = set(queries.excluded[index].tolist())
        kept = {
            item_id: row
            for item_id, row in given.items()
            if row >= 0 and (mask is None or mask[row]) and row not in barred
        }
        lists.append(list(kept.values()))
        left_out.append(tuple(item_id for item_id in given if item_id not in kept))
    width = max(len(rows) for rows in lists)
    items = np.full((len(lists), width), -1, dtype=np.int32)
    for index, rows in enumerate(lists):
        items[index, : len(rows)] = rows
    place = np.broadcast_to(-np.arange(width, dtype=np.float32), items.shape)
    scores = np.where(items >= 0, place, np.float32(-np.inf)).astype(np.float32)
    return Candidates(items, scores, (GIVEN,), scores[:, :, None], np.full_like(items, -1)), left_out
