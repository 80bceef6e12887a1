"""Ids of recommendations."""

from __future__ import annotations

import time
import uuid
from dataclasses import fields, replace

import pytest

from recserve.experiments.assignment import AssignedArm
from recserve.experiments.definition import Arm
from recserve.serving.requests.request import NOT_IN_IDENTITY, Request, SessionEvent, new_id
from recserve.telemetry.requests import RequestContext


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


OTHER = {
    "user_id": "somebody",
    "session": (SessionEvent("i1"),),
    "item_id": "i1",
    "query": "space opera",
    "n": 3,
    "scenario": "plain",
    "exclude": ("i2",),
    "filter": {"genre": "Comedy"},
    "context": {"device": "phone"},
    "explain": False,
    "items": ("i1", "i2"),
    "seen": "allow",
    "rules": {"mmr": False},
    "language": "zh",
    "offset": 10,
    "session_id": "s1",
    "arm": AssignedArm("trial", "plain", 5, Arm(name="plain")),
    "told": print,
    "origin": RequestContext(("r1",)),
    "bundle": "b1",
    "details": True,
}
"""Another value for each field; a new field needs one, and so a decision."""


@pytest.mark.parametrize("field", [one.name for one in fields(Request)])
def test_every_field_counts_in_the_identity_but_the_named_ones(field: str) -> None:
    other = replace(Request(), **{field: OTHER[field]})
    assert (other.identity == Request().identity) == (field in NOT_IN_IDENTITY)
    assert hash(other.identity) == hash(replace(other).identity)


def test_numbers_that_json_tells_apart_stay_apart() -> None:
    identities = {Request(filter={"year": value}).identity for value in (1, 1.0, True)}
    assert len(identities) == 3
