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


@pytest.mark.slow
def test_changes_arrive_and_one_that_is_too_large_is_refused(broker: Broker) -> None:
    broker.create("gone", 2)

    async def main() -> list[Refused]:
        target = KafkaTarget(KafkaConfig(servers=(broker.address,)), {"deletions": "gone"})
        try:
            refused = await target.send([change(1), change(2, "x" * 2_000_000), change(3)])
            await asyncio.to_thread(broker.kill)
            with pytest.raises(TargetError, match="do not take messages"):
                await target.send([change(4)])
            await asyncio.to_thread(broker.start)
            await target.send([change(4)])
            return list(refused)
        finally:
            await target.close()

    ((refused, reason),) = asyncio.run(main())
    assert (refused.number, "too large" in reason.lower() or "MessageSizeTooLarge" in reason) == (2, True)
    found = broker.read("gone", 3)
    assert sorted(json.loads(one.value)["n"] for one in found) == [1, 3, 4]
    first = next(one for one in found if one.key == b"k1")
    assert dict(first.headers) == {"type": b"item_deleted", "id": b"item:1:1", "number": b"1"}
