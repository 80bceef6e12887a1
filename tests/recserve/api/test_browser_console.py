"""What surrounds the console's views: ways between them, keys, weight; in a real Chromium."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from recserve.api import create_app
from recserve.auth.keyring import Keyring
from recserve.auth.keys import create_key
from recserve.store import Scope
from tests.recserve.api.conftest import FILMS, Served, build, listening
from tests.support.console import Tab, console_page, narrow, settled, tab, violations

pytestmark = pytest.mark.browser

VIEWS = ["live", "try", "catalogue", "people", "quality", "experiments", "plugins"]
MOST_BYTES = 400_000
SIZES = """() => [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")]
  .map((one) => one.decodedBodySize)"""
"""Bytes of each answer that the page has had."""


@pytest.fixture(scope="module")
def opened(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    """A tab on a server that tests leave as it is."""
    made = build(tmp_path_factory.mktemp("console"))
    with made.store, listening(made.app) as url, tab(browser, url) as one:
        yield one


def test_a_page_weighs_little(browser: Any, address: str) -> None:
    with console_page(browser, address, "#/nowhere") as page:
        page.context.new_cdp_session(page).send("Network.setCacheDisabled", {"cacheDisabled": True})
        for view in VIEWS:
            page.goto("about:blank")
            page.goto(f"{address}/#/{view}")
            settled(page)
            page.wait_for_load_state("networkidle")
            sizes = page.evaluate(SIZES)
            assert len(sizes) > 8
            assert sum(sizes) < MOST_BYTES, view


def test_keyboard_alone_leads_to_every_view(opened: Tab) -> None:
    with opened.at("#/plugins") as page:
        settled(page)
        page.reload()  # the keyboard begins at the top
        settled(page)
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.id") == "skip"
        page.keyboard.press("Tab")
        for view in VIEWS:
            page.keyboard.press("Tab")
            assert page.evaluate("document.activeElement.dataset.view") == view
        for view in VIEWS:
            page.locator(f"#views [data-view={view}]").focus()
            page.keyboard.press("Enter")
            page.wait_for_selector(f".view.{view}")
            assert page.evaluate("document.activeElement.id") == "view", "the view has the keyboard"
            assert page.locator("#views [aria-current]").get_attribute("data-view") == view
            assert page.title().endswith("· recserve")


def test_leaving_a_view_while_a_call_is_on_its_way_is_no_fault(opened: Tab) -> None:
    with opened.at("#/plugins") as page:
        settled(page)
        with page.expect_request("**/v1/live"):
            page.route("**/v1/live", lambda route: None)  # never answered
            page.locator("#views [data-view=try]").click()
        page.locator("#views [data-view=people]").click()
        page.wait_for_selector(".view.people")
        settled(page)
        page.unroute("**/v1/live")


def test_a_view_that_was_left_changes_no_address(opened: Tab) -> None:
    with opened.at("#/people") as page:
        settled(page)
        held: list[Any] = []
        page.route("**/v1/about", lambda route: held.append(route))
        page.evaluate("location.hash = '#/nowhere'")
        page.reload()  # nothing is remembered of the server
        page.evaluate("location.hash = '#/try'")
        page.wait_for_selector(".view.try .ask")
        page.evaluate("location.hash = '#/plugins'")
        page.wait_for_selector(".view.plugins .component")
        with page.expect_response("**/v1/about"):
            for route in held:
                route.continue_()
        page.unroute("**/v1/about")
        page.wait_for_timeout(200)
        assert page.url.partition("#")[2].startswith("/plugins")


def test_back_leads_to_the_view_before(opened: Tab) -> None:
    with opened.at("#/try?user=grace") as page:
        page.wait_for_selector("#items .card")
        assert page.input_value("#user") == "grace"
        page.locator("#views [data-view=live]").click()
        page.wait_for_selector(".view.live")
        page.go_back()
        page.wait_for_selector("#items .card")
        assert page.input_value("#user") == "grace"


def test_skipping_leads_past_the_navigation(opened: Tab) -> None:
    with opened.at("#/try") as page:
        page.wait_for_selector("#items .card")
        before = page.url
        page.locator("#skip").focus()
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "view"
        assert page.url == before


def test_an_unknown_view_leads_to_the_start(opened: Tab) -> None:
    with opened.at("#/nowhere") as page:
        assert violations(page, contrast=False) == []
        page.get_by_role("link", name="To the start").click()
        page.wait_for_selector("#items .card")


def test_try_has_no_barrier(opened: Tab) -> None:
    with opened.at("#/try") as page:
        page.wait_for_selector("#items .card")
        page.locator(".because summary").first.click()
        assert violations(page) == []
        narrow(page)  # what is asked folds into one line
        assert violations(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_try_says_that_it_waits_that_it_fails_and_that_there_is_nothing(
    browser: Any, address: str, served: Any
) -> None:
    error = '{"error": {"code": "overloaded", "message": "too many requests wait", "field": null}}'
    with console_page(browser, address, "#/nowhere", expected=lambda one: "503" in one) as page:
        held: list[Any] = []
        page.route("**/v1/recommend", lambda route: held.append(route))
        page.evaluate("location.hash = '#/try'")
        page.get_by_text("Loading…").wait_for()
        page.wait_for_function("() => document.querySelector('#items')?.getAttribute('aria-busy') === 'true'")
        assert violations(page, contrast=False) == []
        held[0].fulfill(status=503, body=error)
        page.get_by_text("too many requests wait").wait_for()
        page.unroute("**/v1/recommend")
        assert violations(page, contrast=False) == []
        page.get_by_role("button", name="Try again").click()
        page.wait_for_selector("#items .card")
        assert page.locator("#error").is_hidden()

        served.store.delete_items([film.item_id for film in FILMS])
        page.get_by_role("button", name="Recommend", exact=True).click()
        page.get_by_text("Nothing to recommend.").wait_for()
        assert violations(page, contrast=False) == []


@pytest.fixture
def keyed(served: Served) -> Iterator[Callable[[list[Scope]], str]]:
    """Makes the server ask for keys, and gives one of some scopes."""
    opened: list[Keyring] = []

    def make(scopes: list[Scope]) -> str:
        key, stored = create_key("page", scopes, 1)
        served.store.add_key(stored)
        keyring = Keyring(served.store)
        keyring.start()
        opened.append(keyring)
        served.app = create_app(served.app.state.backend, keyring=keyring)
        return key

    yield make
    for keyring in opened:
        keyring.close()


def refused(problem: str) -> bool:
    """Whether it is Chromium's note of an answer that asks for another key."""
    return "401" in problem or "403" in problem


def test_it_starts_with_recommendations_if_the_key_is_good_for_them(
    browser: Any, keyed: Any, request: pytest.FixtureRequest
) -> None:
    key = keyed(["recommend"])
    address = request.getfixturevalue("address")
    with console_page(browser, address, "", refused) as page:
        page.locator("#key").fill(key)
        page.get_by_role("button", name="Use it").click()
        page.wait_for_selector("#items .card")
        assert page.get_by_label("An anonymous visitor").is_checked(), "nobody may be named to this key"
        page.get_by_label("A user").check()
        page.locator("#user").fill("ada")
        page.keyboard.press("Enter")
        page.get_by_text("This key may not read histories.").wait_for()
        page.locator("#views [data-view=live]").click()
        page.locator(".live .state.bad").get_by_text("this key lacks the scope 'read'").wait_for()
        page.get_by_role("button", name="Use another key").click()
        page.wait_for_selector("#key-dialog[open]")


def test_it_starts_with_the_server_if_the_key_is_not(
    browser: Any, keyed: Any, request: pytest.FixtureRequest
) -> None:
    key = keyed(["write"])
    address = request.getfixturevalue("address")
    with console_page(browser, address, "", refused) as page:
        page.locator("#key").fill(key)
        page.get_by_role("button", name="Use it").click()
        page.wait_for_selector(".view.live")
        page.locator(".live .state.bad").get_by_text("this key lacks the scope 'read'").wait_for()
        assert violations(page) == []
