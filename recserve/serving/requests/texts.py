"""Texts of a batch and their vectors: of the requests, and of what their users wrote lately."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from recserve.data.arrays import FloatArray
from recserve.data.batches import RecentTexts
from recserve.data.entities import Event, EventType
from recserve.data.events.text import ENCODED_CHARACTERS
from recserve.serving.guard.failures import log_failure
from recserve.serving.requests.queries import BuiltQueries
from recserve.serving.scenario import ScenarioContext
from recserve.serving.stage_client import StageClient
from recserve.serving.stages.trace import Trace
from recserve.serving.state.history_reader import StoreReader
from recserve.serving.state.serving_state import ServingStates
from recserve.serving.state.user_cache import TextVectors, UserState, recent_texts
from recserve.telemetry.instruments import EVENT_TEXTS
from recserve.telemetry.metrics import Metrics

MOST_WAITING = 1_000
"""Texts that wait to be encoded or stored; more are encoded when a request needs them."""

_AT_ONCE = 32


class _Waiting(NamedTuple):
    """A text whose vector is to be stored; ``vector`` is None while it is not encoded."""

    event_id: str
    text: str
    vector: FloatArray | None = None


class TextEncoder:
    """Encoder of the texts that requests bring and that users wrote, with a bundle's text encoder.

    What users write is encoded in the background once it is stored. A request that needs it sooner has it
    encoded with its own text, and then the vector is stored in the background.

    Args:
        states: Hold the bundle's scenario context.
        reader: Reads vectors, and holds the user cache.
        client: Reaches the text encoder.
        metrics: Where texts are counted by what became of them.
    """

    def __init__(
        self, states: ServingStates, reader: StoreReader, client: StageClient, metrics: Metrics | None
    ) -> None:
        self._states = states
        self._reader = reader
        self._client = client
        self._metrics = metrics
        self._waiting: deque[_Waiting] = deque()
        self._worker: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """Texts that wait to be encoded or stored."""
        return len(self._waiting)

    # ---- In a request ----------------------------------------------------------------------------------

    async def encoded(
        self, built: BuiltQueries, states: Sequence[UserState], context: ScenarioContext, trace: Trace
    ) -> BuiltQueries:
        """The queries with vectors of all their texts, without those that cannot be encoded in time.

        No hop where there is no text, or where the vectors are at hand.

        Args:
            built: The queries.
            states: The user of each.
            context: Of the bundle.
            trace: Of the batch.
        """
        asked = [text for text in built.base.texts if text]
        fingerprint = context.fingerprint
        if fingerprint is None or not any(state.texts for state in states):
            if asked:
                with trace.without("encoding"), trace.stage("encoding"):
                    return built.with_vectors(
                        await self._client.encode(context.bundle, asked, queries=len(asked))
                    )
            return built
        vectors = _at_hand(states, fingerprint)
        texts = None
        missing = {
            event.event_id: event
            for state in states
            for event in state.texts
            if event.event_id not in vectors
        }
        if asked or missing:
            with trace.without("encoding"), trace.stage("encoding"):
                stored = await self._reader.text_vectors(list(missing), fingerprint)
                wanted = [event for event_id, event in missing.items() if event_id not in stored]
                vectors = {**vectors, **stored}
                if asked or wanted:
                    lines = [*asked, *(_read_part(event) for event in wanted)]
                    found = await self._client.encode(context.bundle, lines, queries=len(asked))
                    texts, new = found[: len(asked)], found[len(asked) :]
                    fresh = dict(zip((event.event_id for event in wanted), new, strict=True))
                    vectors = {**vectors, **fresh}
                    self._store_later(_Waiting(event_id, "", vector) for event_id, vector in fresh.items())
            self._remember(built, states, vectors, fingerprint)
        written, recent = _recent_texts([state.texts for state in states], vectors, context.event_types)
        return built.with_vectors(texts, written, recent)

    def _remember(
        self,
        built: BuiltQueries,
        states: Sequence[UserState],
        vectors: Mapping[str, FloatArray],
        fingerprint: str,
    ) -> None:
        """Have the user cache keep vectors for the next request."""
        for user_id, state in zip(built.base.user_ids, states, strict=True):
            if user_id is not None and state.texts:
                own = {
                    event.event_id: vectors[event.event_id]
                    for event in state.texts
                    if event.event_id in vectors
                }
                later = replace(state, vectors=TextVectors(fingerprint, own))
                self._reader.users.advance(user_id, state, later)

    # ---- For many users at once ------------------------------------------------------------------------

    async def stored(
        self, histories: Sequence[Sequence[Event]], context: ScenarioContext
    ) -> RecentTexts | None:
        """What users wrote lately, as far as its vectors are stored; others are encoded in the background.

        Args:
            histories: Events of each user, oldest first.
            context: Of the bundle.
        """
        types, fingerprint = context.event_types, context.fingerprint
        texts = [recent_texts(events, types) for events in histories]
        written = {event.event_id: event for own in texts for event in own}
        if fingerprint is None or not written:
            return None
        vectors = await self._reader.text_vectors(list(written), fingerprint)
        self.encode_later(event for event_id, event in written.items() if event_id not in vectors)
        return _recent_texts(texts, vectors, types)[1]

    # ---- In the background -----------------------------------------------------------------------------

    def encode_later(self, events: Iterable[Event]) -> None:
        """Encode the texts of events that are stored, and store the vectors; returns at once.

        Args:
            events: With their ids.
        """
        if self._states.latest.context.fingerprint is not None:
            self._store_later(
                _Waiting(event.event_id, _read_part(event)) for event in events if event.text is not None
            )

    def _store_later(self, texts: Iterable[_Waiting]) -> None:
        for text in texts:
            if len(self._waiting) >= MOST_WAITING:
                self._count("dropped")
            else:
                self._waiting.append(text)
        if self._waiting and (self._worker is None or self._worker.done()):
            self._worker = asyncio.get_running_loop().create_task(self._work())

    async def _work(self) -> None:
        while self._waiting:
            texts = [self._waiting.popleft() for _ in range(min(_AT_ONCE, len(self._waiting)))]
            try:
                await self._store_vectors(texts)
            except Exception as error:
                # The next request that needs them has them encoded; those that wait are not lost with them.
                log_failure("storing vectors of texts", error)
                self._count("failed", len(texts))

    async def _store_vectors(self, texts: Sequence[_Waiting]) -> None:
        context = self._states.latest.context
        assert context.fingerprint is not None, "nothing waits without an encoder"
        vectors = {text.event_id: text.vector for text in texts if text.vector is not None}
        bare = [text for text in texts if text.vector is None]
        if bare:
            found = await self._client.encode(context.bundle, [text.text for text in bare])
            vectors.update(zip((text.event_id for text in bare), found, strict=True))
        store = self._reader.store
        stored = await asyncio.to_thread(store.set_text_vectors, vectors, context.fingerprint)
        self._count("stored", stored)

    def _count(self, outcome: str, by: int = 1) -> None:
        if self._metrics is not None:
            self._metrics.count(EVENT_TEXTS, outcome, by=by)


def _read_part(event: Event) -> str:
    return (event.text or "")[:ENCODED_CHARACTERS]


def _at_hand(states: Sequence[UserState], fingerprint: str) -> dict[str, FloatArray]:
    """Vectors that the user cache holds."""
    found: dict[str, FloatArray] = {}
    for state in states:
        if state.vectors is not None and state.vectors.fingerprint == fingerprint:
            found.update(state.vectors.by_id)
    return found


def _recent_texts(
    texts: Sequence[Sequence[Event]], vectors: Mapping[str, FloatArray], types: Mapping[str, EventType]
) -> tuple[tuple[tuple[Event, ...], ...], RecentTexts | None]:
    """Events of each user whose texts have a vector, and these as arrays; None where there are none."""
    written = tuple(tuple(event for event in own if event.event_id in vectors) for own in texts)
    events = [event for own in written for event in own]
    if not events:
        return written, None
    codes = {name: code for code, name in enumerate(types)}
    weights = [
        types[event.event].confidence(np.array([np.nan if event.value is None else event.value]))[0]
        for event in events
    ]
    offsets = np.zeros(len(texts) + 1, dtype=np.int64)
    np.cumsum([len(own) for own in written], out=offsets[1:])
    return written, RecentTexts(
        offsets,
        np.stack([vectors[event.event_id] for event in events]).astype(np.float32, copy=False),
        np.array([codes[event.event] for event in events], dtype=np.int16),
        np.array(weights, dtype=np.float32),
        np.array([event.timestamp for event in events], dtype=np.int64),
    )
