"""The explainer itself: the model's sentence where there is a checked one, else the base explainer's."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future
from functools import lru_cache
from typing import Any

from recserve import Catalogue, Reason, count_outcome
from recserve_llm.base import build_base
from recserve_llm.client.chat import shared_client
from recserve_llm.client.completion import Completion
from recserve_llm.client.memory import AnswerMemory, RefusedError
from recserve_llm.explaining.facts import Facts, explanation_request, facts_of
from recserve_llm.explaining.grounding import clean, fault, vocabulary_of
from recserve_llm.parameters import ConnectionParams, LlmExplainerParams

NAME = "llm"

_MOST_DISTINCT = 500
_LOOKED_AT = 2_000


class LlmExplainer:
    """Explainer with sentences of a language model, asked off the path of requests.

    A sentence that is known is given. One that is not is asked for in the background while the base
    explainer's is given, unless ``wait_ms`` allows for waiting. A sentence with anything that is not in the
    facts is refused (:mod:`recserve_llm.explaining.grounding`), and then it is the base explainer's for good.
    In languages other than English the base explainer speaks.

    Args:
        params: Connection, base explainer, waiting.
        catalogue: Its attribute values tell made-up properties from other words.
    """

    def __init__(self, params: LlmExplainerParams, catalogue: Catalogue) -> None:
        self._params = params
        self._catalogue = catalogue
        self._base: Any = build_base("explainer", params.base, params.base_params, catalogue)
        self._attributes = _attribute_words(catalogue)

    def __reduce__(self) -> tuple[object, ...]:
        """Travel between processes as what it is made of."""
        return LlmExplainer, (self._params, self._catalogue)

    def explain(self, reasons: Sequence[Reason]) -> list[str]:
        """See :class:`recserve.Explainer`."""
        end = time.monotonic() + self._params.wait_ms / 1000
        sentences: list[str] = self._base.explain(reasons)
        asked = [self._ask(reason) for reason in reasons]
        if self._params.wait_ms:
            self._answers().wait([one for one in asked if one is not None], end - time.monotonic())
        return [_told(future) or sentence for future, sentence in zip(asked, sentences, strict=True)]

    def _ask(self, reason: Reason) -> Future[str | None] | None:
        params = self._params
        if reason.language.partition("-")[0] != "en":
            return None
        facts = facts_of(reason, params.fields, params.nouns[0])
        if facts is None:
            count_outcome(NAME, "not_asked")
            return None
        request = explanation_request(facts, params.nouns[0], params.characters)
        return self._answers().ask(request, lambda completion: self.checked(completion, facts))

    def _answers(self) -> AnswerMemory[str]:
        params = self._params
        return _memory(params.connection(), params.cache_size, params.cache_seconds)

    def checked(self, completion: Completion, facts: Facts) -> str:
        """The sentence of a completion.

        Raises:
            RefusedError: It says something that is not in the facts, or is no sentence.
        """
        if completion.cut:
            raise RefusedError("form")
        sentence = clean(completion.text)
        found = fault(
            sentence,
            facts,
            characters=self._params.characters,
            nouns=self._params.nouns,
            attributes=self._attributes,
        )
        if found is not None:
            raise RefusedError(found)
        return sentence


@lru_cache(maxsize=16)
def _memory(connection: ConnectionParams, size: int, seconds: float) -> AnswerMemory[str]:
    """Sentences of this process; components are made anew when the catalogue changes, sentences are kept."""
    return AnswerMemory(NAME, shared_client(connection), size, seconds)


def _told(future: Future[str | None] | None) -> str | None:
    """The sentence if it is there."""
    if future is None or not future.done() or future.exception() is not None:
        return None
    return future.result()


def _attribute_words(catalogue: Catalogue) -> frozenset[str]:
    """Words of attributes with few distinct values (genres, brands), from the first items of a catalogue."""
    values: dict[str, set[str]] = {}
    for row in range(min(len(catalogue), _LOOKED_AT)):
        for name, value in catalogue.item(row).attributes.items():
            texts = [value] if isinstance(value, str) else value if isinstance(value, (list, tuple)) else ()
            values.setdefault(name, set()).update(text for text in texts if isinstance(text, str))
    few = [texts for texts in values.values() if len(texts) <= _MOST_DISTINCT]
    return vocabulary_of([text for texts in few for text in texts])
