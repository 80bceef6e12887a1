"""Pages of one recommendation never repeat an item, whatever happens in between."""

from __future__ import annotations

import secrets
import string
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from itsdangerous import URLSafeSerializer

from recserve.api.pagination import MAX_CURSOR, MAX_SHOWN, MAX_URL_CURSOR, Cursors
from recserve.errors import InvalidRequestError
from recserve.serving.requests.request import Recommendation, RecommendedItem, Request, SessionEvent

IDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=40)
CURSORS = Cursors("a secret")


def answer_of(ids: list[str]) -> Recommendation:
    items = tuple(RecommendedItem(one, 1.0, rank, (), None, {}) for rank, one in enumerate(ids, 1))
    return Recommendation("r", "home", items, "b", (), {})


def walk(request: Request, *answers: list[str]) -> str | None:
    """The cursor after some pages."""
    cursor: str | None = None
    for ids in answers:
        page = CURSORS.page(replace(request, n=len(ids)), cursor)
        cursor = CURSORS.following(page, answer_of(ids))
        assert cursor is not None
    return cursor


def shown_by(cursor: str) -> tuple[str, ...] | None:
    """What a cursor says was shown, None if it is refused."""
    try:
        return CURSORS.page(Request(), cursor).shown
    except InvalidRequestError:
        return None


class TestCursors:
    @given(st.lists(IDS, min_size=1, max_size=60, unique=True), st.integers(1, 30))
    def test_they_carry_what_was_shown(self, ids: list[str], size: int) -> None:
        request = Request(user_id="ada", exclude=("mine",))
        cursor = walk(request, *(ids[start : start + size] for start in range(0, len(ids), size)))
        page = CURSORS.page(request, cursor)
        assert page.request.exclude == ("mine", *ids)
        assert page.request.offset == len(ids)
        assert replace(page.request, exclude=request.exclude, offset=0) == request

    @given(st.lists(IDS, min_size=1, max_size=200, unique=True), st.data())
    def test_what_was_altered_is_refused(self, ids: list[str], data: st.DataObject) -> None:
        cursor = walk(Request(), ids)
        assert cursor is not None
        where = data.draw(st.integers(0, len(cursor) - 1))
        letter = data.draw(st.sampled_from(string.ascii_letters + string.digits + "-_."))
        altered = cursor[:where] + letter + cursor[where + 1 :]
        # A few bits at the end of base64 mean nothing.
        assert shown_by(altered) in (None, tuple(ids))
        assert shown_by(cursor[: data.draw(st.integers(0, len(cursor) - 1))]) is None

    def test_what_another_store_signed_is_refused(self) -> None:
        ids = ["1", "2"]
        page = CURSORS.page(Request(n=2), None)
        assert shown_by(Cursors("a secret").following(page, answer_of(ids)) or "") == ("1", "2")
        assert shown_by(Cursors("another secret").following(page, answer_of(ids)) or "") is None

    @given(st.text(max_size=100))
    def test_anything_else_is_refused(self, text: str) -> None:
        with pytest.raises(InvalidRequestError):
            CURSORS.page(Request(), text)
        with pytest.raises(InvalidRequestError):
            CURSORS.after("items", text)

    @pytest.mark.parametrize("content", [["r", "x", []], ["items", "a"], None, {"r": "x"}])
    def test_what_was_signed_for_something_else_is_refused(self, content: Any) -> None:
        with pytest.raises(InvalidRequestError):
            CURSORS.page(Request(), URLSafeSerializer("a secret", salt="other").dumps(content))

    def test_no_page_follows_beyond_the_bounds(self) -> None:
        ids = [str(n) for n in range(MAX_SHOWN)]
        cursor = walk(Request(), ids)
        page = CURSORS.page(Request(n=1), cursor)
        assert CURSORS.following(page, answer_of(["one more"])) is None
        long = [secrets.token_urlsafe(MAX_CURSOR // 4) for _ in range(4)]
        assert CURSORS.following(CURSORS.page(Request(n=4), None), answer_of(long)) is None

    def test_a_short_page_is_the_last(self) -> None:
        page = CURSORS.page(Request(n=3), None)
        assert CURSORS.following(page, answer_of(["1", "2"])) is None
        assert CURSORS.following(page, answer_of([])) is None

    @pytest.mark.parametrize(
        "change",
        [
            {"user_id": "grace"},
            {"user_id": None},
            {"session": ()},
            {"session": (SessionEvent("1", timestamp=5),)},
            {"item_id": None},
            {"query": "heat"},
            {"scenario": "other"},
            {"filter": {"since": 1991}},
        ],
    )
    def test_a_cursor_goes_with_one_recommendation(self, change: dict[str, Any]) -> None:
        request = Request(
            user_id="ada",
            session=(SessionEvent("1"),),
            item_id="2",
            query="star",
            scenario="home",
            filter={"since": 1990, "big": 2**70},
        )
        cursor = walk(request, ["1", "2"])
        same = replace(
            request,
            n=7,
            explain=False,
            context={"device": "phone"},
            exclude=("6",),
            filter={"big": 2**70, "since": 1990},
        )
        assert CURSORS.page(same, cursor).shown == ("1", "2")
        with pytest.raises(InvalidRequestError) as caught:
            CURSORS.page(replace(request, **change), cursor)
        assert "another recommendation" in caught.value.message
        assert caught.value.field == "cursor"

    @given(IDS)
    def test_lists_go_on_after_any_id(self, last: str) -> None:
        assert CURSORS.after("items", CURSORS.of_list("items", last)) == last
        with pytest.raises(InvalidRequestError):
            CURSORS.after("users", CURSORS.of_list("items", last))


def ids_of(answer: dict[str, Any]) -> list[str]:
    return [item["item_id"] for item in answer["items"]]


def pages(served: Any, path: str, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Ask for pages until there is no more."""
    cursor: str | None = None
    while True:
        response = served.post(path, body if cursor is None else {**body, "cursor": cursor})
        assert response.status_code == 200, response.text
        answer = response.json()
        yield answer
        cursor = answer["cursor"]
        if cursor is None:
            return


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/recommend", {}),
        ("/v1/recommend", {"user_id": "ada"}),
        ("/v1/recommend", {"session": ["260", {"item_id": "1", "event": "like"}], "query": "war"}),
        ("/v1/recommend", {"filter": {"since": 1994}, "seen": "allow"}),
        ("/v1/similar", {"item_id": "260"}),
    ],
)
def test_pages_show_everything_once_and_ranks_go_on(shared: Any, path: str, body: dict[str, Any]) -> None:
    whole = ids_of(shared.post(path, {**body, "n": 1000}).json())
    found = list(pages(shared, path, {**body, "n": 4}))
    listed = [one for answer in found for one in ids_of(answer)]
    assert sorted(listed) == sorted(whole)
    assert [item["rank"] for answer in found for item in answer["items"]] == list(range(1, len(whole) + 1))
    assert len({answer["recommendation_id"] for answer in found}) == len(found)


def test_pages_may_differ_in_size(shared: Any) -> None:
    first = shared.post("/v1/recommend", {"n": 2}).json()
    second = shared.post("/v1/recommend", {"n": 5, "cursor": first["cursor"]}).json()
    assert [item["rank"] for item in second["items"]] == [3, 4, 5, 6, 7]
    assert not set(ids_of(first)) & set(ids_of(second))


def test_a_wrong_cursor_is_422(shared: Any) -> None:
    cursor = shared.post("/v1/recommend", {"user_id": "ada", "n": 2}).json()["cursor"]
    for path, body in [
        ("/v1/recommend", {"user_id": "grace", "cursor": cursor}),
        ("/v1/similar", {"item_id": "1", "cursor": cursor}),
        ("/v1/recommend", {"user_id": "ada", "cursor": cursor[:-3]}),
        ("/v1/recommend", {"user_id": "ada", "cursor": ""}),
        ("/v1/recommend", {"user_id": "ada", "cursor": "x" * 90_001}),
        ("/v1/recommend", {"user_id": "ada", "cursor": 5}),
    ]:
        response = shared.post(path, body)
        assert response.status_code == 422
        assert response.json()["error"]["code"] == "invalid_request"
        assert response.json()["error"]["field"] == "cursor"
    assert shared.get("/v1/recommend/grace", params={"cursor": cursor}).status_code == 422


class TestByUrl:
    def test_it_is_the_same_recommendation(self, served: Any) -> None:
        served.post("/v1/events", {"user_id": "a/b c", "item_id": "260", "event": "like"})
        asked = served.get("/v1/recommend/a%2Fb%20c", params={"n": 3, "query": "star", "explain": False})
        posted = served.post("/v1/recommend", {"user_id": "a/b c", "n": 3, "query": "star", "explain": False})
        assert ids_of(asked.json()) == ids_of(posted.json())
        assert {item["explanation"] for item in asked.json()["items"]} == {None}
        # Either way of asking understands the other's cursor.
        cursor = asked.json()["cursor"]
        assert cursor == posted.json()["cursor"]
        further = served.get("/v1/recommend/a%2Fb%20c", params={"n": 3, "query": "star", "cursor": cursor})
        assert [item["rank"] for item in further.json()["items"]] == [4, 5, 6]
        assert not set(ids_of(further.json())) & set(ids_of(asked.json()))

    def test_mistakes(self, shared: Any) -> None:
        for query, field in [
            ("n=0", "n"),
            ("n=1001", "n"),
            ("explain=perhaps", "explain"),
            ("scenario=", "scenario"),
        ]:
            response = shared.get(f"/v1/recommend/ada?{query}")
            assert response.status_code == 422
            assert response.json()["error"]["field"] == field
        assert shared.get("/v1/recommend/ada?scenario=hme").status_code == 404
        assert shared.get("/v1/recommend/").status_code == 404

    def test_cursors_that_no_url_can_hold_are_not_given(self) -> None:
        ids = [f"{n:04x}{hash(n * 7919) & 0xFFFFFFFF:08x}" for n in range(1500)]
        page = CURSORS.page(Request(n=len(ids)), None)
        long = CURSORS.following(page, answer_of(ids))
        assert long is not None
        assert len(long) > MAX_URL_CURSOR
        assert CURSORS.following(page, answer_of(ids), MAX_URL_CURSOR) is None


MOVIE_IDS = ["1", "2", "6", "32", "47", "50", "110", "150", "260", "296", "318", "356", "480", "589", "1196"]

ACTIONS = st.one_of(
    st.tuples(st.just("event"), st.sampled_from(MOVIE_IDS), st.sampled_from(["view", "like", "dislike"])),
    st.tuples(st.just("new"), st.integers(0, 5), st.sampled_from(["space war", "funny robots", "heat"])),
    st.tuples(st.just("reword"), st.sampled_from(MOVIE_IDS), st.sampled_from(["Star Wars", "Heat", "Quiet"])),
    st.tuples(st.just("hide"), st.sampled_from(MOVIE_IDS), st.none()),
    st.tuples(st.just("delete"), st.sampled_from(MOVIE_IDS), st.none()),
)


def act(served: Any, user: str, action: tuple[str, Any, Any]) -> str | None:
    """Do one thing; returns the item that must be gone from now on."""
    kind, what, how = action
    if kind == "event":
        body: Any = {"user_id": user, "item_id": what, "event": how}
        assert served.post("/v1/events", body).status_code == 200
    elif kind == "new":
        item = {"item_id": f"new-{what}", "attributes": {"title": how, "year": 2024, "genres": ["War"]}}
        assert served.post("/v1/items", {"items": [item]}).status_code == 200
    elif kind == "delete":
        assert served.call("DELETE", f"/v1/items/{what}").status_code == 200
        return str(what)
    else:
        patch = {"hidden": True} if kind == "hide" else {"attributes": {"title": how}}
        response = served.call("PATCH", "/v1/items", json={"items": [{"item_id": what, **patch}]})
        assert response.status_code == 200
        return str(what) if kind == "hide" else None
    return None


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.integers(1, 7),
    st.lists(st.lists(ACTIONS, max_size=3), min_size=1, max_size=6),
    st.sampled_from([{}, {"query": "space war"}, {"seen": "allow"}, {"filter": {"since": 1990}}]),
)
def test_pages_never_repeat_while_the_world_changes(
    served: Any, n: int, meanwhile: list[list[Any]], body: dict[str, Any]
) -> None:
    user = str(uuid4())
    served.restore()
    gone: set[str] = set()
    shown: list[str] = []
    asked = {"user_id": user, "n": n, **body}
    for answer, actions in zip(pages(served, "/v1/recommend", asked), meanwhile, strict=False):
        ids = ids_of(answer)
        assert [item["rank"] for item in answer["items"]] == list(
            range(len(shown) + 1, len(shown) + 1 + len(ids))
        )
        assert not gone & set(ids)
        shown.extend(ids)
        assert len(shown) == len(set(shown))
        for action in actions:
            barred = act(served, user, action)
            if barred is not None:
                gone.add(barred)
