"""What a task is, and where things are on the page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from benchmarks.tasks.hand import Hand, WrongAnswerError
from benchmarks.tasks.world import World


@dataclass(frozen=True)
class Task:
    """Something that somebody wants to know or do, from the start page of the console on.

    Attributes:
        who: Whose task it is.
        question: In that person's words.
        do: Does it, holds what is read on the page against the API, and returns the answer.
    """

    who: Literal["product manager", "engineer"]
    question: str
    do: Callable[[Hand, World], str]


def open_view(hand: Hand, title: str) -> None:
    """Go to a view by the navigation."""
    hand.click(title, hand.page.get_by_role("navigation", name="Views").get_by_role("link", name=title))


def section(page: Any, heading: str) -> Any:
    """The panel under a heading."""
    return page.locator("section.panel", has=page.get_by_role("heading", name=heading, exact=True))


def region(page: Any, caption: str) -> Any:
    """The table of a caption."""
    return page.get_by_role("region", name=caption)


def agree(what: str, read: object, known: object) -> None:
    """Hold what was read against what is so.

    Raises:
        WrongAnswerError: They differ.
    """
    if read != known:
        raise WrongAnswerError(f"{what}: the page says {read!r}, the API {known!r}")


def told(text: str, *parts: object) -> None:
    """See that a text has some parts in it.

    Raises:
        WrongAnswerError: One is missing.
    """
    for part in parts:
        if str(part) not in text:
            raise WrongAnswerError(f"{str(part)!r} is not in {text[:300]!r}")
