"""Items that are written while a server runs, and item encoders."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from recserve import DataError, FloatArray, Item
from recserve.errors import StageLateError
from recserve.serving.state.item_encoding import ENCODED_AT_ONCE, NewItemEncoder


class Colour:
    """A direction by the attribute ``colour``."""

    dimension = 2
    fingerprint = "colour:1"

    def content(self, item: Item) -> bytes | None:
        named = item.attributes.get("colour")
        if named == "lost":
            raise DataError("it is lost")
        return None if named is None else named.encode()

    def encode(self, contents: Sequence[bytes]) -> FloatArray:
        known = {b"red": [1, 0], b"blue": [0, 1]}
        return np.array([known.get(content, [0, 0]) for content in contents], dtype=np.float32)


class Calls:
    """Runs plugin code at once, or is late."""

    late = False

    async def run(self, kind: Any, name: str, call: Callable[..., Any], *arguments: Any) -> Any:
        if self.late:
            raise StageLateError("late")
        return call(*arguments)


def made(calls: Any) -> NewItemEncoder:
    context = SimpleNamespace(item_encoders={"image": Colour()})
    states: Any = SimpleNamespace(latest=SimpleNamespace(context=context))
    nothing: Any = None
    return NewItemEncoder(states, nothing, nothing, nothing, calls)


def test_items_that_bring_no_vector_get_one(caplog: pytest.LogCaptureFixture) -> None:
    items = [
        Item("red", {"colour": "red"}),
        Item("given", {"colour": "red"}, vectors={"image": np.ones(2, dtype=np.float32)}),
        Item("hidden", {"colour": "red"}, hidden=True),
        Item("lost", {"colour": "lost"}),
        Item("odd", {"colour": "ultraviolet"}),
        Item("none"),
        Item("blue", {"colour": "blue"}),
    ]
    found = asyncio.run(made(Calls()).computed(items))
    assert found["image"].fingerprint == "colour:1"
    vectors = {name: vector.tolist() for name, vector in found["image"].by_id.items()}
    assert vectors == {"red": [1, 0], "blue": [0, 1]}
    assert "item 'lost' has no vector: it is lost" in caplog.text


def test_a_call_waits_for_few_and_not_for_ever() -> None:
    items = [Item(str(number), {"colour": "red"}) for number in range(ENCODED_AT_ONCE + 5)]
    calls = Calls()
    assert len(asyncio.run(made(calls).computed(items))["image"].by_id) == ENCODED_AT_ONCE
    calls.late = True
    assert asyncio.run(made(calls).computed(items)) == {}
