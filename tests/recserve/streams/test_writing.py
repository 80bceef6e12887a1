"""Messages are written together; what cannot be stored costs the others nothing."""

from __future__ import annotations

import json
from typing import Any

from recserve import Item
from recserve.api.settings import ApiSettings
from recserve.store import Exposure, Store
from recserve.streams.messages import Decoder, Message
from recserve.streams.writing import MessageWriter, Written

TOPICS: Any = {"e": "events", "i": "items", "u": "users", "d": "deletions"}


class Topics:
    """Writes messages one after another."""

    def __init__(self, store: Store) -> None:
        self._writer = MessageWriter(store, Decoder(ApiSettings(), TOPICS), "stream:test")
        self._offset = 0

    def write(self, *messages: tuple[str, Any]) -> Written:
        made = []
        for topic, value in messages:
            self._offset += 1
            text = None if value is None else json.dumps(value).encode()
            made.append(Message(topic, 0, self._offset, 1_700_000_000_000, b"b", text))
        self.last = made
        return self._writer.write(made)

    def again(self) -> Written:
        return self._writer.write(self.last)


def event(**fields: Any) -> tuple[str, Any]:
    return "e", {"user_id": "u", "item_id": "i", "event": "view", **fields}


def test_writing_again_stores_nothing_twice(store: Store) -> None:
    topics = Topics(store)
    written = topics.write(event(), event(event_id="x"), event())
    assert (written.counts, written.refused) == (
        {("events", "stored"): 3, ("events", "duplicate"): 0, ("events", "refused"): 0},
        [],
    )
    assert +topics.again().counts == {("events", "duplicate"): 3}
    assert store.counts().events == 3


def test_the_last_message_on_an_item_counts(store: Store) -> None:
    topics = Topics(store)
    topics.write(
        ("i", {"item_id": "a"}),
        ("i", {"item_id": "b"}),
        ("i", {"item_id": "a", "attributes": {"n": 2}}),
        ("i", None),
    )
    assert store.items(["a", "b"]) == {"a": Item("a", {"n": 2})}
    topics.write(("d", {"item_id": "a"}), ("i", {"item_id": "b"}))
    assert list(store.items(["a", "b"])) == ["b"]
    assert [entry.action for entry in store.audit(9)] == ["item.delete"]


def test_people_are_deleted_last_and_it_is_audited_without_their_ids(store: Store) -> None:
    topics = Topics(store)
    written = topics.write(("d", {"user_id": "u"}), ("u", {"user_id": "u"}), event())
    assert written.counts["users", "deleted"] == 1
    assert (store.counts().events, store.users(["u"])) == (0, {})
    (entry,) = store.audit(9)
    assert (entry.actor, entry.action) == ("stream:test", "user.delete")
    assert store.deletion(entry.target) is not None
    refused = topics.again().refused
    assert [(one.message.topic, one.error.code) for one in refused] == [("e", "event_removed")]


def test_one_that_the_store_cannot_hold_is_found_and_the_others_are_stored(store: Store) -> None:
    topics = Topics(store)
    items = [("i", {"item_id": f"i{n}", "attributes": {"x": "\x00" if n == 5 else n}}) for n in range(9)]
    written = topics.write(*items)
    stored = len(store.items([f"i{n}" for n in range(9)]))
    assert stored + len(written.refused) == 9
    assert written.counts["items", "written"] == stored
    assert all(one.message.offset == 6 for one in written.refused)


def test_a_refusal_names_the_event_of_its_own_message(store: Store) -> None:
    topics = Topics(store)
    topics.write(event(event_id="x"))
    several = {"events": [event(event_id="y")[1], event(event_id="x", value=3.0)[1]]}
    written = topics.write(event(), event(), ("e", several))
    ((message, error),) = written.refused
    assert message.offset == 4
    assert error.message.startswith("events[1].event_id: this id stands for")
    assert written.counts["events", "stored"] == 3


def test_clicks_on_items_under_trial_are_counted_once(store: Store) -> None:
    store.add_exposures([Exposure("r", "u", "b", "home", 1, ())])
    store.add_trials({"new": 3}, {})
    store.flush()
    topics = Topics(store)
    clicked = [event(item_id=name, recommendation_id="r") for name in ("new", "old", "new")]
    topics.write(*clicked, event(item_id="new"), event(item_id="new", event="dislike", recommendation_id="r"))
    topics.again()
    store.flush()
    assert store.trials(["new", "old"]) == {"new": (3, 2)}
