"""Videos in words: the reasons that are shown to viewers, in English and Chinese."""

from __future__ import annotations

from dataclasses import replace

from recserve import CHINESE_PHRASES, ENGLISH_PHRASES, PhraseExplainer

ENGLISH = replace(
    ENGLISH_PHRASES,
    done={
        "watch": "watched",
        "view": "watched",
        "play": "watched",
        "like": "liked",
        "click": "opened",
        "search": "searched for",
    },
    other="Goes with {title}",
    new="Just uploaded",
    led={"content": "Similar to {title}, which you {done}"},
    sources={
        "popular": "Watched by many",
        "trending": "More and more people watch it",
        "mf": "People with your taste watch it",
        "content": "Fits what you watch",
    },
)

CHINESE = replace(
    CHINESE_PHRASES,
    done={
        "watch": "看过",
        "view": "看过",
        "play": "看过",
        "like": "赞过",
        "click": "点开过",
        "search": "搜索过",
    },
    again="您{done}这个视频",
    new="刚刚发布",
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
