"""Helpers of the console's browser tests: open pages that may have no problem, and axe-core."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

AXE = Path(__file__).parent / "axe" / "axe.min.js"

# Of all of axe's rules: what WCAG 2.2 asks for at the levels A and AA, and best practices.
_TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]

LOOKS = ("color-contrast", "target-size", "scrollable-region-focusable")
"""Rules whose outcome depends on colours and sizes, beside the elements."""

Expected = Callable[[str], bool]
"""Whether a problem is one that the test brings about."""

_PROBLEMS: dict[Any, list[str]] = {}
"""Problems of the pages that are open."""


def _nothing(problem: str) -> bool:
    return False


@contextmanager
def console_page(
    browser: Any, address: str, place: str, expected: Expected = _nothing, **context: Any
) -> Iterator[Any]:
    """The console, opened at a place such as ``#/catalogue``; errors and foreign requests fail at the end.

    Args:
        browser: Playwright's browser, or a context of it, which saves loading everything anew.
        address: The server.
        place: Hash of the view.
        expected: Whether a problem is one that the test brings about.
        context: Of the browser context, such as ``locale``.
    """
    with _opened(browser, address, **context) as page:
        page.goto(f"{address}/{place}")
        yield page
        _check(page, expected)


def window(browser: Any, **context: Any) -> Any:
    """A browser context with a wide screen, in which nothing moves."""
    return browser.new_context(
        reduced_motion="reduce", **{"viewport": {"width": 1360, "height": 900}, **context}
    )


@contextmanager
def _opened(browser: Any, address: str, **context: Any) -> Iterator[Any]:
    made = window(browser, **context) if hasattr(browser, "new_context") else None
    page = (made or browser).new_page()
    problems: list[str] = []
    _PROBLEMS[page] = problems
    page.on("pageerror", lambda error: problems.append(f"script error: {error}"))
    page.on("console", lambda line: problems.append(line.text) if line.type == "error" else None)
    page.on(
        "request",
        lambda request: (
            None
            if request.url.startswith((address, "data:", "blob:"))
            else problems.append(f"foreign request: {request.url}")
        ),
    )
    try:
        yield page
    finally:
        del _PROBLEMS[page]
        page.close()
        if made is not None:
            made.close()


def _check(page: Any, expected: Expected) -> None:
    found = [problem for problem in _PROBLEMS[page] if not expected(problem)]
    assert not found, found


class Tab:
    """A page that is open for tests that leave the server as it is; each view is opened anew in it.

    Args:
        page: Playwright's page.
        address: The server.
    """

    def __init__(self, page: Any, address: str) -> None:
        self._page = page
        self.address = address

    @contextmanager
    def at(self, place: str, expected: Expected = _nothing) -> Iterator[Any]:
        """Like :func:`console_page`, on a wide light screen to begin with."""
        page = self._page
        wide(page)
        # A place that is open already would not be opened again.
        page.goto(f"{self.address}/#/nowhere")
        page.get_by_role("heading", name="There is no such view.").wait_for()
        _PROBLEMS[page].clear()
        if place != "#/nowhere":
            page.goto(f"{self.address}/{place}")
            page.wait_for_selector(f"#view > .{re.split('[/?]', place)[1]}")
        yield page
        _check(page, expected)


@contextmanager
def tab(browser: Any, address: str) -> Iterator[Tab]:
    """Open a tab."""
    with _opened(browser, address) as page:
        yield Tab(page, address)


def wide(page: Any) -> None:
    """Show a page on a wide light screen."""
    page.emulate_media(color_scheme="light")
    page.set_viewport_size({"width": 1360, "height": 900})


def narrow(page: Any) -> None:
    """Show a page on a dark phone."""
    page.emulate_media(color_scheme="dark")
    page.set_viewport_size({"width": 360, "height": 780})


def settled(page: Any) -> None:
    """Wait until nothing on the page is loading any more."""
    page.wait_for_selector("#view h1, #view .state.bad")
    page.wait_for_selector(".state.loading", state="detached")


def violations(page: Any, rules: tuple[str, ...] = (), *, contrast: bool = True) -> list[str]:
    """What axe-core finds wrong with the page as it is, a line a rule with the first element.

    Args:
        page: Playwright's page.
        rules: Names of rules; none for all of them.
        contrast: Look at the colours of every text as well, which takes nine tenths of the time; a page made
            of parts whose colours were looked at elsewhere needs no second look.
    """
    problems = _PROBLEMS[page]
    before = len(problems)
    if page.evaluate("typeof axe") == "undefined":
        page.evaluate(AXE.read_text(encoding="utf-8"))
    only = {"type": "rule", "values": list(rules)} if rules else {"type": "tag", "values": _TAGS}
    options = {"runOnly": only, "preload": False, "resultTypes": ["violations"]}
    if not contrast:
        options["rules"] = {"color-contrast": {"enabled": False}}
    found = page.evaluate("(options) => axe.run(document, options)", options)
    del problems[before:]  # axe-core itself sets styles that the page's policy refuses
    return [f"{rule['id']}: {rule['help']}: {rule['nodes'][0]['html'][:200]}" for rule in found["violations"]]


def looks_wrong(page: Any) -> list[str]:
    """What is wrong with a page on a dark phone, where the elements are those of the wide light one."""
    narrow(page)
    found = violations(page, LOOKS)
    width = page.evaluate("document.documentElement.scrollWidth")
    return [*found, *([f"it is {width} pixels wide"] if width > 360 else [])]
