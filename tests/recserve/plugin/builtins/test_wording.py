from __future__ import annotations

import pytest

from recserve import Item, Reason
from recserve.plugin.builtins.wording import TemplateExplainer

TEA = Item("1", {"title": "Tea"})


@pytest.mark.parametrize(
    ("reason", "sentence"),
    [
        (
            Reason(TEA, (), evidence_event="search", evidence_text="green\n tea"),
            "Because you searched for “green tea”",
        ),
        (Reason(TEA, (), evidence_event="rating", evidence_text="lovely"), "Because you wrote “lovely”"),
        (Reason(TEA, (), evidence_text="lovely", query_text="tea"), "Found for “tea”"),
        (Reason(TEA, (), TEA, "view"), "Because you viewed Tea"),
        (Reason(TEA, (), TEA), "Similar to Tea"),
        (Reason(TEA, ()), "Picked for you"),
    ],
)
def test_a_reason_is_a_sentence(reason: Reason, sentence: str) -> None:
    assert TemplateExplainer().explain([reason]) == [sentence]


def test_a_long_text_is_shortened() -> None:
    (sentence,) = TemplateExplainer().explain([Reason(TEA, (), evidence_text="x" * 10_000)])
    assert len(sentence) < 110
