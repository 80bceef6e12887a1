"""Changes arrive in topics, keyed and with their ids; a broker that is gone is waited for."""

from __future__ import annotations

import asyncio
import json

import pytest

from recserve.config import KafkaConfig
from recserve.streams.outgoing import Change
from recserve.streams.sink import Refused, TargetError
from recserve.streams.targets.kafka import KafkaTarget
from tests.support.kafka import Broker


def change(number: int, text: str = "") -> Change:
    return Change(
        "deletions", "item_deleted", f"item:1:{number}", number, f"k{number % 2}", {"n": number, "t": text}
    )


def target_of(broker: Broker) -> KafkaTarget:
    return KafkaTarget(KafkaConfig(servers=(broker.address,)), {"deletions": "gone"})


@pytest.mark.slow
def test_changes_arrive_and_one_that_is_too_large_is_refused(broker: Broker) -> None:
    broker.create("gone", 2)

    async def main() -> list[Refused]:
        target = target_of(broker)
        try:
            return list(await target.send([change(1), change(2, "x" * 2_000_000), change(3)]))
        finally:
            await target.close()

    ((refused, reason),) = asyncio.run(main())
    assert (refused.number, "MessageSizeTooLarge" in reason) == (2, True)
    found = broker.read("gone", 2)
    assert sorted(json.loads(one.value)["n"] for one in found) == [1, 3]
    first = next(one for one in found if one.key == b"k1")
    assert dict(first.headers) == {"type": b"item_deleted", "id": b"item:1:1", "number": b"1"}


@pytest.mark.long
def test_a_broker_that_is_gone_is_named_and_its_successor_takes_the_changes(broker: Broker) -> None:
    broker.create("gone")

    async def main() -> None:
        target = target_of(broker)
        try:
            await target.send([change(1)])
            await asyncio.to_thread(broker.kill)
            with pytest.raises(TargetError, match="do not take messages"):
                await target.send([change(2)])
            await asyncio.to_thread(broker.start)
            await target.send([change(2)])
        finally:
            await target.close()

    asyncio.run(main())
    assert [json.loads(one.value)["n"] for one in broker.read("gone", 2)] == [1, 2]
