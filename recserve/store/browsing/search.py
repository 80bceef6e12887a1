"""Search of the catalogue by words, attributes and state: which items match."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from recserve.data.entities import Item

StateName = Literal["shown", "hidden", "expired"]
"""State of an item: ``shown`` may be returned, ``hidden`` is kept back, ``expired`` is past its time."""


@dataclass(frozen=True, slots=True)
class ItemSearch:
    """Condition on items. All parts must hold.

    Attributes:
        words: Each occurs somewhere in the item's id or in a value of its attributes, also inside a longer
            word, so that no language needs its words to be told apart. The case of letters does not matter.
        attributes: Names of attributes with the value that each has, or that its list holds, as text:
            ``("year", "1977")``, ``("genres", "sci-fi")``.
        state: The item's state; None for any.
    """

    words: tuple[str, ...] = ()
    attributes: tuple[tuple[str, str], ...] = ()
    state: StateName | None = None

    def matches(self, item: Item, now: int) -> bool:
        """Whether an item is one of those searched for.

        Args:
            item: The item.
            now: The present, milliseconds since the epoch.
        """
        if self.state is not None and state_of(item, now) != self.state:
            return False
        if not all(_has(item.attributes.get(name), value.casefold()) for name, value in self.attributes):
            return False
        if not self.words:
            return True
        text = "\n".join([item.item_id, *_texts(item.attributes)]).casefold()
        return all(word.casefold() in text for word in self.words)


def state_of(item: Item, now: int) -> StateName:
    """State of an item at a moment, milliseconds since the epoch."""
    if item.hidden:
        return "hidden"
    return "expired" if item.expires_at is not None and item.expires_at <= now else "shown"


def text_of(value: Any) -> str:
    """A single value of an attribute as text: a string as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _has(value: Any, wanted: str) -> bool:
    """Whether a value, or an entry of a list, is ``wanted``, which is casefolded."""
    entries = value if isinstance(value, list) else [value]
    return any(text_of(entry).casefold() == wanted for entry in entries if entry is not None)


def _texts(value: Any) -> Iterator[str]:
    """All single values inside a JSON-like value, without the names of objects' fields."""
    waiting = [value]
    while waiting:
        current = waiting.pop()
        if isinstance(current, dict):
            waiting.extend(current.values())
        elif isinstance(current, list):
            waiting.extend(current)
        elif current is not None:
            yield text_of(current)
