"""The page of a server that has API keys, and what the page's policy forbids, in a real Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from recserve.api import create_app
from recserve.auth.keyring import Keyring
from recserve.auth.keys import create_key

pytestmark = pytest.mark.browser


@pytest.fixture
def key(served: Any) -> Iterator[str]:
    """A key that may read and write; the server of ``served`` asks for it from now on."""
    made, stored = create_key("page", ["read", "write"], 1)
    served.store.add_key(stored)
    keyring = Keyring(served.store)
    keyring.start()
    served.app = create_app(served.app.state.backend, keyring=keyring)
    yield made
    keyring.close()


@pytest.fixture
def page(browser: Any, key: str, address: str) -> Iterator[Any]:
    context = browser.new_context(reduced_motion="reduce")
    opened = context.new_page()
    errors: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.goto(f"{address}/")
    yield opened
    context.close()
    assert errors == []


def give(page: Any, key: str) -> None:
    page.locator("#key").fill(key)
    page.get_by_role("button", name="Use it").click()


def test_the_page_asks_for_a_key_and_keeps_it_in_its_tab(
    page: Any, browser: Any, key: str, address: str, served: Any
) -> None:
    page.wait_for_selector("#key-dialog[open]")
    assert page.locator("#key-refused").is_hidden()
    assert page.locator(".card").count() == 0

    give(page, key[:-1] + ("0" if key[-1] != "0" else "1"))
    page.wait_for_selector("#key-refused:not([hidden])")
    give(page, key)
    page.wait_for_selector("#items .card")
    assert page.locator("#key-dialog").is_hidden()
    page.get_by_role("button", name="Like: Heat", exact=True).click()
    page.wait_for_selector(".badge")
    assert [event.item_id for event in served.store.histories(["ada"], 5)["ada"]] == ["6"]

    page.reload()
    page.wait_for_selector("#items .card")
    assert page.locator("#key-dialog").is_hidden()
    assert page.evaluate("Object.keys(localStorage).filter((name) => name.includes('key'))") == []
    assert page.evaluate("document.cookie") == ""
    assert key not in page.url

    page.locator("#views").get_by_text("Plugins").click()
    page.get_by_text("builtins").first.wait_for()

    stranger = browser.new_context()
    other = stranger.new_page()
    other.goto(f"{address}/")
    other.wait_for_selector("#key-dialog[open]")
    stranger.close()


def test_without_a_key_the_page_says_why_it_is_empty(page: Any) -> None:
    page.wait_for_selector("#key-dialog[open]")
    give(page, "not a key")  # the browser itself refuses the form
    assert page.locator("#key-dialog").is_visible()
    page.keyboard.press("Escape")
    page.wait_for_selector("#error:not([hidden])")
    assert "API key" in page.locator("#error").inner_text()


def test_a_revoked_key_is_asked_for_again(page: Any, key: str, served: Any) -> None:
    page.wait_for_selector("#key-dialog[open]")
    give(page, key)
    page.wait_for_selector("#items .card")
    (stored,) = served.store.keys()
    served.store.revoke_key(stored.key_id, 2)
    # The keyring follows within about a second.
    for _ in range(100):
        page.get_by_role("button", name="Recommend", exact=True).click()
        page.wait_for_timeout(100)
        if page.locator("#key-dialog").is_visible():
            break
    page.wait_for_selector("#key-refused:not([hidden])")


@pytest.mark.long  # Swagger UI draws every route, which another test does without a key
def test_the_documentation_can_be_tried_with_a_key(page: Any, key: str, address: str) -> None:
    page.goto(f"{address}/docs")
    page.wait_for_selector("#operations-server-about")
    page.get_by_role("button", name="Authorize", exact=True).first.click()
    page.locator(".auth-container input").first.fill(key)
    page.locator(".auth-container button.authorize").first.click()
    page.locator("button.btn-done").first.click()
    page.locator("#operations-server-about button.opblock-summary-control").click()
    page.locator("#operations-server-about .execute").click()
    page.wait_for_selector("#operations-server-about .live-responses-table")
    assert '"scenarios"' in page.locator("#operations-server-about .live-responses-table").inner_text()


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_injected_scripts_do_not_run(page: Any, address: str, path: str) -> None:
    page.goto(f"{address}{path}")
    page.evaluate(
        """() => {
          const script = document.createElement("script");
          script.textContent = "document.title = 'taken over'";
          document.body.append(script);
          const image = "<img src=x onerror=\\"document.title = 'taken over'\\">";
          document.body.insertAdjacentHTML("beforeend", image);
        }"""
    )
    page.wait_for_timeout(300)
    assert page.title() != "taken over"
    frames = page.evaluate(
        """(address) => new Promise((resolve) => {
          const frame = document.createElement("iframe");
          frame.onload = () => {
            try { resolve(frame.contentDocument?.title ?? "none"); } catch { resolve("none"); }
          };
          frame.src = address;
          document.body.append(frame);
        })""",
        f"{address}/",
    )
    assert "recserve" not in frames
