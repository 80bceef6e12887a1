"""A person at the console: every click and key is made for real, counted, and put into words.

How long a person takes is the Keystroke-Level Model of Card, Moran and Newell, "The keystroke-level model for
user performance time with interactive systems", Communications of the ACM 23(7), 1980: the sum of the
operators below and of the system's response, which is measured.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

KEY = 0.28
"""K: pressing a key or a button; an average typist who is no secretary, 40 words a minute."""
POINT = 1.10
"""P: pointing to something with a mouse."""
HOME = 0.40
"""H: moving a hand between mouse and keyboard."""
THINK = 1.35
"""M: preparing for what comes next."""

PATIENCE_MS = 30_000.0


class WrongAnswerError(Exception):
    """What a person reads on the page is not what the API says."""


@dataclass
class Effort:
    """What a task took.

    Attributes:
        clicks: Mouse buttons pressed; two for each choice of a list that unfolds.
        keys: Keys pressed.
        scrolls: By a screen at most each; taken as a movement of the pointer (P), since the model has none.
        homes: Changes between mouse and keyboard.
        thoughts: One before each click and each text, and one for each answer that is read.
        waited: Measured seconds until what comes next could be seen.
        steps: What was done, in words.
    """

    clicks: int = 0
    keys: int = 0
    scrolls: int = 0
    homes: int = 0
    thoughts: int = 0
    waited: float = 0.0
    steps: list[str] = field(default_factory=list)

    @property
    def person(self) -> float:
        """Seconds of the person by the model, without what the page takes."""
        pointed = self.clicks + self.scrolls
        return KEY * (self.clicks + self.keys) + POINT * pointed + HOME * self.homes + THINK * self.thoughts


class Hand:
    """Does a task on an open page.

    Args:
        page: Playwright's page.
    """

    def __init__(self, page: Any) -> None:
        self.page = page
        self.effort = Effort()
        self._at: Literal["mouse", "keyboard"] = "mouse"

    def click(self, words: str, target: Any) -> None:
        """Click something."""
        self._find(target)
        self._move("mouse")
        self._note(f"click {words}", clicks=1)
        target.click(timeout=PATIENCE_MS)

    def choose(self, words: str, target: Any, label: str) -> None:
        """Choose an entry of a list that unfolds: a click on the list, one on the entry."""
        self._find(target)
        self._move("mouse")
        self._note(f"choose {label} as {words}", clicks=2)
        target.select_option(label=label)

    def type(self, words: str, target: Any, text: str, *, enter: bool = False, at_end: bool = False) -> None:
        """Type into a field, which is clicked first unless it has the keyboard already.

        Args:
            words: What the field is called.
            target: The field.
            text: What is typed; it takes the place of what was there.
            enter: Press Enter afterwards.
            at_end: What was there stays; the text follows it.
        """
        self._find(target)
        if not target.evaluate("(element) => element === document.activeElement"):
            self.click(words, target)
        self._move("keyboard")
        keys = len(text) + int(enter)
        if target.input_value():
            self.page.keyboard.press("Control+End" if at_end else "Control+A")
            keys += 2
        self._note(f"type “{text.strip()}”{' and Enter' if enter else ''}", keys=keys)
        self.page.keyboard.type(text)
        if enter:
            self.page.keyboard.press("Enter")

    def read(self, words: str, target: Any, until: Callable[[str], bool] = bool) -> str:
        """Read what is on the page, as soon as it is there.

        Args:
            words: What is read.
            target: Where it stands.
            until: Whether a text is an answer yet.
        """
        self._find(target)
        deadline = time.monotonic() + PATIENCE_MS / 1000
        start = time.perf_counter()
        while not until(text := " ".join(target.inner_text().split())):
            if time.monotonic() > deadline:
                raise WrongAnswerError(f"{words} never came to an answer: {text[:200]!r}")
            self.page.wait_for_timeout(20)
        self.effort.waited += time.perf_counter() - start
        self._note(f"read {words}")
        return text

    def _find(self, target: Any) -> None:
        """Wait until something is there, and bring it into sight."""
        start = time.perf_counter()
        target.wait_for(state="visible", timeout=PATIENCE_MS)
        self.effort.waited += time.perf_counter() - start
        box = target.bounding_box()
        height = self.page.viewport_size["height"]
        beyond = 0.0 if box is None else max(-box["y"], box["y"] + min(box["height"], 60.0) - height, 0.0)
        if beyond:
            self.effort.scrolls += math.ceil(beyond / height)
            up = box is not None and box["y"] < 0
            # By the wheel, not to the element: what is drawn anew meanwhile stays where it is.
            self.page.mouse.wheel(0, -beyond - 80 if up else beyond + 80)
            self.page.wait_for_timeout(50)
            self.effort.steps.append("scroll")

    def _move(self, to: Literal["mouse", "keyboard"]) -> None:
        if self._at != to:
            self.effort.homes += 1
            self._at = to

    def _note(self, step: str, *, clicks: int = 0, keys: int = 0) -> None:
        self.effort.steps.append(step)
        self.effort.clicks += clicks
        self.effort.keys += keys
        self.effort.thoughts += max(clicks, 1)
