"""Source: topics of a Kafka cluster that are read into the store, each event once.

Offsets are committed after the store has acknowledged, so a message may be delivered again, and nothing is
lost; that an event counts once is the store's doing, by its id.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from recserve.api.settings import ApiSettings
from recserve.config import Config, SourceConfig
from recserve.errors import ConfigError, StoreError
from recserve.store import Store
from recserve.streams.connection import aiokafka, client_options, close
from recserve.streams.counts import StreamCounts
from recserve.streams.messages import Decoder, Message
from recserve.streams.waiting import Backoff, Stop, StoppedError
from recserve.streams.writing import MessageWriter, Refusal, Written

logger = logging.getLogger("recserve.streams")

POLL_MS = 500
CALL_SECONDS = 20.0
"""How long one call of a broker is waited for."""
JOIN_SECONDS = 60.0
"""How long a group is waited for to give partitions out."""
SILENT_SECONDS = 60.0
"""A consumer that has heard nothing from its brokers for so long is made anew."""
FETCH_BYTES = 16 * 1024 * 1024
"""Bytes that are fetched from a broker at a time; what is in memory is a small multiple of it."""

_REASON = 1_000
"""Longest reason in a header, in characters."""


class KafkaSource:
    """Reader of the configured topics into a store.

    Args:
        store: The store.
        config: The configuration, which has a source.
        counts: Counts what becomes of the messages.
        until_end: End once everything is read that was there.
        patience: Seconds without any success after which it ends with an error; None for never.

    Raises:
        ConfigError: No source is configured, or the connection's settings are wrong.
        RuntimeEnvironmentError: aiokafka is not installed.
    """

    def __init__(
        self,
        store: Store,
        config: Config,
        counts: StreamCounts,
        *,
        until_end: bool = False,
        patience: float | None = None,
    ) -> None:
        if config.streams.source is None:
            raise ConfigError("streams.source: name the topics to read", field="streams.source")
        self._config: SourceConfig = config.streams.source
        self._servers = ", ".join(config.streams.kafka.servers)
        self._library = aiokafka()
        self._options = client_options(config.streams.kafka)
        decoder = Decoder(ApiSettings.of(config), self._config.topics)
        self._writer = MessageWriter(store, decoder, f"stream:{self._config.group}")
        self._counts = counts
        self._until_end = until_end
        self._patience = patience
        self._dead_letters: Any = None

    async def run(self, stop: Stop) -> None:
        """Read until asked to stop, or until the end.

        Raises:
            RuntimeEnvironmentError: Nothing has worked for as long as the patience.
        """
        backoff = Backoff(stop, self._patience)
        while not stop:
            try:
                async with self._connected(stop) as consumer:
                    logger.info("reading %s as group %s", ", ".join(self._config.topics), self._config.group)
                    await self._read(consumer, stop, backoff)
                return
            except StoppedError:
                return
            except (self._library.errors.KafkaError, TimeoutError) as error:
                reason = f"the brokers ({self._servers}) cannot be used: {_in_words(error)}"
                logger.warning("%s; trying again within %.1f s", reason, backoff.next_seconds)
                await backoff.wait(reason)

    @asynccontextmanager
    async def _connected(self, stop: Stop) -> AsyncIterator[Any]:
        consumer = self._library.AIOKafkaConsumer(
            *self._config.topics,
            **self._options,
            group_id=self._config.group,
            auto_offset_reset=self._config.begin,
            enable_auto_commit=False,
            # What a transaction took back was never said.
            isolation_level="read_committed",
            fetch_max_bytes=FETCH_BYTES,
        )
        producer = None
        try:
            await stop.unless(consumer.start(), JOIN_SECONDS)
            if self._config.dead_letters is not None:
                producer = self._library.AIOKafkaProducer(**self._options, acks="all")
                await stop.unless(producer.start(), CALL_SECONDS)
            self._dead_letters = producer
            yield consumer
        finally:
            for client in (consumer, producer):
                if client is not None:
                    await close(client)

    async def _read(self, consumer: Any, stop: Stop, backoff: Backoff) -> None:
        end = ReadingEnd(consumer, self._library.errors)
        while not stop:
            found = await consumer.getmany(timeout_ms=POLL_MS, max_records=self._config.batch)
            if found:
                messages = [_message(record) for records in found.values() for record in records]
                written = await self._written(messages, stop, backoff)
                if written is None:
                    return  # asked to stop; what is not committed is delivered again
                await self._bury(written.refused)
                self._count(written)
                await self._commit(
                    consumer, {partition: records[-1].offset + 1 for partition, records in found.items()}
                )
            if found or not self._until_end:
                backoff.succeeded()
            left = await end.left()
            self._counts.behind(end.by_topic(left))
            self._counts.say()
            if self._until_end and not found:
                if await end.reached(left):
                    return
                backoff.check(f"the brokers ({self._servers}) give out no messages although there are some")

    async def _written(self, messages: Sequence[Message], stop: Stop, backoff: Backoff) -> Written | None:
        """What became of messages; None if the store did not take them before somebody asked to stop."""
        while True:
            try:
                written = await asyncio.to_thread(self._writer.write, messages)
            except StoreError as error:
                logger.warning("%s; trying again within %.1f s", error.message, backoff.next_seconds)
                await backoff.wait(error.message)
                if stop:
                    return None
            else:
                backoff.succeeded()
                return written

    async def _bury(self, refused: Sequence[Refusal]) -> None:
        """Name refused messages in the log, and write them to the topic of dead letters if there is one."""
        for message, error in refused:
            self._counts.refuse(message.place, error.message)
        if self._dead_letters is not None and refused:
            topic = self._config.dead_letters
            sent = [
                await self._dead_letters.send(
                    topic, refusal.message.value, refusal.message.key, headers=_reasons(refusal)
                )
                for refusal in refused
            ]
            await asyncio.wait_for(asyncio.gather(*sent), JOIN_SECONDS)

    def _count(self, written: Written) -> None:
        for (kind, outcome), number in written.counts.items():
            self._counts.count(kind, outcome, number)
        self._counts.count("messages", "refused", len(written.refused))

    async def _commit(self, consumer: Any, offsets: Mapping[Any, int]) -> None:
        errors = self._library.errors
        try:
            await asyncio.wait_for(consumer.commit(offsets), CALL_SECONDS)
        except (errors.CommitFailedError, errors.IllegalStateError) as error:
            # The partitions went to another member, which reads the messages again.
            logger.info("offsets were not committed: %s", _in_words(error))


class ReadingEnd:
    """Finder of the end of what a consumer reads.

    Args:
        consumer: Reads.
        errors: The client library's errors.
    """

    def __init__(self, consumer: Any, errors: Any) -> None:
        self._consumer = consumer
        self._errors = errors
        self._assigned = self._heard = time.monotonic()
        self._answered = 0

    async def left(self) -> dict[Any, int | None]:
        """Messages that are left of each assigned partition; None while nothing was fetched of it yet.

        Raises:
            TimeoutError: No broker has answered for long, although there are partitions to fetch.
        """
        left: dict[Any, int | None] = {}
        partitions = self._consumer.assignment()
        self._check_heard(partitions)
        for partition in partitions:
            self._assigned = time.monotonic()
            try:
                end = self._consumer.last_stable_offset(partition)
                if end is None or end < 0:
                    end = self._consumer.highwater(partition)
                position = await asyncio.wait_for(self._consumer.position(partition), CALL_SECONDS)
            except self._errors.IllegalStateError:  # given to another member meanwhile
                continue
            left[partition] = None if end is None else max(0, end - position)
        return left

    def _check_heard(self, partitions: Collection[Any]) -> None:
        """Notice a consumer that does not find back to its brokers: another one is made then."""
        answered = max((self._consumer.last_poll_timestamp(one) or 0 for one in partitions), default=0)
        if not partitions or answered != self._answered:
            self._answered, self._heard = answered, time.monotonic()
        elif time.monotonic() - self._heard > SILENT_SECONDS:
            raise TimeoutError(f"no answer for {SILENT_SECONDS:g} s")

    @staticmethod
    def by_topic(left: Mapping[Any, int | None]) -> dict[str, int]:
        """The same of each topic, as far as it is known."""
        found: dict[str, int] = {}
        for partition, number in left.items():
            found[partition.topic] = found.get(partition.topic, 0) + (number or 0)
        return found

    async def reached(self, left: Mapping[Any, int | None]) -> bool:
        """Whether everything is read, given what is left."""
        if not left:
            # A member without partitions has nothing to do; but while a group forms anew, none has any.
            return time.monotonic() - self._assigned > JOIN_SECONDS
        if any(number != 0 for number in left.values()):
            return False
        ends = await asyncio.wait_for(self._consumer.end_offsets(list(left)), CALL_SECONDS)
        positions = [(await self._consumer.position(partition), end) for partition, end in ends.items()]
        return all(position >= end for position, end in positions)


def _message(record: Any) -> Message:
    return Message(
        record.topic,
        record.partition,
        record.offset,
        record.timestamp or 0,
        record.key,
        record.value,
        tuple(record.headers),
    )


def _reasons(refusal: Refusal) -> list[tuple[str, bytes]]:
    """Headers of a dead letter: its own, where it came from, and why it was refused."""
    message, error = refusal
    return [
        *message.headers,
        ("recserve-code", error.code.encode()),
        ("recserve-reason", error.message[:_REASON].encode(errors="replace")),
        ("recserve-topic", message.topic.encode()),
        ("recserve-partition", str(message.partition).encode()),
        ("recserve-offset", str(message.offset).encode()),
    ]


def _in_words(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
