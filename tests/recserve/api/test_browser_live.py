"""The console's view of what the server does now, in a real Chromium."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.recserve.api.conftest import build, listening
from tests.support.console import Tab, console_page, looks_wrong, settled, tab, violations

pytestmark = pytest.mark.browser

FULL = ".live .tile"
COUNTED = """(name) => [...document.querySelectorAll(".live .tile")]
  .some((tile) => tile.textContent.includes(name) && parseFloat(tile.querySelector("b").textContent) > 0)"""
"""Whether more than nothing stands on the tile of a name."""


@contextmanager
def visitors(address: str) -> Iterator[None]:
    """Somebody who asks and tells again and again."""
    stop = threading.Event()

    def visit() -> None:
        with httpx.Client(base_url=address, timeout=20) as client:
            while not stop.wait(0.1):
                client.post("/v1/recommend", json={"user_id": "ada"})
                client.post("/v1/events", json={"user_id": "ada", "item_id": "260", "event": "view"})

    thread = threading.Thread(target=visit)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(timeout=20)


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server that is asked all the time, and whose ranking fails."""
    made = build(tmp_path_factory.mktemp("busy"))
    made.client.broken = {"ranking"}
    with made.store, listening(made.app) as url, visitors(url):
        yield url


@pytest.fixture(scope="module")
def opened(browser: Any, busy: str) -> Iterator[Tab]:
    """A tab on that server."""
    with tab(browser, busy) as made:
        yield made


def test_it_says_what_happens_now(opened: Tab) -> None:
    with opened.at("#/live") as page:
        # The first answers may have come before anybody's question was counted.
        for name in ("requests a second", "events a second", "median answer", "of answers degraded"):
            page.wait_for_function(COUNTED, arg=name)
        assert "ranking" in page.get_by_role("region", name="What answers went on without").inner_text()
        routes = page.get_by_role("region", name="Requests by route")
        assert "/v1/recommend" in routes.locator("tbody th").all_inner_texts()
        assert page.locator(".graph .name").all_text_contents() == ["Visitors", "ingress", "Store"]
        assert page.locator(".graph .edge.used").count() == 2
        replicas = page.get_by_role("region", name="Replicas: 1; machines: 1")
        assert replicas.locator("tbody tr").count() == 1
        assert page.locator(".live canvas").count() == 2
        page.get_by_text("As a table").first.click()
        before = page.locator(".live details[open] tbody tr").count()
        page.wait_for_function(
            "(rows) => document.querySelectorAll('.live details[open] tbody tr').length > rows", arg=before
        )
        assert page.get_by_text("Nobody has asked").is_hidden()
        assert violations(page) == []


def test_it_stands_still_when_told_to(opened: Tab) -> None:
    with opened.at("#/live") as page:
        page.wait_for_selector(FULL)
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.get_by_role("button", name="Pause").click()
        page.wait_for_timeout(500)  # what was on its way
        asked.clear()
        page.wait_for_timeout(3500)
        assert asked == []
        page.get_by_role("button", name="Go on").click()
        with page.expect_request("**/v1/live"):
            pass


def test_nothing_asked_yet(browser: Any, address: str) -> None:
    with console_page(browser, address, "#/live") as page:
        page.get_by_text("Nobody has asked for recommendations yet.").wait_for()
        assert violations(page) == []
        assert looks_wrong(page) == []
        page.get_by_role("link", name="Ask for some in Try").click()
        page.wait_for_selector("#items .card")


def test_it_says_that_it_measures_and_why_it_fails(browser: Any, busy: str) -> None:
    error = '{"error": {"code": "not_ready", "message": "no bundle is loaded yet", "field": null}}'
    with console_page(browser, busy, "#/nowhere", expected=lambda one: "503" in one) as page:
        page.route("**/v1/live", lambda route: route.fulfill(status=503, body=error))
        page.evaluate("location.hash = '#/live'")
        page.wait_for_selector(".live .state.bad")
        assert "no bundle is loaded yet" in page.locator(".live .state.bad").inner_text()
        assert violations(page, contrast=False) == []
        page.unroute("**/v1/live")
        page.get_by_role("button", name="Try again").click()
        page.wait_for_selector(FULL)
        assert page.locator(".live .state.bad").count() == 0


def test_it_says_that_it_measures(browser: Any, address: str) -> None:
    with console_page(browser, address, "#/live") as page:
        page.get_by_text("Measuring for some seconds…").wait_for()
        assert violations(page, contrast=False) == []


def test_in_chinese(browser: Any, busy: str) -> None:
    with console_page(browser, busy, "#/live", locale="zh-CN") as page:
        page.wait_for_selector(FULL)
        settled(page)
        shown = page.locator("#view").inner_text()
        for english in ("Live", "second", "answers", "Median", "Replica", "ranking", "failed", "ingress"):
            assert english not in shown, f"{english!r} is not translated"


def test_two_scenarios_stand_side_by_side(browser: Any, tmp_path: Path) -> None:
    made = build(tmp_path, charts=True)
    with made.store, listening(made.app) as url:
        liked = {"user_id": "ada", "item_id": "260", "event": "like"}
        assert httpx.post(f"{url}/v1/events", json=liked, timeout=20).status_code == 200
        with console_page(browser, url, "#/try?user=ada") as page:
            page.wait_for_selector("#items .card")
            page.get_by_label("Compare with").select_option("charts")
            page.wait_for_selector("#others .card")
            assert re.match(r"\d+ of 12 items are in both lists", page.locator("#status").inner_text())
            assert page.locator("#others .card").count() == 12
            assert page.locator("#others .why").all_inner_texts() == ["Popular"] * 12
            assert page.locator("#items .badge").count() == 12
            assert [text.split(" · ")[0] for text in page.locator("h2.side").all_inner_texts()] == [
                "home",
                "charts",
            ]
            assert violations(page) == []
            assert "beside=charts" in page.url
            page.reload()
            page.wait_for_selector("#others .card")
            page.get_by_label("Compare with").select_option("")
            page.wait_for_selector("#others .card", state="hidden")
