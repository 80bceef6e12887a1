"""Whatever a body looks like: what it says at the configured places is the event."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from recserve.api import ApiSettings
from recserve.api.routes.hooks.mapping import HookMapping
from recserve.api.routes.hooks.paths import Entry, find, follow
from recserve.config import FieldConfig
from recserve.data.entities import DEFAULT_EVENT_TYPES, LAST_MS, Event
from recserve.data.events.text import event_text
from tests.recserve.api.routes.hooks.conftest import hook

NOW = 1_800_000_000_000

characters = st.characters(exclude_categories=["Cs"], exclude_characters="\x00")
ids = st.text(characters, min_size=1, max_size=20)
keys = st.text(characters, min_size=1, max_size=6).filter(
    lambda key: "." not in key and key[0] not in "$@" and not key[0].isspace()
)
paths = st.lists(keys, min_size=1, max_size=3)
texts = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=40)
numbers = st.floats(-1e6, 1e6)
junk = st.dictionaries(
    keys, st.none() | st.booleans() | st.integers() | st.text(characters, max_size=5), max_size=3
)


@st.composite
def told(draw: st.DrawFn) -> dict[str, Any]:
    """The fields of an event."""
    kinds = [name for name, kind in DEFAULT_EVENT_TYPES.items() if kind.value_range is None]
    fields = {
        "user_id": draw(ids),
        "item_id": draw(ids),
        "event": draw(st.sampled_from(kinds)),
        "timestamp": draw(st.integers(200_000_000_000, NOW)),
        "event_id": draw(ids),
        "value": draw(numbers),
        "text": draw(texts),
        "recommendation_id": draw(ids),
    }
    optional = draw(st.sets(st.sampled_from(["timestamp", "event_id", "value", "text", "recommendation_id"])))
    return {key: value for key, value in fields.items() if key not in optional}


def written(draw: st.DrawFn, key: str, value: Any) -> Any:
    """A value as some sender writes it."""
    if key == "value" and draw(st.booleans()):
        return repr(value)
    if key == "timestamp" and draw(st.booleans()):
        return str(value)
    if key.endswith("_id") and value.isascii() and value.isdecimal() and str(int(value)) == value:
        return draw(st.sampled_from([value, int(value)]))
    return value


def put(body: dict[str, Any], path: list[str], value: Any) -> bool:
    """Put a value at a path; False if something else is there or in the way."""
    for name in path[:-1]:
        body = body.setdefault(name, {})
        if not isinstance(body, dict):
            return False
    if path[-1] in body:
        return False
    body[path[-1]] = value
    return True


@st.composite
def posted(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Fields of an event, the settings of a hook, and the body that holds them."""
    fields = draw(told())
    inner: dict[str, Any] = {}
    outer: dict[str, Any] = {}
    sources: dict[str, Any] = {}
    listed = draw(st.none() | paths)
    for key, value in fields.items():
        shared = listed is not None and draw(st.booleans())
        path = ["of entry" if not shared else "of body", key, *draw(paths)]
        assert put(outer if shared else inner, path, written(draw, key, value))
        sources[key] = ("$." if shared else "") + ".".join(path)
        if draw(st.booleans()):
            sources[key] = ["nowhere.at.all", sources[key]]
    inner.update({f"other {key}": value for key, value in draw(junk).items()})
    if listed is None:
        return fields, {"each": None, "fields": sources}, inner
    put(outer, ["list", *listed], [inner])
    return fields, {"each": ".".join(["list", *listed]), "fields": sources}, outer


def expected(fields: dict[str, Any], event: Event, settings: dict[str, Any]) -> Event:
    """The event that the fields are; an id that was made is taken from what came."""
    source = settings["fields"].get("event_id")
    path = source[1] if isinstance(source, list) else source
    made = event.event_id
    if "event_id" in fields:
        made = f"{fields['event_id']}:0" if path.startswith("$.") else fields["event_id"]
    text = fields.get("text")
    return Event(
        user_id=fields["user_id"],
        item_id=fields["item_id"],
        event=fields["event"],
        timestamp=fields.get("timestamp", NOW),
        value=fields.get("value"),
        event_id=made,
        recommendation_id=fields.get("recommendation_id"),
        text=None if text is None else event_text(text),
    )


@settings(max_examples=100, deadline=None)
@given(posted())
def test_whatever_a_body_says_is_the_event(
    case: tuple[dict[str, Any], dict[str, Any], dict[str, Any]],
) -> None:
    fields, given_settings, body = case
    mapping = HookMapping("shop", hook(**given_settings), ApiSettings())
    sent = json.loads(json.dumps(body))
    (event,), skipped = mapping.events(sent, b"delivery", NOW)
    assert (event, skipped) == (expected(fields, event, given_settings), 0)
    assert event.timed is ("timestamp" in fields)
    assert mapping.events(sent, b"delivery", NOW + 1000).events[0].event_id == event.event_id
    if "event_id" not in fields:
        assert mapping.events(sent, b"another", NOW).events[0].event_id != event.event_id


def test_times_lie_where_milliseconds_can_be_told_from_seconds() -> None:
    mapping = HookMapping(
        "shop",
        hook(
            each=None,
            fields={"user_id": "u", "item_id": "i", "event": {"constant": "view"}, "timestamp": "t"},
        ),
        ApiSettings(),
    )
    for said, at in (
        ("1700000000", 1_700_000_000_000),
        (1700000000.5, 1_700_000_000_500),
        ("20240131", 1706659200000),
    ):
        assert mapping.events({"u": "a", "i": "b", "t": said}, b"", LAST_MS).events[0].timestamp == at


def test_paths_go_through_objects_and_lists() -> None:
    value = {"a": [{"b": 1}, 2], "1": "one", "": 3}
    assert follow(value, "a.0.b") == 1
    assert follow(value, "1") == "one"
    for path in ("a.2", "a.-1", "a.x", "a.0.b.c", "a.9999999999999", "a.١"):
        assert follow(value, path) is None
    entry = Entry(value, value["a"][1], "a[1]", 1)
    assert find(entry, FieldConfig(paths=("@",))).place == "a[1]"
    assert find(entry, FieldConfig(paths=("$",))).value is value
    assert find(entry, FieldConfig(paths=("x", "y"))).place == "a[1].x"
    assert find(entry, FieldConfig(constant=0.0)).value == 0.0
