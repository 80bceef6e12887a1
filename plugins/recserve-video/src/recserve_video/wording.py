"""Videos in words: the reasons that are shown to viewers, in English and Chinese."""

from __future__ import annotations

from recserve import PhraseExplainer, Phrases

ENGLISH = Phrases(
    done={
        "watch": "watched",
        "view": "watched",
        "play": "watched",
        "like": "liked",
        "click": "opened",
        "search": "searched for",
    },
    because="Because you {done} {title}",
    again="You {done} this before",
    similar="Similar to {title}",
    other="Goes with {title}",
    matches="Matches “{text}”",
    found="Found for “{text}”",
    new="Just uploaded",
    searched="Because you searched for “{text}”",
    wrote="Because you wrote “{text}”",
    interests="Fits your interests: {text}",
    picked="Picked for you",
    led={"content": "Similar to {title}, which you {done}"},
    sources={
        "popular": "Watched by many",
        "trending": "More and more people watch it",
        "mf": "People with your taste watch it",
        "content": "Fits what you watch",
    },
)

CHINESE = Phrases(
    done={
        "watch": "看过",
        "view": "看过",
        "play": "看过",
        "like": "赞过",
        "click": "点开过",
        "search": "搜索过",
    },
    because="因为您{done}“{title}”",
    again="您{done}这个视频",
    similar="与“{title}”相似",
    other="与“{title}”有关",
    matches="符合“{text}”",
    found="根据“{text}”找到",
    new="刚刚发布",
    searched="因为您搜索过“{text}”",
    wrote="因为您写过“{text}”",
    interests="符合您的兴趣：{text}",
    picked="为您推荐",
    led={"content": "与您{done}的“{title}”相似"},
    sources={
        "popular": "很多人在看",
        "trending": "越来越多的人在看",
        "mf": "口味相近的人在看",
        "content": "符合您常看的内容",
    },
)


class VideoExplainer(PhraseExplainer):
    """The strongest reason for a video, as one would say it to a viewer."""

    def __init__(self) -> None:
        super().__init__({"en": ENGLISH, "zh": CHINESE})
