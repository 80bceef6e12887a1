"""Films in words: the text that is encoded and the reasons that are shown."""

from __future__ import annotations

from dataclasses import replace

from recserve import CHINESE_PHRASES, ENGLISH_PHRASES, Item, PhraseExplainer

ENGLISH = replace(
    ENGLISH_PHRASES,
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
    new="New in the catalogue",
    led={"content": "Similar to {title}, which you {done}"},
    other="Similar to {title}",
)

CHINESE = replace(
    CHINESE_PHRASES,
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
    new="新片上架",
    similar="与《{title}》相似",
    led={"content": "与您{done}的《{title}》相似"},
    other="与《{title}》相似",
    because="因为您{done}《{title}》",
    again="您{done}这部影片",
)


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


class MovieExplainer(PhraseExplainer):
    """The strongest reason for a film, as one would say it to a viewer; in English or Chinese."""

    def __init__(self) -> None:
        super().__init__({"en": ENGLISH, "zh": CHINESE})
