"""Orders out of what a model answered: labels that were asked for, each once, and nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence

from recserve_llm.client.completion import Completion
from recserve_llm.client.memory import RefusedError

_LONGEST = 2_000
_LISTED = re.compile(r"^[\s\"'\[({]*[A-Z]\b(?:[\s\"'\])}.,;:>\-]+[A-Z]\b)*[\s\"'\])}.,;:>\-]*$")


def read_order(completion: Completion, answer: str, count: int, labels: str) -> tuple[int, ...]:
    """The places of candidates, best first.

    Labels that were not asked for, and labels that come a second time, are left out. Candidates that are not
    named follow in the order they had.

    Args:
        completion: What came.
        answer: How the model was to answer.
        count: Candidates asked about.
        labels: Their labels, at least ``count``.

    Returns:
        A permutation of ``range(count)``.

    Raises:
        RefusedError: No label is in it, or it is not of the form that was asked for.
    """
    asked = labels[:count]
    named: Iterable[object]
    if answer == "logprobs":
        named = _by_probability(completion.first_tokens)
    elif answer == "text":
        named = _listed(completion.text)
    else:
        named = _of_json(completion.text)
    places = [
        asked.index(label) for label in named if isinstance(label, str) and len(label) == 1 and label in asked
    ]
    first = list(dict.fromkeys(places))
    if not first:
        raise RefusedError("nonsense")
    return tuple(first + [place for place in range(count) if place not in first])


def _by_probability(tokens: Sequence[tuple[str, float]]) -> list[str]:
    ordered = sorted(tokens, key=lambda token: -token[1])
    return [token.strip(" Ġ▁") for token, _ in ordered]


def _of_json(text: str) -> list[object]:
    try:
        read = json.loads(text[:_LONGEST])
    except (ValueError, RecursionError):
        raise RefusedError("nonsense") from None
    order = read.get("order") if isinstance(read, dict) else None
    if not isinstance(order, list) or len(order) > 100:
        raise RefusedError("nonsense")
    return order


def _listed(text: str) -> list[str]:
    """Labels of the first line that holds labels and punctuation alone."""
    for line in text[:_LONGEST].splitlines():
        if _LISTED.fullmatch(line.strip()[:200]):
            return re.findall(r"\b[A-Z]\b", line)
    raise RefusedError("nonsense")
