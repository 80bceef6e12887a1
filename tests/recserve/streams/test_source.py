"""A source stores each event once, whatever happens to the broker and to the store."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Sequence
from typing import Any

import aiokafka
import pytest
from aiokafka import TopicPartition

from recserve import Event
from recserve.config import Config, parse_config
from recserve.errors import ConfigError, RuntimeEnvironmentError, StoreError
from recserve.store import AddedEvents, Store
from recserve.streams import source as source_module
from recserve.streams.counts import StreamCounts
from recserve.streams.source import KafkaSource, ReadingEnd
from recserve.streams.waiting import Stop
from tests.support.kafka import Broker

EVENTS = 2_000


def config_of(address: str, **source: Any) -> Config:
    settings = {"topics": {"events": "events"}, "batch": 200, **source}
    return parse_config({"streams": {"kafka": {"servers": address}, "source": settings}})


def event_of(number: int) -> bytes:
    event = {"user_id": f"u{number % 50}", "item_id": f"i{number % 20}", "event": "view"}
    return json.dumps({**event, "timestamp": 1_700_000_000 + number, "event_id": str(number)}).encode()


def read_all(store: Store, config: Config) -> StreamCounts:
    """Read until the end."""
    counts = StreamCounts("source")

    async def main() -> None:
        await KafkaSource(store, config, counts, until_end=True, patience=120).run(Stop())

    asyncio.run(main())
    return counts


def stored(store: Store) -> list[str]:
    table, _ = store.events_after(0, 10 * EVENTS)
    return sorted(table["event_id"].to_pylist())


def wait_for(done: Callable[[], bool], seconds: float = 120) -> None:
    waiting = threading.Event()
    for _ in range(int(seconds / 0.05)):
        if done():
            return
        waiting.wait(0.05)
    raise AssertionError("it did not happen in time")


@pytest.mark.slow
@pytest.mark.parametrize("store", [pytest.param("sqlite", marks=pytest.mark.long), "postgres"], indirect=True)
def test_each_event_is_stored_once_though_the_broker_is_killed(broker: Broker, store: Store) -> None:
    broker.create("events", 3)
    config, counts, stops = config_of(broker.address), StreamCounts("source"), []

    async def main() -> None:
        stops.append((asyncio.get_running_loop(), Stop()))
        await KafkaSource(store, config, counts).run(stops[0][1])

    reader = threading.Thread(target=lambda: asyncio.run(main()))
    broker.send("events", [event_of(number) for number in range(EVENTS // 2)])
    reader.start()
    wait_for(lambda: counts.totals["events", "stored"] >= EVENTS // 4)
    broker.kill()
    broker.start()
    broker.send("events", [event_of(number) for number in range(EVENTS // 2, EVENTS)])
    wait_for(lambda: counts.totals["events", "stored"] == EVENTS)
    loop, stop = stops[0]
    loop.call_soon_threadsafe(stop.ask)
    reader.join(60)
    assert not reader.is_alive()
    assert stored(store) == sorted(map(str, range(EVENTS)))
    # A group of its own gets the whole topic again.
    again = read_all(store, config_of(broker.address, group="another"))
    assert again.totals == {("events", "duplicate"): EVENTS}
    assert store.counts().events == EVENTS


@pytest.mark.slow
def test_refused_messages_are_dead_letters_that_say_why(broker: Broker, plain_store: Store) -> None:
    broker.create("events")
    broker.create("dead")
    config = config_of(broker.address, dead_letters="dead")
    bad = [b"{", b'{"user_id": "u", "item_id": "i", "event": "nope"}', event_of(1).replace(b"view", b"click")]
    broker.send("events", [event_of(1), *bad, None, event_of(2)], key=b"k")
    counts = read_all(plain_store, config)
    assert counts.totals == {
        ("events", "stored"): 2,
        ("events", "refused"): 1,
        ("messages", "refused"): 4,
    }
    letters = broker.read("dead", 4)
    assert [letter.value for letter in letters] == [*bad[:2], None, bad[2]]
    assert {letter.key for letter in letters} == {b"k"}
    headers = [dict(letter.headers) for letter in letters]
    assert [one["recserve-offset"] for one in headers] == [b"1", b"2", b"4", b"3"]
    codes = [one["recserve-code"] for one in headers]
    assert codes == [b"malformed_json", b"invalid_request", b"invalid_request", b"event_id_conflict"]
    assert b"unknown event type 'nope'" in headers[1]["recserve-reason"]


class Failing:
    """A store that is down for its first calls."""

    def __init__(self, store: Store, failures: int) -> None:
        self._store = store
        self.failures = failures

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def import_events(self, events: Sequence[Event]) -> AddedEvents:
        self.failures -= 1
        if self.failures >= 0:
            raise StoreError("the store is down")
        return self._store.import_events(events)


@pytest.mark.long
def test_a_store_that_is_down_is_waited_out_and_nothing_is_committed_before(
    broker: Broker, plain_store: Store
) -> None:
    broker.create("events")
    broker.send("events", [event_of(number) for number in range(300)])
    config = config_of(broker.address)
    failing: Any = Failing(plain_store, 1_000)

    async def give_up() -> None:
        await KafkaSource(failing, config, StreamCounts("source"), patience=1).run(Stop())

    with pytest.raises(RuntimeEnvironmentError, match=r"gave up after .* the store is down"):
        asyncio.run(give_up())
    failing.failures = 3
    assert read_all(failing, config).totals == {("events", "stored"): 300}
    assert read_all(plain_store, config).totals == {}, "all offsets are committed"


def test_a_broker_that_cannot_be_reached_is_waited_for_as_long_as_patience_lasts(plain_store: Store) -> None:
    config = config_of("127.0.0.1:9")

    async def main() -> None:
        await KafkaSource(plain_store, config, StreamCounts("source"), patience=0.1).run(Stop())

    with pytest.raises(RuntimeEnvironmentError, match=r"127\.0\.0\.1:9.* cannot be used"):
        asyncio.run(main())


def test_a_source_must_be_configured(plain_store: Store) -> None:
    with pytest.raises(ConfigError, match="name the topics to read"):
        KafkaSource(plain_store, Config(), StreamCounts("source"))


class Consumer:
    """A consumer of one partition that was last answered at a moment, and has read up to a place."""

    def __init__(self, errors: Any) -> None:
        self.answered, self.end, self.position_, self.partitions = 1, 5, 3, [TopicPartition("t", 0)]
        self.errors = errors

    def assignment(self) -> Sequence[TopicPartition]:
        return self.partitions

    def last_poll_timestamp(self, partition: TopicPartition) -> int:
        return self.answered

    def last_stable_offset(self, partition: TopicPartition) -> int:
        return -1

    def highwater(self, partition: TopicPartition) -> int:
        return self.end

    async def position(self, partition: TopicPartition) -> int:
        return self.position_

    async def end_offsets(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, self.end + 1)


def test_the_end_is_where_neither_fetches_nor_the_log_have_more(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        consumer = Consumer(aiokafka.errors)
        end = ReadingEnd(consumer, aiokafka.errors)
        left = await end.left()
        assert (end.by_topic(left), await end.reached(left)) == ({"t": 2}, False)
        consumer.position_ = 5
        left = await end.left()
        assert (end.by_topic(left), await end.reached(left)) == ({"t": 0}, False), "one more came meanwhile"
        consumer.position_ = consumer.end = 6
        consumer.end_offsets = lambda partitions: asyncio.sleep(0, dict.fromkeys(partitions, 6))
        assert await end.reached(await end.left())
        consumer.partitions = []
        assert not await end.reached(await end.left()), "a group that forms anew has none for a moment"
        monkeypatch.setattr(source_module, "JOIN_SECONDS", -1)
        assert await end.reached(await end.left())

    asyncio.run(main())


def test_a_consumer_that_hears_nothing_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        consumer = Consumer(aiokafka.errors)
        end = ReadingEnd(consumer, aiokafka.errors)
        await end.left()
        monkeypatch.setattr(source_module, "SILENT_SECONDS", -1)
        consumer.answered += 1
        await end.left()
        with pytest.raises(TimeoutError, match="no answer"):
            await end.left()

    asyncio.run(main())
