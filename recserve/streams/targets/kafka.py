"""Topics of a Kafka cluster as a target."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from recserve.config import KafkaConfig, SinkKind
from recserve.streams.connection import aiokafka, client_options, close
from recserve.streams.outgoing import Change
from recserve.streams.sink import Refused, TargetError

ACKNOWLEDGED_SECONDS = 60.0


class KafkaTarget:
    """Producer of changes: JSON, keyed so that the changes of a user keep their order.

    Headers of each message are its ``type``, ``id`` and ``number``.

    Args:
        config: The connection.
        topics: The topic of each kind.

    Raises:
        ConfigError: The connection's settings are wrong.
        RuntimeEnvironmentError: aiokafka is not installed.
    """

    def __init__(self, config: KafkaConfig, topics: Mapping[SinkKind, str]) -> None:
        self._library = aiokafka()
        self._options = client_options(config)
        self._servers = ", ".join(config.servers)
        self._topics = topics
        self._producer: Any = None

    async def send(self, changes: Sequence[Change]) -> Sequence[Refused]:
        """See :meth:`recserve.streams.sink.Target.send`."""
        errors = self._library.errors
        try:
            producer = await self._started()
            return await asyncio.wait_for(self._send(producer, changes), ACKNOWLEDGED_SECONDS)
        except (errors.KafkaError, TimeoutError) as error:
            # A producer that has failed may never recover, so the next attempt has a new one.
            await self.close()
            reason = " ".join(str(error).split()) or type(error).__name__
            raise TargetError(f"the brokers ({self._servers}) do not take messages: {reason}") from None

    async def _started(self) -> Any:
        if self._producer is None:
            self._producer = self._library.AIOKafkaProducer(
                **self._options,
                # Every in-sync replica has it, or it is sent again.
                acks="all",
                linger_ms=5,
            )
            await asyncio.wait_for(self._producer.start(), ACKNOWLEDGED_SECONDS)
        return self._producer

    async def _send(self, producer: Any, changes: Sequence[Change]) -> list[Refused]:
        too_large = self._library.errors.MessageSizeTooLargeError
        refused: list[Refused] = []
        sent: list[tuple[Change, Any]] = []
        for change in changes:
            try:
                sent.append((change, await producer.send(self._topics[change.kind], **_message(change))))
            except too_large as error:
                refused.append(Refused(change, str(error)))
        results = await asyncio.gather(*(future for _, future in sent), return_exceptions=True)
        for (change, _), result in zip(sent, results, strict=True):
            if isinstance(result, too_large):
                refused.append(Refused(change, str(result)))
            elif isinstance(result, BaseException):
                raise result
        return refused

    async def close(self) -> None:
        """See :meth:`recserve.streams.sink.Target.close`."""
        if self._producer is not None:
            producer, self._producer = self._producer, None
            await close(producer)


def _message(change: Change) -> dict[str, Any]:
    headers = {"type": change.type, "id": change.id, "number": str(change.number)}
    return {
        "key": change.key.encode(),
        "value": orjson.dumps(change.data),
        "headers": [(name, value.encode()) for name, value in headers.items()],
    }
