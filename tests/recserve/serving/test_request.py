"""Ids of recommendations."""

from __future__ import annotations

import time
import uuid

from recserve.serving.request import new_id


def test_ids_are_distinct_uuids_of_version_7_in_the_order_of_time() -> None:
    before = time.time_ns() // 1_000_000
    ids: list[str] = []
    for _ in range(5):
        ids.append(new_id())
        time.sleep(0.002)
    after = time.time_ns() // 1_000_000
    assert ids == sorted(ids)
    for one in map(uuid.UUID, ids):
        assert (one.version, one.variant) == (7, uuid.RFC_4122)
        assert before <= one.int >> 80 <= after
    assert len({new_id() for _ in range(10_000)}) == 10_000


def test_every_bit_that_may_vary_does() -> None:
    found = [int(new_id(), 16) for _ in range(200)]
    union = intersection = found[0]
    for one in found:
        union |= one
        intersection &= one
    random = ((1 << 80) - 1) & ~(0xF << 76 | 0b11 << 62)
    assert (union ^ intersection) & ((1 << 80) - 1) == random
