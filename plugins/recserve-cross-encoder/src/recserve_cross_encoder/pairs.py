"""Pairs of texts as token ids: what somebody liked, newest first, and a candidate.

Items are tokenised once, in training, and kept in the bundle: a server needs neither the tokenizer nor the
items' texts, and a pair costs it a concatenation.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from recserve_bert.texts import clean, padded

from recserve import BundleError, Int32Array, Int64Array, Ragged, read_array

_WINDOW = 16_384
_SEPARATOR = ";"
_OFFSETS, _TOKENS, _TEMPLATE = "item_offsets.npy", "item_tokens.npy", "pairs.json"


@dataclass(frozen=True, slots=True)
class PairTemplate:
    """How a model reads two texts in one sequence.

    Attributes:
        start: Token ids before the first text.
        middle: Between the two.
        end: After the second.
        separator: Between two liked items.
        padding: Id of the padding token.
        typed: Whether the model is told which of the two texts a token is of.
        limit: Tokens that the model reads.
    """

    start: tuple[int, ...]
    middle: tuple[int, ...]
    end: tuple[int, ...]
    separator: tuple[int, ...]
    padding: int
    typed: bool
    limit: int

    @classmethod
    def of(cls, tokenizer: Any, limit: int) -> PairTemplate:
        """The template of a fast tokenizer of transformers, read off an example."""
        encoded = tokenizer("a", "a")
        ids, texts = list(encoded["input_ids"]), encoded.sequence_ids()
        first, second = texts.index(0), texts.index(1)
        first_end = len(texts) - next(place for place, text in enumerate(texts[::-1]) if text == 0)
        second_end = len(texts) - next(place for place, text in enumerate(texts[::-1]) if text == 1)
        padding = tokenizer.pad_token_id
        return cls(
            start=tuple(ids[:first]),
            middle=tuple(ids[first_end:second]),
            end=tuple(ids[second_end:]),
            separator=tuple(tokenizer(_SEPARATOR, add_special_tokens=False)["input_ids"]),
            padding=0 if padding is None else int(padding),
            typed="token_type_ids" in tokenizer.model_input_names,
            limit=limit,
        )


@dataclass(frozen=True, slots=True)
class Pair:
    """Token ids of two texts in one sequence.

    Attributes:
        tokens: All of them.
        first: How many of them come before the second text.
    """

    tokens: list[int]
    first: int


@dataclass(frozen=True, slots=True)
class PairTexts:
    """Token ids of a catalogue's items, and how pairs are made of them.

    Attributes:
        items: A list of n_items; an item without a text has none.
        template: What is put around them.
        history_tokens: Tokens of a liked item that are read.
        item_tokens: Tokens of a candidate that are read.
    """

    items: Ragged
    template: PairTemplate
    history_tokens: int
    item_tokens: int

    @classmethod
    def tokenised(
        cls, texts: Sequence[str], tokenizer: Any, limit: int, history_tokens: int, item_tokens: int
    ) -> PairTexts:
        """Tokenise the texts of a catalogue.

        Args:
            texts: In row order; may be empty strings.
            tokenizer: A fast one of transformers.
            limit: Tokens that the model reads.
            history_tokens: Tokens of a liked item that are read.
            item_tokens: Tokens of a candidate that are read.
        """
        longest = max(history_tokens, item_tokens)
        lists: list[Sequence[int] | Int32Array] = []
        for start in range(0, len(texts), _WINDOW):
            window = [clean(text, longest) for text in texts[start : start + _WINDOW]]
            lists += tokenizer(
                window,
                add_special_tokens=False,
                truncation=True,
                max_length=longest,
                return_attention_mask=False,
                return_token_type_ids=False,
            )["input_ids"]
        template = PairTemplate.of(tokenizer, limit)
        return cls(Ragged.of(lists), template, history_tokens, item_tokens)

    def pairs(self, history: Int32Array, candidates: Int32Array) -> list[Pair | None]:
        """A pair for each candidate; None where one of the two texts says nothing.

        Args:
            history: int32, shape (L,); liked rows, newest first; pads and rows beyond the catalogue are
                skipped. What does not fit the model any more is left out, the oldest first.
            candidates: int32, shape (K,); rows; pads and rows beyond the catalogue give None.
        """
        template, known = self.template, len(self.items)
        room = template.limit - self.item_tokens - len(template.middle) - len(template.end)
        head = list(template.start)
        for row in history[(history >= 0) & (history < known)]:
            tokens = self.items[row][: self.history_tokens].tolist()
            further = [*template.separator, *tokens] if len(head) > len(template.start) else tokens
            if not tokens or len(head) + len(further) > room:
                continue
            head += further
        if len(head) == len(template.start):
            return [None] * len(candidates)
        head += template.middle
        found: list[Pair | None] = []
        for row in candidates:
            tail = self.items[row][: self.item_tokens].tolist() if 0 <= row < known else []
            found.append(Pair([*head, *tail, *template.end], len(head)) if tail else None)
        return found

    def feed(self, pairs: Sequence[Pair]) -> dict[str, Int64Array]:
        """Inputs of a model by name, each int64 of shape (pairs, tokens)."""
        ids, mask = padded([pair.tokens for pair in pairs], self.template.padding)
        inputs = {"input_ids": ids, "attention_mask": mask}
        if self.template.typed:
            firsts = np.array([pair.first for pair in pairs])
            inputs["token_type_ids"] = ((np.arange(ids.shape[1]) >= firsts[:, None]) & (mask > 0)).astype(
                np.int64
            )
        return inputs

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of a model's inputs, in the order of :meth:`feed`."""
        return ("input_ids", "attention_mask", *(("token_type_ids",) if self.template.typed else ()))

    def save(self, directory: Path) -> None:
        """Write what a server needs to make pairs."""
        np.save(directory / _OFFSETS, self.items.offsets, allow_pickle=False)
        np.save(directory / _TOKENS, self.items.values, allow_pickle=False)
        known = {
            "history_tokens": self.history_tokens,
            "item_tokens": self.item_tokens,
            "template": asdict(self.template),
        }
        (directory / _TEMPLATE).write_text(
            json.dumps(known, sort_keys=True, indent=1) + "\n", encoding="utf-8"
        )

    @classmethod
    def load(cls, directory: Path, n_items: int) -> PairTexts:
        """Read what :meth:`save` wrote.

        Raises:
            BundleError: A file is missing, damaged or made for another catalogue.
        """
        offsets = read_array(directory / _OFFSETS, np.int64, (n_items + 1,))
        values = read_array(directory / _TOKENS, np.int32, (None,))
        if offsets[0] != 0 or (np.diff(offsets) < 0).any() or offsets[-1] != len(values):
            raise BundleError(f"{directory / _OFFSETS} does not fit {_TOKENS}")
        try:
            known: Mapping[str, Any] = json.loads((directory / _TEMPLATE).read_text(encoding="utf-8"))
            template: dict[str, Any] = {
                name: tuple(value) if isinstance(value, list) else value
                for name, value in known["template"].items()
            }
            return cls(
                Ragged(offsets, values),
                PairTemplate(**template),
                int(known["history_tokens"]),
                int(known["item_tokens"]),
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise BundleError(
                f"{directory / _TEMPLATE} cannot be read: {' '.join(str(error).split())}"
            ) from None
