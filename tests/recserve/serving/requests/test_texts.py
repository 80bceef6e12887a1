"""Texts of requests and of users: encoded at most once, and done without where that fails."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from recserve import Event, FloatArray
from recserve.config import ColdStartConfig, Config
from recserve.data.batches import RECENT_TEXTS
from recserve.serving.guard.calls import GuardedCalls
from recserve.serving.requests.queries import BuiltQueries, build_queries
from recserve.serving.requests.request import Request
from recserve.serving.requests.texts import MOST_WAITING, TextEncoder
from recserve.serving.stages.trace import Trace
from recserve.serving.state.serving_state import ServingStates
from recserve.serving.state.user_cache import UserState
from recserve.store import History, open_store
from recserve.telemetry.instruments import EVENT_TEXTS
from recserve.telemetry.metrics import Metrics
from tests.support.pipelines import VECTORS, Lab

TYPES = Config().event_types


def search(text: str, event_id: str, event: str = "search", item_id: str = "", moment: int = 1) -> Event:
    return Event("u", item_id, event, moment, event_id=event_id, text=text)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with open_store(None, tmp_path) as store:
        yield Lab(store)


def state(lab: Lab, *events: Event) -> UserState:
    """The state of a user with these events, as the user cache holds it."""
    made = UserState(History.of(list(enumerate(events, start=1)))).resolved(lab.live.view, TYPES)
    lab.reader.users.put("u", made)
    return made


def encoded(
    lab: Lab, requests: Sequence[Request], states: Sequence[UserState], trace: Trace | None = None
) -> BuiltQueries:
    seen = ["exclude"] * len(requests)
    built = build_queries(requests, lab.live.view, TYPES, states, ColdStartConfig(), now=1, seen=seen)
    encoder, context = lab.pipeline.texts, lab.pipeline.context

    async def run() -> BuiltQueries:
        made = await encoder.encoded(built, states, context, trace or Trace())
        for _ in range(500):  # what goes on in the background
            if all(lab.store.text_vectors([text.event_id], "words") for own in made.written for text in own):
                break
            await asyncio.sleep(0.01)
        return made

    return asyncio.run(run())


def test_vectors_go_to_the_queries_that_have_a_text(lab: Lab) -> None:
    requests = [Request(), Request(query="Title 7"), Request(), Request(query="Title 2")]
    trace = Trace()
    queries = encoded(lab, requests, [UserState()] * 4, trace).base
    assert queries.text_vectors is not None
    assert queries.text_vectors.argmax(axis=1)[[1, 3]].tolist() == [7, 2]
    assert not queries.text_vectors[[0, 2]].any()
    assert queries.recent_texts is None
    assert "encoding" in trace.timings()


def test_no_text_needs_no_encoder_and_a_late_one_is_done_without(lab: Lab) -> None:
    lab.client.broken, trace = {"encoding"}, Trace()
    queries = encoded(lab, [Request()], [UserState()], trace).base
    assert (lab.client.calls, list(trace.degraded), queries.text_vectors) == ([], [], None)
    queries = encoded(lab, [Request(query="Title 1")], [UserState()], trace).base
    assert queries.text_vectors is None
    assert (lab.client.calls, list(trace.degraded)) == (["encoding"], ["encoding"])


def test_what_users_wrote_is_encoded_once_with_the_requests_own_text(lab: Lab) -> None:
    events = [
        search("Title 3", "a"),
        search("Title 4", "b", "rating", "i1"),
        search("Title 5", "c", "unheard-of"),
    ]
    lab.store.add_events([*events, Event("u", "i2", "view", 1)])
    writer, other = state(lab, *events), UserState()
    requests = [Request(query="Title 7"), Request(user_id="u"), Request(user_id="v")]
    built = encoded(lab, requests, [other, writer, other])
    assert lab.client.calls == ["encoding"]
    assert [[event.event_id for event in own] for own in built.written] == [[], ["a", "b"], []]
    recent, names = built.base.recent_texts, list(TYPES)
    assert recent is not None
    assert recent.offsets.tolist() == [0, 0, 2, 2]
    assert np.array_equal(recent.vectors, VECTORS[[3, 4]])
    assert [names[code] for code in recent.events] == ["search", "rating"]
    assert recent.weights.tolist() == [0.5, 1.0]
    assert (built.text_behind(1, -3), built.text_behind(1, -1), built.text_behind(0, -2)) == (
        events[1],
        None,
        None,
    )
    # From now on the vectors are at hand, and in the store for others.
    again = encoded(lab, [Request(user_id="u")], [lab.reader.users.get("u")])
    assert again.base.recent_texts is not None
    fresh = encoded(lab, [Request(user_id="u")], [writer])
    assert fresh.base.recent_texts is not None
    assert np.array_equal(fresh.base.recent_texts.vectors, VECTORS[[3, 4]])
    assert lab.client.calls == ["encoding"]


def test_only_the_newest_texts_are_read(lab: Lab) -> None:
    events = [search(f"Title {n}", f"e{n}", moment=n) for n in range(RECENT_TEXTS + 5)]
    lab.store.add_events(events)
    built = encoded(lab, [Request(user_id="u")], [state(lab, *events)])
    assert list(built.written[0]) == events[5:]


def test_a_lost_encoder_costs_only_what_is_not_at_hand(lab: Lab) -> None:
    old, new = search("Title 3", "a"), search("Title 4", "b", moment=2)
    lab.store.add_events([old, new])
    lab.store.set_text_vectors({"a": VECTORS[3]}, "words")
    lab.client.broken, trace = {"encoding"}, Trace()

    async def run() -> BuiltQueries:
        states = [state(lab, old, new)]
        requests = [Request(user_id="u", query="Title 1")]
        made = build_queries(
            requests, lab.live.view, TYPES, states, ColdStartConfig(), now=1, seen=["exclude"]
        )
        return await lab.pipeline.texts.encoded(made, states, lab.pipeline.context, trace)

    found = asyncio.run(run())
    assert list(trace.degraded) == ["encoding"]
    assert found.written == ((old,),)
    assert found.base.text_vectors is None


def test_too_many_texts_at_once_are_not_all_kept_waiting(lab: Lab) -> None:
    async def run() -> int:
        lab.pipeline.texts.encode_later(search("Title 1", f"e{n}") for n in range(MOST_WAITING + 50))
        return lab.pipeline.texts.waiting

    assert asyncio.run(run()) == MOST_WAITING


class Unlucky(Exception):
    """Nothing that a store says it raises."""


def test_a_failure_of_any_kind_is_counted_said_once_and_does_not_stop_the_others(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    events = [search(f"Title {n % 12}", f"e{n}") for n in range(80)]
    lab.store.add_events(events)
    metrics, store_vectors, calls = Metrics(), lab.store.set_text_vectors, [0]

    def unlucky(vectors: Mapping[str, FloatArray], fingerprint: str) -> int:
        calls[0] += 1
        if calls[0] < 3:
            raise Unlucky("the disk is on fire")
        return store_vectors(vectors, fingerprint)

    monkeypatch.setattr(lab.store, "set_text_vectors", unlucky)
    states = ServingStates(lab.build, lab.live, GuardedCalls())
    encoder = TextEncoder(states, lab.reader, lab.client, metrics)

    async def run() -> None:
        encoder.encode_later(events)
        for _ in range(500):
            if ("stored",) in metrics.snapshot().series.get(EVENT_TEXTS.name, {}):
                break
            await asyncio.sleep(0.01)

    asyncio.run(run())
    assert encoder.waiting == 0
    said = [record.getMessage() for record in caplog.records if "Unlucky" in record.getMessage()]
    assert said == ["storing vectors of texts failed: Unlucky: the disk is on fire"]
    counted = metrics.snapshot().series[EVENT_TEXTS.name]
    assert counted == {("failed",): [64.0], ("stored",): [16.0]}
