"""Posts in words: the reasons that are shown to readers, in English and Chinese."""

from __future__ import annotations

from recserve import PhraseExplainer, Phrases

ENGLISH = Phrases(
    done={
        "follow": "follow",
        "like": "liked",
        "reply": "replied to",
        "repost": "reposted",
        "click": "opened",
        "view": "read",
        "search": "searched for",
    },
    because="Because you {done} {title}",
    again="You {done} this before",
    similar="Similar to {title}",
    other="Goes with {title}",
    matches="Matches “{text}”",
    found="Found for “{text}”",
    new="New here",
    searched="Because you searched for “{text}”",
    wrote="Because you wrote “{text}”",
    interests="Fits your interests: {text}",
    picked="Picked for you",
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

CHINESE = Phrases(
    done={
        "follow": "关注了",
        "like": "赞过",
        "reply": "回复过",
        "repost": "转发过",
        "click": "看过",
        "view": "看过",
        "search": "搜索过",
    },
    because="因为您{done}“{title}”",
    again="您{done}这条内容",
    similar="与“{title}”相似",
    other="与“{title}”有关",
    matches="符合“{text}”",
    found="根据“{text}”找到",
    new="新内容",
    searched="因为您搜索过“{text}”",
    wrote="因为您写过“{text}”",
    interests="符合您的兴趣：{text}",
    picked="为您推荐",
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
