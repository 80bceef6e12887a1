"""Every call of the client against a live server: nothing of an answer is lost."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from recserve_client import (
    AnswerError,
    Client,
    EventsNotRecordedError,
    InvalidRequestError,
    NotFoundError,
    Retries,
)
from recserve_client import answers as shapes

from tests.clients.conftest import Live

ARMS: Any = [{"name": "control"}, {"name": "fewer", "parameters": {"budget": 100}}]

# Each call once, in an order in which all of them succeed.
CALLS: dict[str, Callable[[Client], Any]] = {
    "record_event": lambda client: client.record_event(
        {"user_id": "ada", "item_id": "260", "event": "like", "timestamp": datetime.now(UTC)}
    ),
    "record_events": lambda client: client.record_events(
        [
            {"user_id": "ada", "item_id": item, "event": "view", "event_id": f"e{item}"}
            for item in ("1", "2", "6")
        ]
    ),
    "recommend": lambda client: client.recommend(user_id="ada", n=2, session=["47", {"item_id": "50"}]),
    "recommend_to_user": lambda client: client.recommend_to_user("ada", n=2, explain=False),
    "similar": lambda client: client.similar("260", n=3, exclude=["1"]),
    "rank": lambda client: client.rank(["1", "260", "nothing"], user_id="ada"),
    "audience": lambda client: client.audience("1196", limit=5),
    "delete_event": lambda client: client.delete_event("e6"),
    "delete_events": lambda client: client.delete_events(user_id="ada", item_id="2"),
    "list_items": lambda client: client.list_items(limit=2),
    "upsert_items": lambda client: client.upsert_items(
        [{"item_id": "new", "attributes": {"title": "Dune", "year": 2021, "genres": ["Sci-Fi"]}}]
    ),
    "patch_items": lambda client: client.patch_items(
        [{"item_id": "new", "expires_at": None, "hidden": True}]
    ),
    "item": lambda client: client.item('a/b "c" ☃/history'),
    "delete_item": lambda client: client.delete_item("new"),
    "delete_items": lambda client: client.delete_items(["new"]),
    "upsert_users": lambda client: client.upsert_users(
        [{"user_id": "ada/history", "attributes": {"interests": "chess"}}]
    ),
    "patch_users": lambda client: client.patch_users(
        [{"user_id": "ada/history", "attributes": {"country": "SE"}}]
    ),
    "list_users": lambda client: client.list_users(limit=1),
    "user": lambda client: client.user("ada/history"),
    "history": lambda client: client.history("ada", limit=1),
    "merge_user": lambda client: client.merge_user("ada", from_="session-1"),
    "delete_user": lambda client: client.delete_user("ada/history"),
    "report_outcomes": lambda client: client.report_outcomes(by="scenario", limit=5),
    "list_experiments": lambda client: client.list_experiments(),
    "create_experiment": lambda client: client.create_experiment(
        name="few", scenario="home", arms=ARMS, share=0.2
    ),
    "start_experiment": lambda client: client.start_experiment("few"),
    "experiment": lambda client: client.experiment("few"),
    "report_experiment": lambda client: client.report_experiment("few"),
    "stop_experiment": lambda client: client.stop_experiment("few", reason="decided"),
    "list_bundles": lambda client: client.list_bundles(limit=3),
    "vector_map": lambda client: client.vector_map(limit=20),
    "configuration": lambda client: client.configuration(),
    "check_configuration": lambda client: client.check_configuration("scenarios: {}"),
    "live_now": lambda client: client.live_now(),
    "plugins": lambda client: client.plugins(),
    "about": lambda client: client.about(),
    "live": lambda client: client.live(),
    "ready": lambda client: client.ready(),
}
# Calls that this server, which has no trained bundle, refuses, and the code of the refusal.
REFUSED: dict[str, tuple[str, Callable[[Client], Any]]] = {
    "bundle": ("not_found", lambda client: client.bundle("none")),
    "bundle_report": ("not_found", lambda client: client.bundle_report("none")),
    "compare_bundles": ("not_found", lambda client: client.compare_bundles(a="none", b="other")),
    "promote_bundle": ("not_found", lambda client: client.promote_bundle("none", reason="better")),
    "roll_back_bundle": ("no_earlier_bundle", lambda client: client.roll_back_bundle(reason="worse")),
}
# Calls that answer text, and what is made of others.
OTHERS = {"metrics", "close"}


class Recording(httpx.HTTPTransport):
    """The real transport, which keeps the last answer."""

    def __init__(self) -> None:
        super().__init__()
        self.last: Any = None

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response = super().handle_request(request)
        response.read()
        self.last = response.json() if "json" in response.headers["content-type"] else response.text
        return response


def without_absent(decoded: Any, sent: Any) -> Any:
    """What was decoded, without the fields that an answer may lack, lacks, and that are None therefore."""
    if isinstance(decoded, dict) and isinstance(sent, dict):
        return {
            name: without_absent(value, sent.get(name))
            for name, value in decoded.items()
            if value is not None or name in sent
        }
    if isinstance(decoded, list) and isinstance(sent, list):
        return [without_absent(*pair) for pair in zip(decoded, sent, strict=True)]
    return decoded


def test_every_call_loses_nothing_of_its_answer(live: Live) -> None:
    transport = Recording()
    with Client(live.url, transport=transport, retries=Retries(attempts=1)) as client:
        for name, call in CALLS.items():
            answer = call(client)
            assert without_absent(asdict(answer), transport.last) == transport.last, name
            assert type(answer).__name__ in dir(shapes)
        for name, (code, call) in REFUSED.items():
            with pytest.raises(AnswerError) as refused:
                call(client)
            assert refused.value.code == code, name
        assert "recserve_requests_total" in client.metrics()


def test_every_method_is_tried() -> None:
    methods = {name for name, _ in inspect.getmembers(Client, inspect.isfunction) if not name.startswith("_")}
    iterators = {name for name in methods if name.startswith("iter_")}
    assert methods - iterators == {*CALLS, *REFUSED, *OTHERS}
    assert iterators == {
        "iter_items",
        "iter_users",
        "iter_history",
        "iter_recommend",
        "iter_recommend_to_user",
        "iter_similar",
    }


def test_iterators_go_through_all_pages(live: Live) -> None:
    with Client(live.url) as client:
        listed = [item.item_id for item in client.iter_items(limit=7)]
        assert len(listed) == len(set(listed)) == 25
        client.record_events([{"user_id": "grace", "item_id": item, "event": "view"} for item in listed[:5]])
        assert [event.item_id for event in client.iter_history("grace", limit=2)] == listed[4::-1]
        recommended = [item.item_id for item in client.iter_recommend(user_id="grace", n=6)]
        assert len(recommended) == len(set(recommended)) > 12
        live.faults.paths.clear()
        similar = client.iter_similar("260", n=2)
        assert [next(similar).item_id for _ in range(3)]
        assert live.faults.paths == ["POST /v1/similar"] * 2, "pages are asked for when they are needed"


def test_a_list_in_a_query_is_sent_value_by_value(live: Live) -> None:
    with Client(live.url) as client:
        found = client.list_items(attribute=("genres:Sci-Fi", "year:1977"), limit=5)
        assert [item.item_id for item in found.items] == ["260"]


def test_errors_have_code_message_and_field(live: Live) -> None:
    with Client(live.url) as client:
        with pytest.raises(InvalidRequestError) as refused:
            client.recommend(n=0)
        error = refused.value
        assert (error.status, error.code, error.field) == (422, "invalid_request", "n")
        assert error.message == "n must be greater than or equal to 1 (got 0)"
        assert str(error) == f"422 invalid_request: {error.message}"
        assert error.request_id
        assert error.attempts == 1
        with pytest.raises(NotFoundError, match="unknown item 'nothing'"):
            client.item("nothing")


def test_a_path_cannot_hold_every_id(live: Live) -> None:
    with Client(live.url) as client:
        for item_id in ("", ".", ".."):
            with pytest.raises(ValueError, match="cannot be part of a URL"):
                client.item(item_id)


def test_many_events_go_in_batches_and_get_ids(live: Live) -> None:
    with Client(live.url) as client:
        recorded = client.record_events(
            ({"user_id": f"u{n}", "item_id": "1", "event": "view"} for n in range(25)), batch=10
        )
    assert (recorded.accepted, recorded.stored, recorded.duplicates) == (25, 25, 0)
    assert live.faults.paths == ["POST /v1/events"] * 3


def test_events_that_failed_can_be_recorded_once_more(live: Live) -> None:
    """The second batch was stored, but nobody said so; then it is sent again, and counts once."""
    with Client(live.url, retries=Retries(attempts=1)) as client:
        events: list[Any] = [{"user_id": "eve", "item_id": "1", "event": "view"} for _ in range(6)]
        assert client.record_events(events[:2], batch=2).stored == 2
        live.faults.planned, live.faults.after = [(503, "outcome_unknown", {})], True
        with pytest.raises(
            EventsNotRecordedError, match="4 events are not recorded \\(0 are\\): 503"
        ) as failed:
            client.record_events(events[2:], batch=2)
        again = client.record_events(failed.value.remaining, batch=3)
        assert (again.accepted, again.stored, again.duplicates) == (4, 2, 2)
        assert len(list(client.iter_history("eve"))) == 6
    assert not any("event_id" in event for event in events), "what the caller has is left as it is"


def test_an_event_that_is_retried_counts_once(live: Live) -> None:
    live.faults.planned, live.faults.after = [(503, "timeout", {"Retry-After": "0"}), (502, None, {})], True
    with Client(live.url) as client:
        recorded = client.record_event({"user_id": "bob", "item_id": "1", "event": "view"})
        assert (recorded.stored, recorded.duplicates) == (0, 1)
        assert len(client.history("bob").events) == 1
    assert live.faults.paths[:3] == ["POST /v1/events"] * 3
    assert len(set(live.faults.bodies[:3])) == 1


def test_a_key_is_sent_and_not_shown(live: Live) -> None:
    with Client(live.url, api_key="secret") as client:
        client.about()
        assert "secret" not in repr(client)
