"""Searching the catalogue and listing users, on both engines."""

from __future__ import annotations

from typing import Any

import pytest

from recserve import Event, Item
from recserve.data.entities import User
from recserve.store import ItemSearch, Store, UserPlace, browse_users
from recserve.store.browsing import part, people

FILMS = [
    Item("star", {"title": "Star Wars", "year": 1977, "genres": ["Sci-Fi", "Action"], "new": False}),
    Item("trek", {"title": "Star Trek", "year": 1979, "genres": ["Sci-Fi"]}, hidden=True),
    Item("born", {"title": "A Star Is Born", "year": 2018, "genres": ["Drama"]}, expires_at=5),
    Item("zh", {"title": "流浪地球", "tags": {"kind": ["科幻电影", "灾难"]}, "note": "中国"}),
    Item("odd", {"title": 'A "quoted" 100% \\ under_score', "café": "Ünïcode Straße", "year": 1}),
    Item("Слово", {"title": "Ёлка"}),
]


def search(store: Store, *words: str, limit: int = 50, **condition: Any) -> list[str]:
    """All ids that a search finds, walking to the end of the catalogue."""
    found: list[str] = []
    last: str | None = None
    while True:
        page = store.search_items(ItemSearch(words, **condition), last, limit)
        assert len(page.items) <= limit
        found += [item.item_id for item in page.items]
        last = page.last
        if last is None:
            return sorted(found)


def event(user: str, timestamp: int, item: str = "star") -> Event:
    return Event(user, item, "view", timestamp)


def test_words_of_any_language_are_found_in_ids_and_values(store: Store) -> None:
    store.upsert_items(FILMS)
    assert search(store) == sorted(item.item_id for item in FILMS)
    assert search(store, "star") == ["born", "star", "trek"]
    assert search(store, "STAR", "wars") == ["star"]
    assert search(store, "1977") == ["star"]
    assert search(store, "sci-fi") == ["star", "trek"]
    assert search(store, "科幻") == search(store, "地球") == search(store, "中国", "流浪") == ["zh"]
    assert search(store, "ёлка") == search(store, "ЁЛ") == search(store, "СЛОВО") == ["Слово"]
    assert search(store, "title") == search(store, "genres") == search(store, "kind") == [], (
        "names are no words"
    )
    assert search(store, '"quoted"') == search(store, "100%") == search(store, "\\") == ["odd"]
    assert search(store, "under_score") == search(store, "ünï") == ["odd"]
    assert search(store, "0%0") == search(store, "a_b") == []


def test_attributes_are_compared_as_whole_values(store: Store) -> None:
    store.upsert_items(FILMS)
    assert search(store, attributes=(("genres", "sci-fi"),)) == ["star", "trek"]
    assert search(store, attributes=(("genres", "sci"),)) == []
    assert search(store, attributes=(("year", "1977"), ("genres", "Action"))) == ["star"]
    assert search(store, attributes=(("new", "false"),)) == ["star"]
    assert search(store, attributes=(("café", "ünïcode straße"),)) == ["odd"]
    assert search(store, attributes=(("title", "1977"),)) == []
    assert search(store, "star", attributes=(("genres", "drama"),)) == ["born"]


def test_states_divide_the_catalogue_and_deleted_items_are_gone(store: Store) -> None:
    store.upsert_items(FILMS)
    store.delete_items(["zh"])
    assert search(store, state="hidden") == ["trek"]
    assert search(store, state="expired") == ["born"]
    assert search(store, state="shown") == ["odd", "star", "Слово"]
    assert search(store, "地球") == []
    assert search(store, "star", state="shown") == ["star"]


@pytest.mark.parametrize(("window", "candidates", "limit"), [(7, 3, 2), (10, 100, 1), (1, 1, 1), (50, 4, 50)])
def test_a_call_looks_at_so_many_items_and_the_next_goes_on(
    store: Store, monkeypatch: pytest.MonkeyPatch, window: int, candidates: int, limit: int
) -> None:
    monkeypatch.setattr(part, "_WINDOW", window)
    monkeypatch.setattr(part, "_CANDIDATES", candidates)
    store.upsert_items([Item(f"i{n}", {"title": "even" if n % 2 == 0 else "odd"}) for n in range(40)])
    store.delete_items(["i7", "i8"])
    found: list[str] = []
    last, examined = None, 0
    while True:
        page = store.search_items(ItemSearch(("even",)), last, limit)
        assert page.examined <= window
        examined += page.examined
        found += [item.item_id for item in page.items]
        last = page.last
        if last is None:
            break
        store.upsert_items([Item(f"i{len(found)}", {"title": "even", "n": len(found)})])
    assert len(found) == len(set(found))
    assert {f"i{n}" for n in range(0, 40, 2) if n != 8} <= set(found)
    assert examined == 40


def test_users_with_events_are_listed_once_each_with_their_newest_event(store: Store) -> None:
    names = [f"user {n} ☃" for n in range(30)]
    store.add_events([event(name, n * 10 + 5 + k) for n, name in enumerate(names) for k in range(n % 4 + 1)])
    seen: dict[str, int] = {}
    last: str | None = None
    while found := store.users_with_events(last, 7):
        for user_id, moment in found:
            assert user_id not in seen
            seen[user_id] = moment
        last = found[-1].user_id
        store.add_events([event(names[0], 1), event(names[29], 2)])
    assert seen == {name: n * 10 + 5 + n % 4 for n, name in enumerate(names)}
    store.delete_user(last or "")
    assert store.users_with_events(last, 7) == []


def test_an_empty_store_has_nothing_to_browse(store: Store) -> None:
    page = store.search_items(ItemSearch(("x",)), None, 5)
    assert (list(page.items), page.last, page.examined) == ([], None, 0)
    assert store.users_with_events(None, 5) == []
    assert browse_users(store, "any", None, 5) == ([], None)


@pytest.mark.parametrize("limit", [1, 3, 100])
def test_users_of_all_kinds(store: Store, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    monkeypatch.setattr(people, "_EXAMINED", 2)
    store.upsert_users(
        [User(f"both {n}", {"n": n}) for n in range(5)] + [User(f"profile {n}") for n in range(4)]
    )
    store.add_events(
        [event(f"both {n}", 10 + n) for n in range(5)] + [event(f"events {n}", n) for n in range(6)]
    )

    def walk(having: Any) -> dict[str, tuple[bool, int | None]]:
        found: dict[str, tuple[bool, int | None]] = {}
        place: UserPlace | None = None
        while True:
            listed, place = browse_users(store, having, place, limit)
            assert len(listed) <= limit
            for one in listed:
                assert one.user.user_id not in found
                found[one.user.user_id] = one.profile, one.last_event
                assert one.user.attributes == (
                    {"n": (one.last_event or 0) - 10} if "both" in one.user.user_id else {}
                )
            if place is None:
                return found

    both: dict[str, tuple[bool, int | None]] = {f"both {n}": (True, 10 + n) for n in range(5)}
    profiles: dict[str, tuple[bool, int | None]] = {f"profile {n}": (True, None) for n in range(4)}
    active: dict[str, tuple[bool, int | None]] = {f"events {n}": (False, n) for n in range(6)}
    assert walk("profile") == both | profiles
    assert walk("events") == both | active
    assert walk("any") == both | profiles | active
