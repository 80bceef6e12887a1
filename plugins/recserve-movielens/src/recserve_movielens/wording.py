"""Films in words: the text that is encoded and the reasons that are shown."""

from __future__ import annotations

from collections.abc import Sequence

from recserve import Item, Reason

_DONE = {
    "rating": "rated",
    "like": "liked",
    "view": "watched",
    "play": "watched",
    "purchase": "bought",
    "click": "looked at",
    "add_to_cart": "put on your list",
    "search": "searched for",
}
"""What a viewer did, by event type."""

_SOURCES = {
    "popular": "Popular with viewers",
    "trending": "More and more viewers are watching it",
    "mf": "Loved by viewers with your taste",
    "content": "Fits the stories you like",
}
"""What a retriever's choice says when no film of the viewer's own led to it."""


class MovieText:
    """The text of a film: title, year and genres, whichever there are."""

    def text(self, item: Item) -> str:
        """For example ``Toy Story (1995). Adventure, Animation, Children``; empty if nothing is known."""
        title = str(item.attributes.get("title") or "").strip()
        year = item.attributes.get("year")
        if title and year:
            title = f"{title} ({year})"
        genres = item.attributes.get("genres") or []
        return ". ".join(part for part in (title, ", ".join(genres)) if part)


class MovieExplainer:
    """The strongest reason for a film, as one would say it to a viewer."""

    def explain(self, reasons: Sequence[Reason]) -> list[str]:
        """One sentence for each reason."""
        return [self._sentence(reason) for reason in reasons]

    def _sentence(self, reason: Reason) -> str:
        if reason.query_text and reason.query_text.strip():
            return f"Found for “{_shorten(reason.query_text)}”"
        if "explore" in reason.sources:
            return "New in the catalogue"
        if reason.evidence_text:
            done = "searched for" if reason.evidence_event == "search" else "wrote"
            return f"Because you {done} “{_shorten(reason.evidence_text)}”"
        source = reason.sources[0] if reason.sources else ""
        if reason.evidence is not None:
            return self._because(
                _shorten(reason.evidence.title), _DONE.get(reason.evidence_event or ""), source
            )
        if reason.interests:
            return f"Fits your interests: {_shorten(reason.interests)}"
        return _SOURCES.get(source, "Picked for you")

    def _because(self, title: str, done: str | None, source: str) -> str:
        if done is None:
            return f"Similar to {title}"
        if source == "content":
            return f"Similar to {title}, which you {done}"
        return f"Because you {done} {title}"


def _shorten(text: str, limit: int = 80) -> str:
    line = " ".join(text.split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"
