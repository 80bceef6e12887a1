"""Explainer ``template``: the wording of explanations for any domain."""

from __future__ import annotations

from collections.abc import Sequence

from recserve.data.entities import Reason

_DONE = {
    "view": "you viewed",
    "click": "you clicked",
    "play": "you played",
    "purchase": "you bought",
    "add_to_cart": "you put in your cart",
    "rating": "you rated",
    "like": "you liked",
}
"""What a user did with an item, by event type; of other types nothing is claimed."""


class TemplateExplainer:
    """Explainer with sentences that fit any domain."""

    def explain(self, reasons: Sequence[Reason]) -> list[str]:
        """One sentence for each reason."""
        return [self._sentence(reason) for reason in reasons]

    def _sentence(self, reason: Reason) -> str:
        if reason.query_text:
            return f"Found for “{_shorten(reason.query_text)}”"
        if "explore" in reason.sources:
            return "New here"
        if reason.evidence_text:
            done = "searched for" if reason.evidence_event == "search" else "wrote"
            return f"Because you {done} “{_shorten(reason.evidence_text)}”"
        if reason.evidence is not None and reason.evidence_event is None:
            return f"Similar to {_shorten(reason.evidence.title)}"
        if reason.evidence is not None:
            return f"Because {_DONE.get(reason.evidence_event or '', 'of')} {_shorten(reason.evidence.title)}"
        if reason.interests:
            return f"Fits your interests: {_shorten(reason.interests)}"
        if reason.sources and reason.sources[0] == "popular":
            return "Popular"
        return "Picked for you"


def _shorten(text: str, limit: int = 80) -> str:
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1] + "…"
