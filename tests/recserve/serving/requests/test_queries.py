"""Queries: ids become rows, session and history one list, and what must not come back is barred."""

from __future__ import annotations

from typing import Any

import pytest

from recserve import Catalogue, Event, User
from recserve.config import ColdStartConfig, Config
from recserve.serving.requests.queries import BuiltQueries, build_queries
from recserve.serving.requests.request import Request, SessionEvent
from recserve.serving.state.live_catalogue import CatalogueView
from recserve.serving.state.user_cache import UserState
from recserve.store import History
from tests.support.pipelines import ITEMS, VECTORS

NOW = 1_700_000_000_000
TYPES = Config().event_types
VIEW = CatalogueView.of(Catalogue.of(ITEMS, VECTORS))


def state(*events: Event, interests: Any = None) -> UserState:
    """The state of a user with these events, oldest first, with rows."""
    user = None if interests is None else User("u", {"interests": interests})
    history = History.of(list(enumerate(events, start=1)))
    return UserState(history, user).resolved(VIEW, TYPES)


def seen(item_id: str, event: str = "view", value: float | None = None) -> Event:
    return Event("u", item_id, event, NOW - 1000, value)


def built(
    request: Request, known: UserState | None = None, policy: str = "exclude", **cold: Any
) -> BuiltQueries:
    return build_queries(
        [request], VIEW, TYPES, [known or state()], ColdStartConfig(**cold), now=NOW, seen=[policy]
    )


def test_the_session_comes_after_the_history_whatever_its_order() -> None:
    session = (SessionEvent("i5"), SessionEvent("i4", timestamp=NOW - 5000), SessionEvent("nowhere"))
    found = built(Request(session=session), state(seen("i1"), seen("i2")))
    assert found.base.histories.items.tolist() == [1, 2, 4, 5]
    assert found.base.histories.timestamps.tolist()[-1] == NOW
    assert sorted(found.base.excluded[0].tolist()) == [1, 2, 4, 5]


@pytest.mark.parametrize("policy", ["allow", "decay"])
def test_only_the_policy_exclude_bars_what_was_seen(policy: str) -> None:
    request = Request(exclude=("i7", "i7"))
    assert sorted(built(request, state(seen("i1"))).base.excluded[0].tolist()) == [1, 7, 7]
    assert built(request, state(seen("i1")), policy).base.excluded[0].tolist() == [7, 7]


def test_an_anchor_that_is_not_there_is_named() -> None:
    assert built(Request(item_id="i3")).base.anchors.tolist() == [3]
    assert built(Request(item_id="i3")).missing == (None,)
    gone = built(Request(item_id="gone"))
    assert gone.base.anchors.tolist() == [-1]
    assert gone.missing == ("gone",)


def test_stated_interests_count_until_enough_was_liked() -> None:
    interests = ["tea", " ", 7, "boats "]
    assert built(Request(), state(interests=interests)).base.texts == ("tea, boats",)
    assert built(Request(), state(interests=interests)).interests == ("tea, boats",)
    liked = state(seen("i1"), seen("i2"), interests=interests)
    assert built(Request(), liked, until_events=3).base.texts == ("tea, boats",)
    assert built(Request(), liked, until_events=2).base.texts == (None,)
    disliked = state(seen("i1", "dislike"), seen("i2", "dislike"), interests=interests)
    assert built(Request(), disliked, until_events=2).base.texts == ("tea, boats",), "only liked items count"
    asked = built(Request(query="red shoes"), state(interests=interests))
    assert (asked.base.texts, asked.interests) == (("red shoes",), (None,))


def test_the_last_event_with_an_item_is_the_one_that_explains() -> None:
    found = built(Request(), state(seen("i1"), seen("i2"), seen("i1", "purchase")))
    names = found.event_names
    assert {row: names[code] for row, code in found.last_events(0).items()} == {1: "purchase", 2: "view"}
