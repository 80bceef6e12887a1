"""Try, the view that the console opens with, in a real Chromium."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI

from tests.recserve.api.conftest import Served
from tests.support.console import console_page

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
def page(context: Any, address: str) -> Iterator[Any]:
    """The opened page; any script error, failed request or foreign request fails the test."""
    with console_page(context, address, "") as opened:
        opened.wait_for_selector("#items .card")
        yield opened
        opened.evaluate("localStorage.clear()")


def titles(page: Any) -> list[str]:
    return [text.split(" (")[0] for text in page.locator(".card h3").all_inner_texts()]


def shoot(page: Any, name: str) -> None:
    """Keep a picture where a person asked for one."""
    folder = os.environ.get("RECSERVE_SCREENSHOTS")
    if folder:
        page.screenshot(path=f"{folder}/{name}.png", full_page=True)


def text_becomes(page: Any, selector: str, text: str | re.Pattern[str]) -> None:
    """Wait until an element's whole text is ``text``, or matches it."""
    from playwright.sync_api import expect

    expect(page.locator(selector)).to_have_text(text)


def test_it_opens_with_recommendations(page: Any) -> None:
    assert page.title() == "Try · recserve"
    assert page.locator("#views [aria-current]").inner_text() == "Try"
    assert page.input_value("#user") == "ada"
    assert len(titles(page)) == 12
    first = page.locator(".card").first
    assert first.locator("h3").inner_text() == "Toy Story"
    assert first.locator(".chips").inner_text().split("\n") == ["1995", "Animation", "Children", "Comedy"]
    assert first.locator(".why").inner_text() == "Popular"
    assert "popular" in first.locator(".origin").inner_text()
    assert page.locator("#bundle").inner_text() == "test-bundle"
    assert "retrieval" in page.locator("#timings").inner_text()
    assert page.locator("#degraded").is_hidden()
    shoot(page, "wide-light")


def test_attributes_and_events_are_put_into_words(page: Any) -> None:
    asked = """async () => {
      const words = await import("/static/console/views/try/words.js");
      const known = { title: "x", at: "2026-03-28T23:55:16Z", day: "2026-03-28", tags: ["a", "b"] };
      const kinds = { watch: { value_range: [0, 2] }, rating: { value_range: [0.5, 5] } };
      const said = [words.sentence("watch", 0.98, kinds), words.sentence("rating", 4, kinds)];
      return [words.attributes(known).chips, ...said];
    }"""
    chips, watched, rated = page.evaluate(asked)
    assert chips == ["Mar 28, 2026", "2026-03-28", "a", "b"]
    assert (watched, rated) == ("Watched 98%", "Rated 4 of 5")


def test_a_like_is_stored_and_the_list_shows_what_changed(page: Any, served: Any) -> None:
    page.get_by_role("button", name="Like: Heat", exact=True).click()
    page.wait_for_selector(".badge")
    assert "Heat" not in titles(page)
    assert re.match(r"Liked “Heat” → \d+ new, \d+ moved; left: .*Heat", page.locator("#status").inner_text())
    assert page.locator(".badge.up").count() + page.locator(".badge.new").count() > 0
    assert "Because you liked Heat" in page.locator(".why").all_inner_texts()
    assert page.locator("#history").inner_text().split("\n") == ["Heat", "liked"]
    (stored,) = served.store.histories(["ada"], 10)["ada"]
    assert (stored.item_id, stored.event) == ("6", "like")
    page.get_by_role("group", name="Rate Seven").get_by_role("button", name="Rate 4 of 5").click()
    text_becomes(page, "#history li:nth-child(2) .what", "liked")
    rated = served.store.histories(["ada"], 10)["ada"][-1]
    assert (rated.item_id, rated.event, rated.value) == ("47", "rating", 4.0)
    shoot(page, "wide-changed")


def test_an_anonymous_session_is_personal_and_leaves_nothing(page: Any, served: Any) -> None:
    page.get_by_label("An anonymous visitor").check()
    text_becomes(page, "#history", "Nothing yet. Click something.")
    page.get_by_role("button", name="View: Heat", exact=True).click()
    page.wait_for_selector(".badge")
    assert "Because you viewed Heat" in page.locator(".why").all_inner_texts()
    assert served.store.counts().events == 0
    page.get_by_role("button", name="Start the session over").click()
    text_becomes(page, "#history", "Nothing yet. Click something.")
    assert titles(page)[2] == "Heat"


def test_free_text(page: Any) -> None:
    page.fill("#query", "godfather")
    page.keyboard.press("Enter")
    text_becomes(page, ".card:first-child h3", "The Godfather")
    assert page.locator(".why").first.inner_text() == "Found for “godfather”"


def test_items_like_an_item_are_asked_for_by_its_id(page: Any) -> None:
    page.fill("#item", "260")
    page.keyboard.press("Enter")
    page.wait_for_selector(".why:has-text('Similar to')")


def test_keyboard_alone_reaches_everything(page: Any) -> None:
    page.locator("#query").focus()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "item"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Recommend"
    page.get_by_role("button", name="View: Jumanji", exact=True).focus()
    page.keyboard.press("Enter")
    text_becomes(page, "#history li:first-child span:first-child", "Jumanji")
    text_becomes(page, ".card:has(button:focus) .rank", "#2")


def test_degraded_answers_and_errors_are_told(page: Any, served: Any) -> None:
    served.client.broken = {"ranking"}
    page.get_by_role("button", name="Recommend", exact=True).click()
    page.wait_for_selector("#degraded:not([hidden])")
    assert "went on without: ranking" in page.locator("#degraded").inner_text()
    served.client.broken = set()
    page.fill("#user", "")
    page.keyboard.press("Enter")
    text_becomes(page, "#history", "Nothing yet. Click something.")
    page.get_by_role("button", name="View: Jumanji", exact=True).click()
    page.wait_for_selector("#error:not([hidden])")
    assert "Enter a user id first" in page.locator("#error").inner_text()


def test_an_answer_that_comes_later_does_not_hide_what_failed_meanwhile(page: Any) -> None:
    page.fill("#user", "")
    held: list[Any] = []
    page.route("**/v1/recommend", lambda route: held.append(route))
    page.keyboard.press("Enter")
    page.wait_for_selector("#items[aria-busy]")
    page.get_by_role("button", name="View: Jumanji", exact=True).click()
    page.wait_for_selector("#error:not([hidden])")
    for route in held:
        route.continue_()
    page.wait_for_selector("#items:not([aria-busy])")
    page.unroute("**/v1/recommend")
    assert page.locator("#error").is_visible()
    assert "Enter a user id first" in page.locator("#error").inner_text()


def test_hostile_ids_and_titles_are_text(page: Any, served: Any) -> None:
    page.fill("#user", HOSTILE)
    page.keyboard.press("Enter")
    text_becomes(page, "#history", "Nothing yet. Click something.")
    page.get_by_role("button", name="View: Jumanji", exact=True).click()
    page.wait_for_selector(".badge")
    assert served.store.histories([HOSTILE], 5)[HOSTILE]
    assert page.locator("main img").count() == 0


def test_themes_and_narrow_screens(page: Any) -> None:
    def background() -> str:
        colour: str = page.evaluate("getComputedStyle(document.body).backgroundColor")
        return colour

    light = background()
    page.locator("#theme").click()
    assert background() == light
    page.locator("#theme").click()
    assert page.locator("#theme").get_attribute("title") == "Theme: dark"
    assert background() != light
    page.reload()
    page.wait_for_selector("#items .card")
    assert background() != light
    page.get_by_role("button", name="Like: Heat", exact=True).click()
    page.wait_for_selector(".badge")
    shoot(page, "wide-dark")
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.locator("#ask").is_hidden()
    page.evaluate("scrollTo(0, 0)")
    first = page.locator(".card").first.bounding_box()
    assert first["y"] + first["height"] < 844, "the list comes first"
    shoot(page, "narrow-dark")
    page.locator("#theme").click()
    shoot(page, "narrow-light")


def test_swagger_ui_works_offline(page: Any, address: str) -> None:
    page.goto(f"{address}/docs")
    page.wait_for_selector("#operations-recommendations-recommend")
    paths = page.request.get(f"{address}/openapi.json").json()["paths"]
    assert page.locator(".opblock").count() == sum(len(methods) for methods in paths.values())
    page.locator("#operations-server-live button.opblock-summary-control").click()
    page.locator("#operations-server-live .execute").click()
    page.wait_for_selector("#operations-server-live .live-responses-table")
    assert '"status": "live"' in page.locator("#operations-server-live .live-responses-table").inner_text()
    shoot(page, "docs")


def test_a_browser_that_prefers_chinese_gets_the_page_in_chinese(browser: Any, address: str) -> None:
    context = browser.new_context(
        locale="zh-CN", viewport={"width": 1360, "height": 900}, reduced_motion="reduce"
    )
    page = context.new_page()
    page.goto(f"{address}/")
    page.wait_for_selector("#items .card")
    assert page.evaluate("document.documentElement.lang") == "zh-CN"
    assert page.locator("#status").inner_text() == "12 条推荐"
    assert page.locator(".why").first.inner_text() == "热门"
    assert page.get_by_placeholder("任意编号，新老用户均可").count() == 1
    shown = page.locator("body").inner_text()
    for english in ("Recommend", "What they did", "Scenario", "Loading", "View", "optional", "retrieval"):
        assert english not in shown, f"{english!r} is not translated"
    for width, height in ((390, 844), (1360, 900)):
        page.set_viewport_size({"width": width, "height": height})
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "it fits the screen"
    page.get_by_role("button", name="喜欢: Heat", exact=True).click()
    page.wait_for_selector(".badge")
    assert re.match(r"喜欢“Heat” → \d+ 个新增，\d+ 个位置变化", page.locator("#status").inner_text())
    assert "因为您喜欢“Heat”" in page.locator(".why").all_inner_texts()
    shoot(page, "chinese")
    page.get_by_role("button", name="English", exact=True).click()
    text_becomes(page, "#status", "12 recommendations")
    text_becomes(page, "#history-title", "What they did")
    assert "Because you liked Heat" in page.locator(".why").all_inner_texts()
    page.reload()
    page.wait_for_selector("#items .card")
    assert page.get_by_role("button", name="中文", exact=True).count() == 1, "the choice is kept"
    context.close()
