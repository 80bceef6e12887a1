"""The reranker itself: prompts for the pages of a batch, side by side, within one deadline."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from recserve import Candidates, Catalogue, FieldsText, Int32Array, Queries, Reranked, count_outcome
from recserve_llm.client.chat import shared_client
from recserve_llm.client.completion import Completion, LlmError
from recserve_llm.client.memory import AnswerMemory
from recserve_llm.parameters import ConnectionParams, LlmRerankParams
from recserve_llm.quoting import is_suspicious, quoted
from recserve_llm.ranking.answer import read_order
from recserve_llm.ranking.prompt import LABELS, ranking_request

NAME = "llm_rerank"

Order = tuple[int, ...]


@dataclass(frozen=True)
class _Page:
    """What is asked about one query.

    Attributes:
        places: Positions of the ranked list that are shown to the model.
        presented: For each pass, the order in which these are shown, as indices of ``places``.
        asked: The orders to be, one a pass, as indices of ``presented``.
    """

    places: Sequence[int]
    presented: Sequence[Order]
    asked: Sequence[Future[Order | None]]


class LlmReranker:
    """Reranker of the best k by a language model (list-wise, as Sun et al. 2023, arXiv:2304.09542).

    The model sees quoted texts under short labels and can do nothing but permute them. An item whose text
    talks to a model (:func:`recserve_llm.quoting.is_suspicious`) is not shown to it: it keeps its place, and
    the others are ordered around it. A query without a history to go by keeps its order. So does one whose
    answer is missing, late or nonsense, and then the result says so.

    Args:
        params: Connection, k, form of the answer, deadline.
        catalogue: Items with their texts.
    """

    def __init__(self, params: LlmRerankParams, catalogue: Catalogue) -> None:
        self._params = params
        self._catalogue = catalogue
        self._text = FieldsText.of(params.fields, catalogue)
        self._shown: dict[int, str | None] = {}

    def __reduce__(self) -> tuple[object, ...]:
        """Travel between processes as what it is made of."""
        return LlmReranker, (self._params, self._catalogue)

    def rerank(self, queries: Queries, ranked: Candidates, n: int) -> Int32Array | Reranked:
        """See :class:`recserve.Reranker`."""
        end = time.monotonic() + self._params.deadline_ms / 1000
        pages = [self._page(queries, ranked, query) for query in range(len(queries))]
        asked = {future for page in pages if page is not None for future in page.asked}
        self._answers().wait(asked, end - time.monotonic())

        real = ranked.items >= 0
        positions = np.where(real, np.arange(real.shape[1]), -1).astype(np.int32)
        causes: Counter[str] = Counter()
        for query, page in enumerate(pages):
            if page is None:
                continue
            try:
                order = _averaged(page)
            except LlmError as error:
                # A budget is kept on purpose: going without the model is then no loss.
                if error.cause != "over_budget":
                    causes[error.cause] += 1
                continue
            places = np.array(page.places)
            positions[query, places] = places[list(order)]
        return Reranked(positions, causes.most_common(1)[0][0]) if causes else positions

    def _page(self, queries: Queries, ranked: Candidates, query: int) -> _Page | None:
        """Ask about one query; None if there is nothing to ask."""
        params = self._params
        history = self._history(queries, query)
        if not history:
            count_outcome(NAME, "no_history")
            return None
        items = ranked.items[query, : params.k].tolist()
        texts = [(place, self._quoted(row)) for place, row in enumerate(items) if row >= 0]
        shown = [(place, text) for place, text in texts if text is not None]
        if len(shown) < len(texts):
            count_outcome(NAME, "suspicious", len(texts) - len(shown))
        if len(shown) < 2:
            return None
        presented = [_presentation(len(shown), number) for number in range(params.passes)]
        asked = [self._ask(history, [shown[index][1] for index in order]) for order in presented]
        return _Page([place for place, _ in shown], presented, asked)

    def _ask(self, history: Sequence[str], candidates: Sequence[str]) -> Future[Order | None]:
        request = ranking_request(history, candidates, self._params)
        answer, count = self._params.answer, len(candidates)

        def check(completion: Completion) -> Order:
            return read_order(completion, answer, count, LABELS)

        return self._answers().ask(request, check)

    def _answers(self) -> AnswerMemory[Order]:
        params = self._params
        return _memory(params.connection(), params.cache_size, params.cache_seconds)

    def _history(self, queries: Queries, query: int) -> list[str]:
        """Quoted texts of what the user liked, newest first; of the anchor where there is one."""
        anchor = int(queries.anchors[query])
        if anchor >= 0:
            rows = [anchor]
        else:
            liked = queries.histories
            span = slice(*liked.offsets[query : query + 2])
            rows = liked.items[span][liked.weights[span] > 0][::-1].tolist()
        known = (row for row in dict.fromkeys(rows) if 0 <= row < len(self._catalogue))
        texts: list[str] = []
        for row in known:
            text = self._quoted(row)
            if text is not None:
                texts.append(text)
            if len(texts) == self._params.history:
                break
        return texts

    def _quoted(self, row: int) -> str | None:
        """The text of an item as the prompt shows it; None if it is empty or not to be shown."""
        if row not in self._shown:
            if len(self._shown) >= 100_000:
                self._shown.clear()
            text = self._text.text(self._catalogue.item(row)) if row < len(self._catalogue) else ""
            hidden = not text or is_suspicious(text)
            self._shown[row] = None if hidden else quoted(text, self._params.characters)
        return self._shown[row]


@lru_cache(maxsize=16)
def _memory(connection: ConnectionParams, size: int, seconds: float) -> AnswerMemory[Order]:
    """Answers of this process; components are made anew when the catalogue changes, answers are kept."""
    return AnswerMemory(NAME, shared_client(connection), size, seconds)


def _presentation(count: int, number: int) -> Order:
    """Order in which candidates are shown in a pass: as ranked, reversed, with the halves swapped."""
    as_ranked = tuple(range(count))
    half = count // 2
    swapped = as_ranked[half:] + as_ranked[:half]
    return (as_ranked, as_ranked[::-1], swapped, swapped[::-1])[number]


def _averaged(page: _Page) -> Order:
    """Candidates by their mean rank over the passes, ties as ranked, as indices of ``page.places``.

    Raises:
        LlmError: An answer is late, was refused, or did not come.
    """
    ranks = np.zeros(len(page.places))
    for presented, asked in zip(page.presented, page.asked, strict=True):
        if not asked.done():
            count_outcome(NAME, "late")
            raise LlmError("the answer is late", "late")
        order = asked.result()
        if order is None:
            raise LlmError("the answer was refused")
        ranks[[presented[index] for index in order]] += np.arange(len(order))
    return tuple(np.argsort(ranks, kind="stable").tolist())
