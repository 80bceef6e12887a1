"""Wording of explanations: an explainer over the phrases of a domain, and phrases that fit any domain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from recserve.data.entities import Reason


@dataclass(frozen=True)
class Phrases:
    """Sentences of one language. ``{title}``, ``{done}`` and ``{text}`` are filled in where they occur.

    Attributes:
        done: What the user did with another item, by event type.
        because: Of an item that goes with one that the user did something with.
        again: Of an item that the user did something with, where that is what speaks for it.
        similar: Of an item like one that the user did nothing with.
        other: Of an item that goes with one that the user did something with of which :attr:`done` says
            nothing.
        matches: Of an item that shares words with the request's text.
        found: Of an item that means what the request's text says.
        new: Of a new item that is tried out.
        searched: Of what suits a search of the user's.
        wrote: Of what suits other words that the user wrote.
        interests: Of what suits stated interests.
        picked: Where nothing else can be said.
        led: Instead of :attr:`because`, by the retriever that proposed the item first.
        sources: What the choice of a retriever says where no other item led to it, by retriever.
    """

    done: Mapping[str, str]
    because: str
    again: str
    similar: str
    other: str
    matches: str
    found: str
    new: str
    searched: str
    wrote: str
    interests: str
    picked: str
    led: Mapping[str, str] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)


ENGLISH_PHRASES = Phrases(
    done={
        "view": "viewed",
        "click": "clicked",
        "play": "played",
        "purchase": "bought",
        "add_to_cart": "put in your cart",
        "rating": "rated",
        "like": "liked",
    },
    because="Because you {done} {title}",
    again="You {done} this before",
    similar="Similar to {title}",
    other="Because of {title}",
    matches="Matches “{text}”",
    found="Found for “{text}”",
    new="New here",
    searched="Because you searched for “{text}”",
    wrote="Because you wrote “{text}”",
    interests="Fits your interests: {text}",
    picked="Picked for you",
    sources={"popular": "Popular"},
)

CHINESE_PHRASES = Phrases(
    done={
        "view": "看过",
        "click": "点过",
        "play": "播放过",
        "purchase": "买过",
        "add_to_cart": "加购过",
        "rating": "评价过",
        "like": "喜欢",
    },
    because="因为您{done}“{title}”",
    again="您{done}它",
    similar="与“{title}”相似",
    other="与“{title}”有关",
    matches="符合“{text}”",
    found="根据“{text}”找到",
    new="新品推荐",
    searched="因为您搜索过“{text}”",
    wrote="因为您写过“{text}”",
    interests="符合您的兴趣：{text}",
    picked="为您推荐",
    sources={"popular": "热门"},
)


class PhraseExplainer:
    """Explainer that says the strongest reason for an item in the phrases of a domain.

    Args:
        languages: Phrases by language, without region; English (``en``) is used where a language is not
            known.
    """

    def __init__(self, languages: Mapping[str, Phrases]) -> None:
        self._languages = languages

    def explain(self, reasons: Sequence[Reason]) -> list[str]:
        """One sentence for each reason."""
        return [self._sentence(reason) for reason in reasons]

    def _sentence(self, reason: Reason) -> str:
        phrases = self._languages.get(reason.language.partition("-")[0], self._languages["en"])
        if reason.query_text and reason.query_text.strip():
            phrase = phrases.matches if reason.matches_words else phrases.found
            return phrase.format(text=_shorten(reason.query_text))
        if "explore" in reason.sources:
            return phrases.new
        if reason.evidence_text:
            phrase = phrases.searched if reason.evidence_event == "search" else phrases.wrote
            return phrase.format(text=_shorten(reason.evidence_text))
        source = reason.sources[0] if reason.sources else ""
        if reason.evidence is not None:
            done = phrases.done.get(reason.evidence_event or "")
            phrase = phrases.led.get(source, phrases.because)
            if reason.evidence.item_id == reason.item.item_id and "{title}" in phrase:
                own = phrases.sources.get(source, phrases.picked)
                phrase = own if done is None else phrases.again
            if done is None and "{done}" in phrase:
                phrase = phrases.similar if reason.evidence_event is None else phrases.other
            return phrase.format(title=_shorten(reason.evidence.title), done=done)
        if reason.interests:
            return phrases.interests.format(text=_shorten(reason.interests))
        return phrases.sources.get(source, phrases.picked)


class TemplateExplainer(PhraseExplainer):
    """Explainer with sentences that fit any domain, in English and Chinese."""

    def __init__(self) -> None:
        super().__init__({"en": ENGLISH_PHRASES, "zh": CHINESE_PHRASES})


def _shorten(text: str, limit: int = 80) -> str:
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1] + "…"
