"""How a client speaks to each server: paths, bodies, and what it has to remember itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

RECIPE = "sample"
"""Name of recotem's recipe, and part of its paths."""

MOST_SEEDS = 100
MOST_ITEMS = 1000


class Wire:
    """recserve's routes, which the applications of the libraries have too: the server keeps histories.

    Attributes:
        name: In plans.
        path: What is asked.
        takes_events: Whether there is a route that stores events.
        keeps_history: Whether what the user has done is known to the server; otherwise the client sends it.
        way: How it asks, where a system can be asked in several ways.
    """

    name = "events"
    path = "/v1/recommend"
    takes_events = True
    keeps_history = True
    way = ""

    def title(self, system: str) -> str:
        """What a column of the table is called."""
        return f"{system}, {self.way}" if self.way else system

    def body(self, user: str, history: Sequence[str], n: int, untold: int = 0) -> dict[str, Any]:
        """A request from whose answer at least ``n`` items remain that are not in the history.

        Args:
            user: For whom.
            history: Items of the user, oldest first.
            n: How many are wanted.
            untold: How many items of the history the server cannot know of.
        """
        return {"user_id": user, "n": n, "explain": False}

    def items(self, answer: Any, had: Sequence[str], n: int) -> list[str]:
        """The items of an answer, best first, after the client has removed what the user had."""
        seen = set(had)
        return [item["item_id"] for item in answer["items"] if item["item_id"] not in seen][:n]


class RecotemByUser(Wire):
    """recotem's ``:recommend``: from what was learnt of a user. Nothing can be told between two trainings."""

    name = "recotem-by-user"
    way = "by user id"
    path = f"/v1/recipes/{RECIPE}:recommend"
    takes_events = False

    def body(self, user: str, history: Sequence[str], n: int, untold: int = 0) -> dict[str, Any]:
        """See :class:`Wire`; what the user had since training may come back, so more are asked for."""
        return {"user_id": user, "limit": min(n + untold, MOST_ITEMS)}


class RecotemByHistory(Wire):
    """recotem's ``:recommend-related``: from at most 100 items that the client keeps and sends."""

    name = "recotem-by-history"
    way = "by history"
    path = f"/v1/recipes/{RECIPE}:recommend-related"
    takes_events = False
    keeps_history = False

    def body(self, user: str, history: Sequence[str], n: int, untold: int = 0) -> dict[str, Any]:
        """See :class:`Wire`; items beyond the hundred newest may come back, so as many more are asked for."""
        older = max(len(history) - MOST_SEEDS, 0)
        return {"seed_items": list(history[-MOST_SEEDS:]), "limit": min(n + older, MOST_ITEMS)}


WIRES = {wire.name: wire for wire in (Wire(), RecotemByUser(), RecotemByHistory())}
