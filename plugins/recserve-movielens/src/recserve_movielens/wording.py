"""Films in words: the text that is encoded and the reasons that are shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from recserve import Item, Reason


@dataclass(frozen=True)
class Phrases:
    """Sentences of one language about films.

    Attributes:
        done: What a viewer did, by event type.
        sources: What a retriever's choice says when no film of the viewer's own led to it.
        matches: Of a film that shares words with the request's text.
        found: Of a film that means what the request's text says.
        new: Of a new film that is tried out.
        similar: Of a film like one that the viewer did nothing with.
        similar_done: Of a film whose text is like one that the viewer did something with.
        because: Of a film that goes with one that the viewer did something with.
        searched: Of what suits a search of the user's.
        wrote: Of what suits other words that the user wrote.
        interests: Of what suits stated interests.
        picked: Where nothing else can be said.
    """

    done: Mapping[str, str]
    sources: Mapping[str, str]
    matches: str
    found: str
    new: str
    similar: str
    similar_done: str
    because: str
    searched: str
    wrote: str
    interests: str
    picked: str


ENGLISH = Phrases(
    done={
        "rating": "rated",
        "like": "liked",
        "view": "watched",
        "play": "watched",
        "purchase": "bought",
        "click": "looked at",
        "add_to_cart": "put on your list",
        "search": "searched for",
    },
    sources={
        "popular": "Popular with viewers",
        "trending": "More and more viewers are watching it",
        "mf": "Loved by viewers with your taste",
        "content": "Fits the stories you like",
    },
    matches="Matches “{text}”",
    found="Found for “{text}”",
    new="New in the catalogue",
    similar="Similar to {title}",
    similar_done="Similar to {title}, which you {done}",
    because="Because you {done} {title}",
    searched="Because you searched for “{text}”",
    wrote="Because you wrote “{text}”",
    interests="Fits your interests: {text}",
    picked="Picked for you",
)

CHINESE = Phrases(
    done={
        "rating": "评价过",
        "like": "喜欢",
        "view": "看过",
        "play": "看过",
        "purchase": "买过",
        "click": "点过",
        "add_to_cart": "收藏过",
        "search": "搜索过",
    },
    sources={
        "popular": "热门影片",
        "trending": "越来越多的人在看",
        "mf": "口味相近的观众喜欢",
        "content": "符合您喜欢的故事",
    },
    matches="符合“{text}”",
    found="根据“{text}”找到",
    new="新片上架",
    similar="与《{title}》相似",
    similar_done="与您{done}的《{title}》相似",
    because="因为您{done}《{title}》",
    searched="因为您搜索过“{text}”",
    wrote="因为您写过“{text}”",
    interests="符合您的兴趣：{text}",
    picked="为您推荐",
)

_LANGUAGES = {"en": ENGLISH, "zh": CHINESE}


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
    """The strongest reason for a film, as one would say it to a viewer; in English or Chinese."""

    def explain(self, reasons: Sequence[Reason]) -> list[str]:
        """One sentence for each reason."""
        return [self._sentence(reason) for reason in reasons]

    def _sentence(self, reason: Reason) -> str:
        phrases = _LANGUAGES.get(reason.language.partition("-")[0], ENGLISH)
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
            phrase = phrases.similar_done if source == "content" else phrases.because
            phrase = phrases.similar if done is None else phrase
            return phrase.format(title=_shorten(reason.evidence.title), done=done)
        if reason.interests:
            return phrases.interests.format(text=_shorten(reason.interests))
        return phrases.sources.get(source, phrases.picked)


def _shorten(text: str, limit: int = 80) -> str:
    line = " ".join(text.split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"
