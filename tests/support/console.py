"""Helpers of the console's browser tests: an open page that may have no problem, and axe-core."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

AXE = Path(__file__).parent / "axe" / "axe.min.js"

# Of all of axe's rules: what WCAG 2.2 asks for at the levels A and AA, and best practices.
_TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]

_PROBLEMS: dict[Any, list[str]] = {}
"""Problems of the pages that are open."""


@contextmanager
def console_page(
    browser: Any,
    address: str,
    place: str,
    expected: Callable[[str], bool] = lambda problem: False,
    **context: Any,
) -> Iterator[Any]:
    """The console, opened at a place such as ``#/catalogue``; errors and foreign requests fail at the end.

    Args:
        browser: Playwright's browser.
        address: The server.
        place: Hash of the view.
        expected: Whether a problem is one that the test brings about.
        context: Of the browser context, such as ``locale``.
    """
    made = browser.new_context(
        reduced_motion="reduce", **{"viewport": {"width": 1360, "height": 900}, **context}
    )
    page = made.new_page()
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
        page.goto(f"{address}/{place}")
        yield page
        found = [problem for problem in problems if not expected(problem)]
        assert not found, found
    finally:
        del _PROBLEMS[page]
        made.close()


def settled(page: Any) -> None:
    """Wait until nothing on the page is loading any more."""
    page.wait_for_selector("#view h1, #view .state.bad")
    page.wait_for_selector(".state.loading", state="detached")


def violations(page: Any) -> list[str]:
    """What axe-core finds wrong with the page as it is, a line a rule with the first element."""
    problems = _PROBLEMS[page]
    before = len(problems)
    page.evaluate(AXE.read_text(encoding="utf-8"))
    options = {"runOnly": {"type": "tag", "values": _TAGS}, "preload": False}
    found = page.evaluate("(options) => axe.run(document, options)", options)
    del problems[before:]  # axe-core itself sets styles that the page's policy refuses
    return [f"{rule['id']}: {rule['help']}: {rule['nodes'][0]['html'][:200]}" for rule in found["violations"]]
