"""The console's views Catalogue and People in a real Chromium: every state, by keyboard, and axe-core."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from fastapi import FastAPI

from recserve.api import create_app
from recserve.auth.keyring import Keyring
from recserve.auth.keys import create_key
from recserve.data.entities import Event, Item, User, now_ms
from tests.recserve.api.conftest import Served, listening
from tests.support.console import console_page, settled, violations

pytestmark = pytest.mark.browser

HOSTILE = "<img src=x onerror=alert(1)>/../☃"


@pytest.fixture
def served(behind_standing: Served) -> Served:
    """Each test's own store behind one application."""
    return behind_standing


@pytest.fixture
def address(standing: tuple[FastAPI, str], served: Served) -> str:
    """Its URL."""
    return standing[1]


@pytest.fixture
def filled(served: Any) -> Any:
    """The server with items in all states, and people."""
    store = served.store
    store.upsert_items([Item("zh", {"title": "流浪地球", "year": 2019, "genres": ["科幻"]})])
    store.upsert_items([Item(HOSTILE, {"title": HOSTILE, "year": 1, "genres": []}, hidden=True)])
    store.upsert_items([Item("over", {"title": "Over", "year": 2, "genres": []}, expires_at=5)])
    store.upsert_users([User("ada", {"city": "London"})])
    now = now_ms()
    store.add_events([Event("ada", "6", "like", now - n * 1000, None, f"e{n}") for n in range(25)])
    store.add_events([Event(HOSTILE, "1", "view", now - 60_000, None, "x")])
    store.add_events([Event(HOSTILE, "2", "rating", now - 61_000, 4.5, "y")])
    return served


def told(page: Any, text: str) -> None:
    """Wait for a toast that says something."""
    page.locator(".toast", has_text=text).wait_for()


def names(page: Any) -> list[str]:
    found: list[str] = page.locator(".rows .named a").all_inner_texts()
    return found


def test_the_catalogue_is_searched_by_keyboard(context: Any, filled: Any, address: str) -> None:
    with console_page(context, address, "#/catalogue") as page:
        settled(page)
        assert len(names(page)) == 28
        assert violations(page) == []
        page.get_by_label("Words").focus()
        page.keyboard.type("地球")
        page.keyboard.press("Enter")
        page.locator(".view .note", has_text="1 items").wait_for()
        assert names(page) == ["流浪地球"]
        page.get_by_label("Words").fill("no such words")
        page.keyboard.press("Enter")
        page.get_by_text("No item matches.").wait_for()
        assert violations(page, contrast=False) == []
        page.get_by_role("link", name="Show all items").click()
        page.get_by_label("State").select_option("hidden")
        page.locator(".view .note", has_text="1 items").wait_for()
        assert names(page) == [HOSTILE]
        assert page.locator("main img").count() == 0
        page.goto(f"{address}/#/catalogue")
        settled(page)
        page.locator(".rows").get_by_role("link", name="Musical").first.click()
        page.locator(".view .note", has_text="2 items").wait_for()
        assert sorted(names(page)) == ["Aladdin", "The Lion King"]
        page.set_viewport_size({"width": 360, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_one_item_is_read_hidden_and_edited(context: Any, filled: Any, address: str) -> None:
    shown = httpx.post(f"{address}/v1/recommend", json={"user_id": "ada", "n": 3}).json()
    item = shown["items"][0]
    clicked = {"recommendation_id": shown["recommendation_id"], "item_id": item["item_id"]}
    httpx.post(f"{address}/v1/events", json={"user_id": "ada", "event": "click", **clicked})
    filled.store.flush()
    with console_page(context, address, f"#/catalogue/{item['item_id']}") as page:
        settled(page)
        assert page.locator("h1").inner_text() == item["attributes"]["title"]
        assert page.locator(".tile b").all_inner_texts()[:3] == ["1", "1", "100%"]
        assert page.locator(".ranked li").count() == 12
        page.get_by_role("button", name="Find who would like it").click()
        page.get_by_text("users who were compared").wait_for()
        page.locator(".ranked a", has_text=HOSTILE).wait_for()
        assert violations(page) == []
        page.get_by_role("button", name="Hide").click()
        page.locator("h1 ~ .chip", has_text="hidden").wait_for()
        assert filled.store.items([item["item_id"]])[item["item_id"]].hidden
        page.get_by_role("button", name="Show again").click()
        page.get_by_role("button", name="Hide").wait_for()
        page.get_by_role("button", name="Edit").click()
        text = page.get_by_label("JSON, one object")
        text.fill("{")
        page.get_by_role("alert").get_by_text("This is not JSON").wait_for()
        assert violations(page, contrast=False) == []
        text.fill(json.dumps({"title": "Renamed", "genres": ["Comedy"], "year": 1999}))
        page.get_by_role("button", name="Save").click()
        page.locator("h1", has_text="Renamed").wait_for()
        assert filled.store.items([item["item_id"]])[item["item_id"]].attributes["year"] == 1999


def test_the_map_leads_to_items(context: Any, filled: Any, address: str) -> None:
    with console_page(context, address, "#/catalogue?show=map") as page:
        settled(page)
        page.get_by_role("img", name="Map of 25 items").wait_for()
        assert page.get_by_label("Colour").input_value() == "genres"
        assert "Action" in page.locator(".legend").inner_text()
        assert violations(page) == []
        page.get_by_text("As a table").click()
        page.get_by_role("button", name="Heat", exact=True).click()
        page.locator("h1", has_text="Heat").wait_for()


def test_a_person_is_read_merged_and_forgotten(context: Any, filled: Any, address: str) -> None:
    with console_page(context, address, "#/people") as page:
        settled(page)
        assert sorted(names(page)) == [HOSTILE, "ada"]
        assert violations(page) == []
        page.get_by_label("A person's id").fill("ada")
        page.keyboard.press("Enter")
        page.locator("h1", has_text="ada").wait_for()
        settled(page)
        assert "Because you liked Heat" in page.locator(".reasons p").all_inner_texts()
        assert violations(page) == []
        assert page.locator(".events li").count() == 10
        page.get_by_role("button", name="Older").click()
        page.locator(".events li:nth-child(20)").wait_for()
        page.get_by_role("button", name="Take back: Heat, Liked").first.focus()
        page.keyboard.press("Enter")
        told(page, "Taken back")
        assert page.locator(".events li").count() == 19
        assert page.evaluate("document.activeElement.textContent") == "Take back"
        assert len(filled.store.histories(["ada"], 100)["ada"]) == 24

        page.get_by_role("button", name="Merge…").click()
        assert violations(page, contrast=False) == []
        page.get_by_label("The other id").fill(HOSTILE)
        page.keyboard.press("Enter")
        told(page, "2 events moved")
        settled(page)
        assert len(filled.store.histories(["ada"], 100)["ada"]) == 26

        page.get_by_role("button", name="Delete…").click()
        page.get_by_label("Type the id to confirm").fill("adam")
        page.keyboard.press("Enter")  # the browser itself refuses the form
        assert page.get_by_role("dialog").is_visible()
        page.get_by_label("Type the id to confirm").fill("ada")
        page.keyboard.press("Enter")
        page.locator("h1", has_text="Deleted").wait_for()
        assert violations(page) == []
        with page.expect_download() as saved:
            page.get_by_role("button", name="Download the receipt").click()
        receipt = json.loads(Path(saved.value.path()).read_text())
        assert receipt["deleted"]["events"] == 26
        assert filled.store.deletion(receipt["receipt_id"]) is not None
        assert filled.store.histories(["ada"], 5) == {"ada": []}


def test_somebody_who_is_not_known_gets_a_profile(context: Any, filled: Any, address: str) -> None:
    with console_page(context, address, "#/people/a%2Fnew%20one") as page:
        settled(page)
        page.get_by_text("not known: no profile, no events").wait_for()
        assert page.locator(".reasons li").count() > 0
        page.get_by_role("button", name="Add one").click()
        page.get_by_label("JSON, one object").fill('{"interests": "space opera"}')
        page.get_by_role("button", name="Save").click()
        page.locator(".known dd", has_text="space opera").wait_for()
        assert filled.store.users(["a/new one"])["a/new one"].attributes == {"interests": "space opera"}


@pytest.mark.parametrize("place", ["#/catalogue", "#/people"])
def test_waiting_nothing_and_failing(context: Any, served: Any, address: str, place: str) -> None:
    served.store.delete_items([item.item_id for item in served.store.list_items(None, 100)])
    waiting: list[Any] = []
    failed = "Failed to load resource"
    with console_page(context, address, "#/none", lambda problem: problem.startswith(failed)) as page:
        pattern = re.compile(r"/v1/(items|users)\?")
        page.route(pattern, lambda route: waiting.append(route))
        page.goto(f"{address}/{place}")
        page.locator(".state.loading").wait_for()
        while not waiting:
            page.wait_for_timeout(20)
        assert violations(page, contrast=False) == []
        waiting.pop().fulfill(
            status=503, json={"error": {"code": "store", "message": "no store", "field": None}}
        )
        page.get_by_role("alert").get_by_text("no store").wait_for()
        assert violations(page, contrast=False) == []
        page.unroute(pattern)
        page.get_by_role("button", name="Try again").click()
        page.locator(".state.nothing").wait_for()
        assert violations(page, contrast=False) == []


@pytest.fixture
def reader(served: Any) -> Iterator[tuple[str, str]]:
    """The URL of a server that asks for keys, and a key that may read alone."""
    made, stored = create_key("reader", ["read"], 1)
    served.store.add_key(stored)
    keyring = Keyring(served.store)
    keyring.start()
    app = create_app(served.app.state.backend, keyring=keyring)
    with listening(app) as url:
        yield url, made
    keyring.close()


def test_a_key_that_may_only_read_is_told_what_it_lacks(context: Any, reader: tuple[str, str]) -> None:
    refused = "Failed to load resource"
    address, key = reader
    with console_page(context, address, "#/people/ada", lambda problem: problem.startswith(refused)) as page:
        page.locator("#key").fill(key)
        page.get_by_role("button", name="Use it").click()
        page.locator("h1", has_text="ada").wait_for()
        settled(page)
        page.get_by_role("button", name="Delete…").click()
        page.get_by_label("Type the id to confirm").fill("ada")
        page.keyboard.press("Enter")
        page.get_by_role("alert").get_by_text("'admin'").wait_for()
        page.get_by_role("button", name="Use another key").wait_for()
        page.goto(f"{address}/#/catalogue/1")
        page.get_by_role("button", name="Hide").click()
        told(page, "'write'")


def test_chinese_on_a_phone(browser: Any, filled: Any, address: str) -> None:
    phone = {"width": 360, "height": 800}
    with console_page(browser, address, "#/catalogue", locale="zh-CN", viewport=phone) as page:
        for place in ("#/catalogue", "#/catalogue/1", "#/catalogue?show=map", "#/people", "#/people/ada"):
            page.goto(f"{address}/{place}")
            settled(page)
            shown = page.locator("main").inner_text()
            for english in ("Search", "Loading", "Hide", "Similar", "Profile", "History", "items", "Open"):
                assert english not in shown, f"{english!r} on {place}"
            assert page.evaluate("document.documentElement.scrollWidth") <= 360, place
        page.goto(f"{address}/#/people/{quote(HOSTILE, safe='')}")
        settled(page)
        assert [text.partition(" · ")[0] for text in page.locator(".events .note").all_inner_texts()] == [
            "看过",
            "评分 4.5（最高 5）",
        ]
