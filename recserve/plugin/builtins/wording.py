"""Explainer ``template``: the wording of explanations for any domain, in English and Chinese."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from recserve.data.entities import Reason


@dataclass(frozen=True)
class Phrases:
    """Sentences of one language.

    Attributes:
        matches: Of an item that shares words with the request's text.
        found: Of an item that means what the request's text says.
        new: Of a new item that is tried out.
        similar: Of an item like one that the user did nothing with.
        because: What the user did with another item, by event type.
        other: Of the same where the event type says nothing.
        searched: Of what suits a search of the user's.
        wrote: Of what suits other words that the user wrote.
        interests: Of what suits stated interests.
        popular: Of what is popular.
        picked: Where nothing else can be said.
    """

    matches: str
    found: str
    new: str
    similar: str
    because: Mapping[str, str]
    other: str
    searched: str
    wrote: str
    interests: str
    popular: str
    picked: str


ENGLISH = Phrases(
    matches="Matches “{text}”",
    found="Found for “{text}”",
    new="New here",
    similar="Similar to {title}",
    because={
        "view": "Because you viewed {title}",
        "click": "Because you clicked {title}",
        "play": "Because you played {title}",
        "purchase": "Because you bought {title}",
        "add_to_cart": "Because you put in your cart {title}",
        "rating": "Because you rated {title}",
        "like": "Because you liked {title}",
    },
    other="Because of {title}",
    searched="Because you searched for “{text}”",
    wrote="Because you wrote “{text}”",
    interests="Fits your interests: {text}",
    popular="Popular",
    picked="Picked for you",
)

CHINESE = Phrases(
    matches="符合“{text}”",
    found="根据“{text}”找到",
    new="新品推荐",
    similar="与“{title}”相似",
    because={
        "view": "因为您看过“{title}”",
        "click": "因为您点过“{title}”",
        "play": "因为您播放过“{title}”",
        "purchase": "因为您买过“{title}”",
        "add_to_cart": "因为您把“{title}”加入了购物车",
        "rating": "因为您评价过“{title}”",
        "like": "因为您喜欢“{title}”",
    },
    other="与“{title}”有关",
    searched="因为您搜索过“{text}”",
    wrote="因为您写过“{text}”",
    interests="符合您的兴趣：{text}",
    popular="热门",
    picked="为您推荐",
)

_LANGUAGES = {"en": ENGLISH, "zh": CHINESE}


class TemplateExplainer:
    """Explainer with sentences that fit any domain; in English where a language is not known."""

    def explain(self, reasons: Sequence[Reason]) -> list[str]:
        """One sentence for each reason."""
        return [self._sentence(reason) for reason in reasons]

    def _sentence(self, reason: Reason) -> str:
        phrases = _LANGUAGES.get(reason.language.partition("-")[0], ENGLISH)
        if reason.query_text:
            phrase = phrases.matches if reason.matches_words else phrases.found
            return phrase.format(text=_shorten(reason.query_text))
        if "explore" in reason.sources:
            return phrases.new
        if reason.evidence_text:
            phrase = phrases.searched if reason.evidence_event == "search" else phrases.wrote
            return phrase.format(text=_shorten(reason.evidence_text))
        if reason.evidence is not None:
            phrase = phrases.similar
            if reason.evidence_event is not None:
                phrase = phrases.because.get(reason.evidence_event, phrases.other)
            return phrase.format(title=_shorten(reason.evidence.title))
        if reason.interests:
            return phrases.interests.format(text=_shorten(reason.interests))
        if reason.sources and reason.sources[0] == "popular":
            return phrases.popular
        return phrases.picked


def _shorten(text: str, limit: int = 80) -> str:
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1] + "…"
