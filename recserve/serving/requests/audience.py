"""Audience of an item: the users who want it most, of those who did something last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from recserve.data.arrays import FloatArray
from recserve.data.batches import Histories, Queries
from recserve.data.entities import Event, now_ms
from recserve.errors import NotReadyError, RecserveError
from recserve.serving.requests.checking import check_request
from recserve.serving.requests.request import Request
from recserve.serving.requests.texts import TextEncoder
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
        considered: Users who were compared: active ones with events or texts that can be read, but for those
            whose history has the item.
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
        texts: Vectors of what users wrote.
    """

    def __init__(self, states: ServingStates, client: StageClient, texts: TextEncoder) -> None:
        self._states = states
        self._client = client
        self._texts = texts

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
        listed = list(histories.items())
        for start in range(0, len(listed), _BATCH):
            chosen, queries = await self._queries(listed[start : start + _BATCH], row, current)
            if chosen:
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

    async def _queries(
        self, histories: Sequence[tuple[str, Sequence[Event]]], row: int, current: ServingState
    ) -> tuple[list[str], Queries]:
        """Users who do not have an item yet and of whom something can be read, with their queries."""
        view, types = current.view, current.context.event_types
        read = [
            (user_id, UserEvents.of(events, view.catalogue, types), events) for user_id, events in histories
        ]
        without = [entry for entry in read if not (entry[1].rows == row).any()]
        written = await self._texts.stored([events for _, _, events in without], current.context)
        counts = np.zeros(len(without), np.int64) if written is None else np.diff(written.offsets)
        users, kept, known = [], [], []
        for place, (user_id, events, _) in enumerate(without):
            readable = events.where(view.readable(events.rows))
            if len(readable) or counts[place]:
                users.append(user_id)
                kept.append(readable)
                known.append(place)
        times = np.full(len(kept), now_ms(), dtype=np.int64)
        queries = Queries.of(pack(kept) if kept else Histories.empty(0), times, wants_evidence=False)
        texts = None if written is None else written.select(np.array(known, dtype=np.int64))
        return users, replace(queries, recent_texts=texts, live_version=view.version)
