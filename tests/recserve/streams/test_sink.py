"""A sink passes each change on at least once, from where it stood, one process at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from recserve import Event, Item
from recserve.config import SinkConfig
from recserve.data.entities import now_ms
from recserve.errors import RuntimeEnvironmentError
from recserve.store import ExposedItem, Exposure, Store, key_of
from recserve.streams.counts import StreamCounts
from recserve.streams.outgoing import Change, Follower
from recserve.streams.sink import Refused, Sink, TargetError
from recserve.streams.waiting import Stop


class Taken:
    """A target that keeps what it was sent.

    Args:
        fails: Sendings that fail at first.
        refuses: Ids that are refused for good.
    """

    def __init__(self, fails: int = 0, refuses: Sequence[str] = ()) -> None:
        self.changes: list[Change] = []
        self.fails = fails
        self.refuses = refuses
        self.closed = False

    async def send(self, changes: Sequence[Change]) -> Sequence[Refused]:
        self.changes += changes  # also those of an attempt whose answer was lost
        self.fails -= 1
        if self.fails >= 0:
            raise TargetError("not now")
        return [Refused(change, "too odd") for change in changes if change.id in self.refuses]

    async def close(self) -> None:
        self.closed = True

    @property
    def sent(self) -> list[tuple[str, str]]:
        return [(change.type, change.id) for change in self.changes]


def config(**settings: Any) -> SinkConfig:
    topics = {"exposures": "e", "events": "v", "deletions": "d"}
    return SinkConfig.model_validate({"topics": topics, "batch": 2, "every_seconds": 0.01, **settings})


def send(store: Store, target: Taken, settings: SinkConfig | None = None, **options: Any) -> StreamCounts:
    counts = StreamCounts("s")
    options = {"until_end": True, "patience": 60, **options}

    async def main() -> None:
        await Sink(store, "s", settings or config(), target, counts, **options).run(Stop())

    asyncio.run(main())
    assert target.closed
    return counts


def fill(store: Store) -> None:
    store.upsert_items([Item("a"), Item("b")])
    for name, user in (("r1", "u"), ("r2", None), ("r3", "v")):
        item = ExposedItem("a", 0.5, ("mf",), propensity=0.25)
        store.add_exposures([Exposure(name, user, "b", "home", 5, (item,), experiment="x", arm="y")])
        store.flush()
    store.add_events(
        [Event("u", "a", "view", 1_000, None, "e1"), Event("v", "", "search", 2_000, None, "e2", text="t")]
    )


def test_everything_is_sent_once_in_order_and_what_is_new_later(store: Store) -> None:
    fill(store)
    target = Taken()
    counts = send(store, target)
    shown = [("exposure", "r1"), ("exposure", "r2"), ("exposure", "r3")]
    assert target.sent == [*shown, ("event", "e1"), ("event", "e2")]
    assert counts.totals == {("exposures", "sent"): 3, ("events", "sent"): 2}
    store.delete_items(["a"])
    receipt = store.delete_user("u")
    later = Taken()
    send(store, later)
    assert later.sent == [("item_deleted", "item:2:a"), ("user_deleted", receipt.receipt_id)]
    assert send(store, Taken()).line() == "nothing"


def test_what_changes_say(store: Store) -> None:
    fill(store)
    receipt = store.delete_user("v")
    store.delete_items(["b"])
    target = Taken()
    send(store, target)
    data = {change.id: change.data for change in target.changes}
    assert data["r1"] == {
        "recommendation_id": "r1", "user_id": "u", "scenario": "home", "bundle": "b", "timestamp": 5,
        "items": [{"item_id": "a", "score": 0.5, "sources": ["mf"], "propensity": 0.25}],
        "experiment": "x", "arm": "y", "shadow": False, "degraded": [], "deletions_before": 0,
    }  # fmt: skip
    assert data["e1"] == {
        "user_id": "u",
        "item_id": "a",
        "event": "view",
        "timestamp": 1_000,
        "event_id": "e1",
    }
    assert data["item:2:b"] == {"item_id": "b"}
    assert data[receipt.receipt_id] == {
        "user_key": key_of("v").hex(), "receipt_id": receipt.receipt_id, "deleted_at": receipt.deleted_at,
        "last_event": 2, "part_of": None,
    }  # fmt: skip
    assert not {"r3", "e2"} & set(data), "what went with a person is not passed on"
    assert [change.key for change in target.changes if change.kind == "exposures"] == ["u", "r2"]


def test_a_target_that_fails_gets_the_page_again_and_nothing_is_lost(store: Store) -> None:
    fill(store)
    target = Taken(fails=2)
    send(store, target)
    assert target.sent[:6] == [("exposure", "r1"), ("exposure", "r2")] * 3
    assert {name for _, name in target.sent} == {"r1", "r2", "r3", "e1", "e2"}


def test_a_sink_that_was_interrupted_goes_on_where_it_stood(plain_store: Store) -> None:
    fill(plain_store)
    with pytest.raises(RuntimeEnvironmentError, match=r"gave up after .*: not now"):
        send(plain_store, Taken(fails=1_000), patience=0.1)
    assert plain_store.stream_position("s") == {"exposures": 0, "events": 0, "items": 0, "users": 0}
    target = Taken()
    send(plain_store, target)
    assert len(target.sent) == 5


def test_refused_changes_are_counted_and_passed_over(plain_store: Store) -> None:
    fill(plain_store)
    counts = send(plain_store, Taken(refuses=["r2"]))
    assert counts.totals["exposures", "refused"] == 1
    assert counts.totals["exposures", "sent"] == 2


def test_a_new_sink_may_begin_with_what_comes(plain_store: Store) -> None:
    fill(plain_store)
    assert send(plain_store, Taken(), config(begin="latest")).line() == "nothing"
    plain_store.add_events([Event("u", "a", "view", 3_000, None, "e3")])
    target = Taken()
    send(plain_store, target, config(begin="latest"))
    assert target.sent == [("event", "e3")]


def test_another_process_is_waited_for_and_followed(plain_store: Store) -> None:
    fill(plain_store)
    now = now_ms()
    assert plain_store.lease("stream:s", "another", now + 60_000, now)
    with pytest.raises(RuntimeEnvironmentError, match="another process sends for the sink s"):
        send(plain_store, Taken(), patience=0.1)
    assert plain_store.lease("stream:s", "another", 0, now), "it ends"
    target = Taken()
    send(plain_store, target)
    assert len(target.sent) == 5
    assert plain_store.lease("stream:s", "third", now_ms() + 1, now_ms()), "whoever ends steps down at once"


def test_a_sink_follows_until_it_is_asked_to_stop(plain_store: Store) -> None:
    target = Taken()

    async def main() -> None:
        stop = Stop()
        running = asyncio.ensure_future(Sink(plain_store, "s", config(), target, StreamCounts("s")).run(stop))
        await asyncio.to_thread(fill, plain_store)
        await until(lambda: len(target.changes) == 5)
        stop.ask()
        await asyncio.wait_for(running, 60)

    asyncio.run(main())
    assert target.closed


async def until(done: Callable[[], bool]) -> None:
    for _ in range(6_000):
        if done():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not happen in time")


def test_how_far_behind_a_sink_is(plain_store: Store) -> None:
    fill(plain_store)
    follower = Follower(plain_store, frozenset({"exposures", "deletions"}), 10)
    assert follower.behind({}) == {"exposures": 3, "items": 1, "users": 0}
    assert follower.behind({"exposures": 2, "items": 1}) == {"exposures": 1, "items": 0, "users": 0}
