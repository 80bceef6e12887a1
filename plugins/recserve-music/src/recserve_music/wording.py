"""Tracks in words: the reasons that are shown to listeners, in English and Chinese."""

from __future__ import annotations

from recserve import PhraseExplainer, Phrases

ENGLISH = Phrases(
    done={
        "play": "played",
        "like": "liked",
        "skip": "skipped",
        "click": "looked at",
        "view": "looked at",
        "search": "searched for",
    },
    because="Because you {done} {title}",
    again="You {done} this before",
    similar="Sounds like {title}",
    other="Goes with {title}",
    matches="Matches “{text}”",
    found="Found for “{text}”",
    new="New release",
    searched="Because you searched for “{text}”",
    wrote="Because you wrote “{text}”",
    interests="Fits your interests: {text}",
    picked="Picked for you",
    led={"content": "Sounds like {title}, which you {done}", "repeat": "You keep coming back to this"},
    sources={
        "repeat": "You keep coming back to this",
        "popular": "Played by many listeners",
        "trending": "More and more listeners play it",
        "mf": "Listeners with your taste play it",
        "content": "Fits what you listen to",
    },
)

CHINESE = Phrases(
    done={
        "play": "听过",
        "like": "喜欢",
        "skip": "跳过",
        "click": "点过",
        "view": "看过",
        "search": "搜索过",
    },
    because="因为您{done}《{title}》",
    again="您{done}这首",
    similar="与《{title}》风格相近",
    other="与《{title}》相配",
    matches="符合“{text}”",
    found="根据“{text}”找到",
    new="新歌上架",
    searched="因为您搜索过“{text}”",
    wrote="因为您写过“{text}”",
    interests="符合您的兴趣：{text}",
    picked="为您推荐",
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
