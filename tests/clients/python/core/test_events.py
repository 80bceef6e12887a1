"""Batches of events, and their ids."""

from __future__ import annotations

from typing import Any

import pytest
from recserve_client.core import events
from recserve_client.core.events import batches, with_id

EVENT: Any = {"user_id": "1", "item_id": "2", "event": "view"}


def test_an_id_is_made_once() -> None:
    made = with_id(EVENT)
    assert len(made["event_id"]) == 32
    assert with_id(made) is made
    assert with_id(EVENT)["event_id"] != made["event_id"]
    assert "event_id" not in EVENT


def test_batches_are_bounded_by_number_and_by_length(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [len(batch) for batch in batches([EVENT] * 25, 10)] == [10, 10, 5]
    assert list(batches([], 10)) == []
    monkeypatch.setattr(events, "MOST_BYTES", 500)
    long = {**EVENT, "text": "x" * 600}
    assert [len(batch) for batch in batches([EVENT, EVENT, long, EVENT], 10)] == [2, 1, 1]


def test_a_batch_is_one_that_the_server_takes() -> None:
    for most in (0, 10_001):
        with pytest.raises(ValueError, match="a batch has 1 to 10,000 events"):
            batches([EVENT], most)
