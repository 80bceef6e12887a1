"""Audience of an item: the users who want it most, of those who did something last."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from recserve.data.arrays import FloatArray
from recserve.data.batches import Queries
from recserve.data.entities import Event, now_ms
from recserve.errors import NotReadyError, RecserveError
from recserve.serving.requests.checking import check_request
from recserve.serving.requests.request import Request
from recserve.serving.stage_client import StageClient
from recserve.serving.state.serving_state import ServingState, ServingStates
from recserve.serving.state.user_events import UserEvents, pack

CONSIDERED_USERS = 2000
"""Users who are considered, at most: those of the newest events."""
READ_EVENTS = 100
"""Newest events of a user that are read."""
_BATCH = 200


@dataclass(frozen=True, slots=True)
class AudienceUser:
    """One user of an audience.

    Attributes:
        user_id: External id.
        score: How much he wants the item; comparable only within one audience.
        rank: 1 is best.
    """

    user_id: str
    score: float
    rank: int


@dataclass(frozen=True, slots=True)
class Audience:
    """The users who want an item most.

    Attributes:
        item_id: The item.
        scenario: Whose ranker compared them.
        users: Best first.
        considered: Users who were compared: active ones with a history that can be read, but for those whose
            history has the item.
        bundle: Id of the bundle.
    """

    item_id: str
    scenario: str
    users: tuple[AudienceUser, ...]
    considered: int
    bundle: str


class AudienceFinder:
    """Finds the audience of items of one pipeline.

    Args:
        states: What is served.
        client: How the ranking stage is reached.
    """

    def __init__(self, states: ServingStates, client: StageClient) -> None:
        self._states = states
        self._client = client

    async def find(
        self, item_id: str, histories: Mapping[str, Sequence[Event]], scenario: str | None, limit: int
    ) -> Audience:
        """Put users in the order in which they want an item.

        Args:
            item_id: An item of the store.
            histories: Events of each user, oldest first.
            scenario: Whose ranker compares them; None for the default one.
            limit: Users that are returned, at most.

        Raises:
            RecserveError: The scenario is unknown (NotFoundError), its ranker cannot compare users
                (InvalidRequestError), the item has no text vector yet (NotReadyError), or the stage fails.
        """
        current = await self._states.current()
        context, view = current.context, current.view
        name = check_request(Request(scenario=scenario), context)
        if isinstance(name, RecserveError):
            raise name
        row = view.catalogue.ids.row(item_id)
        if row < 0 or not view.readable(np.array([row], dtype=np.int32))[0]:
            raise NotReadyError(f"item {item_id[:80]!r} has no text vector yet; try again in a moment")
        users: list[str] = []
        scores: list[FloatArray] = []
        for chosen, queries in _batches(histories, row, current):
            users.extend(chosen)
            scores.append(await self._client.affinity(context.bundle, name, queries, row))
        found = np.concatenate(scores) if scores else np.empty(0, dtype=np.float32)
        order = np.argsort(-found, kind="stable")
        best = order[np.isfinite(found[order])]
        ranked = tuple(
            AudienceUser(users[place], float(found[place]), rank)
            for rank, place in enumerate(best[:limit].tolist(), 1)
        )
        return Audience(item_id, name, ranked, len(best), context.bundle)


def _batches(
    histories: Mapping[str, Sequence[Event]], row: int, current: ServingState
) -> Iterator[tuple[list[str], Queries]]:
    """Users who do not have an item yet, with their queries, some at a time."""
    view, types, now = current.view, current.context.event_types, now_ms()
    listed = list(histories.items())
    for start in range(0, len(listed), _BATCH):
        read = [
            (user_id, UserEvents.of(events, view.catalogue, types))
            for user_id, events in listed[start : start + _BATCH]
        ]
        kept = [
            (user_id, events.where(view.readable(events.rows)))
            for user_id, events in read
            if not (events.rows == row).any()
        ]
        kept = [(user_id, events) for user_id, events in kept if len(events)]
        if kept:
            histories_read = pack([events for _, events in kept])
            queries = Queries.of(
                histories_read, np.full(len(kept), now, dtype=np.int64), wants_evidence=False
            )
            yield [user_id for user_id, _ in kept], replace(queries, live_version=view.version)
