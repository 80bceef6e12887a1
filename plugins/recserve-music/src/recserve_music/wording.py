"""Tracks in words: the reasons that are shown to listeners, in English and Chinese."""

from __future__ import annotations

from dataclasses import replace

from recserve import CHINESE_PHRASES, ENGLISH_PHRASES, PhraseExplainer

ENGLISH = replace(
    ENGLISH_PHRASES,
    done={
        "play": "played",
        "like": "liked",
        "click": "looked at",
        "view": "looked at",
        "search": "searched for",
    },
    similar="Sounds like {title}",
    other="Goes with {title}",
    new="New release",
    led={"content": "Sounds like {title}, which you {done}", "repeat": "You keep coming back to this"},
    sources={
        "repeat": "You keep coming back to this",
        "popular": "Played by many listeners",
        "trending": "More and more listeners play it",
        "mf": "Listeners with your taste play it",
        "content": "Fits what you listen to",
    },
)

CHINESE = replace(
    CHINESE_PHRASES,
    done={
        "play": "听过",
        "like": "喜欢",
        "click": "点过",
        "view": "看过",
        "search": "搜索过",
    },
    because="因为您{done}《{title}》",
    again="您{done}这首",
    similar="与《{title}》风格相近",
    other="与《{title}》相配",
    new="新歌上架",
    led={"content": "与您{done}的《{title}》风格相近", "repeat": "您常听，该再听一遍了"},
    sources={
        "repeat": "您常听，该再听一遍了",
        "popular": "很多人在听",
        "trending": "越来越多的人在听",
        "mf": "口味相近的人在听",
        "content": "符合您常听的风格",
    },
)


class MusicExplainer(PhraseExplainer):
    """The strongest reason for a track, as one would say it to a listener."""

    def __init__(self) -> None:
        super().__init__({"en": ENGLISH, "zh": CHINESE})
