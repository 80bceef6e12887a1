"""Explanations in words of any domain, in English and Chinese."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from recserve import Item, Reason
from recserve.plugin.builtins.wording import CHINESE_PHRASES, ENGLISH_PHRASES, TemplateExplainer
from recserve.testing import check_explainer

SEEN = Item("2", {"title": "Tea"})


@pytest.mark.parametrize(
    ("reason", "english", "chinese"),
    [
        ({"query_text": " a   tea ", "sources": ("content",)}, "Found for “a tea”", "根据“a tea”找到"),
        ({"query_text": "tea", "sources": ("content", "lexical")}, "Matches “tea”", "符合“tea”"),
        ({"sources": ("explore", "mf")}, "New here", "新品推荐"),
        ({"evidence": SEEN}, "Similar to Tea", "与“Tea”相似"),
        ({"evidence": SEEN, "evidence_event": "purchase"}, "Because you bought Tea", "因为您买过“Tea”"),
        (
            {"evidence": Item("1", {"title": "Tea"}), "evidence_event": "purchase"},
            "You bought this before",
            "您买过它",
        ),
        ({"evidence": Item("1", {"title": "Tea"}), "evidence_event": "skip"}, "Picked for you", "为您推荐"),
        ({"evidence": SEEN, "evidence_event": "teleport"}, "Because of Tea", "与“Tea”有关"),
        (
            {"evidence_event": "search", "evidence_text": "green\n tea"},
            "Because you searched for “green tea”",
            "因为您搜索过“green tea”",
        ),
        (
            {"evidence_event": "rating", "evidence_text": "lovely"},
            "Because you wrote “lovely”",
            "因为您写过“lovely”",
        ),
        ({"evidence_text": "lovely", "query_text": "tea"}, "Found for “tea”", "根据“tea”找到"),
        ({"interests": "tea"}, "Fits your interests: tea", "符合您的兴趣：tea"),
        ({"sources": ("popular", "mf")}, "Popular", "热门"),
        ({}, "Picked for you", "为您推荐"),
    ],
)
def test_a_reason_in_both_languages(reason: dict[str, object], english: str, chinese: str) -> None:
    made = [
        Reason(**{"item": Item("1"), "sources": ("mf",), **reason, "language": tag}) for tag in ("en", "zh")
    ]
    assert TemplateExplainer().explain(made) == [english, chinese]


def test_a_tag_with_a_region_and_an_unknown_language() -> None:
    reasons = [Reason(Item("1"), (), language=tag) for tag in ("zh-CN", "zh-Hant-TW", "xx")]
    assert TemplateExplainer().explain(reasons) == ["为您推荐", "为您推荐", "Picked for you"]


def test_both_languages_speak_of_the_same_events() -> None:
    english, chinese = asdict(ENGLISH_PHRASES), asdict(CHINESE_PHRASES)
    for mapping in ("done", "led", "sources"):
        assert english.pop(mapping).keys() == chinese.pop(mapping).keys()
    for name, phrase in english.items():
        assert ("{" in phrase) == ("{" in chinese[name])


def test_contract() -> None:
    assert len(check_explainer("template")) == 6


def test_a_long_text_is_shortened() -> None:
    (sentence,) = TemplateExplainer().explain([Reason(Item("1"), (), evidence_text="x" * 10_000)])
    assert len(sentence) < 110
