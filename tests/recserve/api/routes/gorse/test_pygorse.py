"""Gorse's own Python client, unchanged: every method of the blocking and of the asynchronous one."""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.recserve.api.routes.gorse.conftest import GorseServer, serving

gorse = pytest.importorskip("gorse", reason="the Python package PyGorse is missing")

ROOT = Path(__file__).parents[5]
NOON = "2024-05-01T12:00:00Z"
ITEMS = [
    {
        "ItemId": f"g{number}",
        "IsHidden": number == 3,
        "Labels": ["a", "b"],
        "Categories": ["d", f"c{number}"],
        "Timestamp": f"2024-05-0{number}T00:00:00Z",
        "Comment": f"comment {number}",
    }
    for number in range(1, 6)
]


class Blocking:
    """The asynchronous client as a blocking one, so that one test does for both."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._client, name)
        return lambda *positional, **named: asyncio.run(method(*positional, **named))


@pytest.fixture(params=["Gorse", "AsyncGorse"])
def client(request: pytest.FixtureRequest, gorse_server: Any) -> Any:
    """Either client of a fresh server."""
    made = getattr(gorse, request.param)(gorse_server.url, "")
    return made if request.param == "Gorse" else Blocking(made)


@pytest.fixture
def other(tmp_path: Path) -> Iterator[GorseServer]:
    """A second server."""
    with serving(tmp_path / "other") as server:
        yield server


def every(list_part: Callable[..., tuple[list[dict[str, Any]], str]], n: int) -> list[dict[str, Any]]:
    """A whole list, ``n`` at a time by its cursors."""
    found, cursor = list_part(n)
    while cursor:
        part, cursor = list_part(n, cursor)
        assert len(part) <= n
        found += part
    return found


def test_users(client: Any) -> None:
    user = {"UserId": "100", "Labels": ["a", "b", "c"], "Comment": "comment"}
    assert client.insert_user(user) == {"RowAffected": 1}
    assert client.get_user("100") == user
    others = [{"UserId": f"u{number}", "Labels": {"age": number}, "Comment": ""} for number in range(7)]
    assert client.insert_users(others) == {"RowAffected": 7}
    assert sorted(every(client.get_users, 3), key=lambda one: str(one["UserId"])) == [user, *others]
    assert client.delete_user("100") == {"RowAffected": 1}
    with pytest.raises(gorse.GorseException) as caught:
        client.get_user("100")
    assert (caught.value.status_code, caught.value.message) == (404, "user not found")


def test_items(client: Any) -> None:
    for item in ITEMS:
        assert client.insert_item(item) == {"RowAffected": 1}
    assert client.get_item("g1") == ITEMS[0]
    listed = every(client.get_items, 4)
    assert sorted((one for one in listed if one["ItemId"][0] == "g"), key=lambda one: one["ItemId"]) == ITEMS
    assert len(listed) == len({one["ItemId"] for one in listed}) == 30  # with the films
    assert client.update_item("g1", labels=["x"]) == {"RowAffected": 1}
    assert client.update_item("g1", is_hidden=True, categories=["e"], timestamp="2020-02-02") == {
        "RowAffected": 1
    }
    changed = {"IsHidden": True, "Labels": ["x"], "Categories": ["e"], "Timestamp": "2020-02-02T00:00:00Z"}
    assert client.get_item("g1") == {**ITEMS[0], **changed}
    assert client.update_item("nobody", comment="?") == {"RowAffected": 0}
    assert client.delete_item("g1") == {"RowAffected": 1}
    with pytest.raises(gorse.GorseException) as caught:
        client.get_item("g1")
    assert (caught.value.status_code, caught.value.message) == (404, "item not found")


def test_items_are_searched(client: Any) -> None:
    found = client.search_items("matrix", n=3)
    assert found[0]["ItemId"] == "2571"
    assert found[0]["Categories"] == ["Action", "Sci-Fi", "Thriller"]


def test_feedback(client: Any) -> None:
    assert client.insert_feedback("like", "100", "260", NOON) == {"RowAffected": 1}
    read = [
        {"FeedbackType": "read", "UserId": "100", "ItemId": item, "Timestamp": NOON} for item in ("32", "47")
    ]
    assert client.insert_feedbacks(read) == {"RowAffected": 2}
    assert client.list_feedbacks("read", "100") == [{**one, "Value": 0, "Comment": ""} for one in read]
    assert [one["ItemId"] for one in client.list_feedbacks("like", "100")] == ["260"]
    # The user was never inserted, and is there because of the feedback, as with auto_insert_user.
    assert client.get_user("100") == {"UserId": "100", "Labels": None, "Comment": ""}
    found = every(client.get_feedbacks, 2)
    assert [(one["FeedbackType"], one["ItemId"]) for one in found] == [
        ("like", "260"),
        ("read", "32"),
        ("read", "47"),
    ]
    assert client.delete_feedback("100", "32") == {"RowAffected": 1}
    assert [one["ItemId"] for one in client.list_feedbacks("read", "100")] == ["47"]


def test_recommendations_follow_feedback(client: Any) -> None:
    before = client.get_recommend("100", n=5)
    assert [type(one) for one in before] == [gorse.Score] * 5
    client.insert_feedback("like", "100", "260", NOON)
    after = client.get_recommend("100", n=5)
    assert after[0].id in ("1196", "1210", "480")  # action, adventure and science fiction, too
    assert "260" not in [one.id for one in after]
    assert [one.score for one in after] == sorted((one.score for one in after), reverse=True)
    further = client.get_recommend("100", n=3, offset=2)
    assert [one.id for one in further] == [one.id for one in after[2:]]


def test_recommendations_of_a_category(client: Any) -> None:
    client.insert_feedback("like", "100", "260", NOON)
    found = client.get_recommend("100", "Drama", n=20)
    assert [one.id for one in found]
    assert {one.id for one in found} <= {"110", "150", "296", "318", "356", "364", "527", "858"}


def test_recommendations_are_written_back(client: Any) -> None:
    shown = [one.id for one in client.get_recommend("100", n=4, write_back_type="read")]
    assert sorted(one["ItemId"] for one in client.list_feedbacks("read", "100")) == sorted(shown)
    assert not set(shown) & {one.id for one in client.get_recommend("100", n=4)}
    with pytest.raises(gorse.GorseException) as caught:
        client.get_recommend("100", write_back_type="read", write_back_delay="10m")
    assert caught.value.status_code == 501
    assert "write-back-delay" in caught.value.message


def test_session(client: Any) -> None:
    session = [{"FeedbackType": "like", "UserId": "0", "ItemId": "260", "Timestamp": NOON}]
    found = client.session_recommend(session, n=3)
    assert [set(one) for one in found] == [{"Id", "Score"}] * 3
    assert found[0]["Id"] in ("1196", "1210", "480")


def test_neighbours(client: Any) -> None:
    found = client.get_neighbors("260", n=4)
    assert len(found) == 4
    assert found[0]["Id"] in ("1196", "1210", "480")
    assert client.get_neighbors("260", n=2, offset=2) == found[2:]


def test_mistakes_are_lines_of_text(client: Any) -> None:
    with pytest.raises(gorse.GorseException) as caught:
        client.insert_feedback("likes", "100", "260", NOON)
    assert caught.value.status_code == 400
    assert caught.value.message.startswith(
        "[0]: feedback type 'likes' is not configured; did you mean 'like'?"
    )


def test_the_copying_script_of_the_guide(gorse_server: Any, other: Any) -> None:
    page = (ROOT / "docs" / "how-to" / "migrate" / "from-gorse.md").read_text(encoding="utf-8")
    (script,) = re.findall(r"```python\n(from gorse import Gorse\n\n\ndef copy.*?)\nprint\(", page, re.DOTALL)
    defined: dict[str, Any] = {}
    exec(script, defined)
    old, new = (gorse.Gorse(server.url, "") for server in (gorse_server, other))
    old.insert_item(ITEMS[2])
    old.insert_user({"UserId": "100", "Labels": ["a"]})
    old.insert_feedbacks(
        [
            {"FeedbackType": "star", "UserId": "100", "ItemId": str(item), "Timestamp": NOON}
            for item in range(7)
        ]
    )
    for _ in range(2):
        assert defined["copy"](old, new, 3) == {"items": 26, "users": 1, "feedback": 7}
        assert new.get_item("g3") == ITEMS[2]
        assert new.get_user("100") == old.get_user("100")
        assert new.list_feedbacks("star", "100") == old.list_feedbacks("star", "100")


def test_every_method_is_called_here() -> None:
    """A new version of the client may bring methods that nobody looked at."""
    source = inspect.getsource(inspect.getmodule(test_users) or object)
    for kind in (gorse.Gorse, gorse.AsyncGorse):
        methods = [name for name, _ in inspect.getmembers(kind, inspect.isfunction) if name[0] != "_"]
        assert methods
        assert [name for name in methods if f"client.{name}" not in source] == []
