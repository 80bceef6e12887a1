"""Posts in words: the reasons that are shown to readers, in English and Chinese."""

from __future__ import annotations

from dataclasses import replace

from recserve import CHINESE_PHRASES, ENGLISH_PHRASES, PhraseExplainer

ENGLISH = replace(
    ENGLISH_PHRASES,
    done={
        "follow": "follow",
        "like": "liked",
        "reply": "replied to",
        "repost": "reposted",
        "click": "opened",
        "view": "read",
        "search": "searched for",
    },
    other="Goes with {title}",
    led={
        "following": "Because you follow {title}",
        "friends_of_friends": "Followers of {title} follow this author, too",
        "content": "Similar to {title}, which you {done}",
    },
    sources={
        "popular": "Popular with readers",
        "trending": "Many people react to this right now",
        "mf": "Readers with your interests like it",
        "content": "Fits what you read",
    },
)

CHINESE = replace(
    CHINESE_PHRASES,
    done={
        "follow": "关注了",
        "like": "赞过",
        "reply": "回复过",
        "repost": "转发过",
        "click": "看过",
        "view": "看过",
        "search": "搜索过",
    },
    again="您{done}这条内容",
    new="新内容",
    led={
        "following": "您关注了“{title}”",
        "friends_of_friends": "关注“{title}”的人也关注这位作者",
        "content": "与您{done}的“{title}”相似",
    },
    sources={
        "popular": "很多人喜欢",
        "trending": "正在被热议",
        "mf": "兴趣相近的人喜欢",
        "content": "符合您的阅读兴趣",
    },
)


class SocialExplainer(PhraseExplainer):
    """The strongest reason for a post or an author, as one would say it to a reader."""

    def __init__(self) -> None:
        super().__init__({"en": ENGLISH, "zh": CHINESE})
