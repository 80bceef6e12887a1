"""Explanations of real pages: how many pass the check, why others are refused, and what was refused."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

import numpy as np
from recserve_llm.client.chat import shared_client
from recserve_llm.client.completion import Completion, LlmError
from recserve_llm.explaining.facts import Facts, explanation_request, facts_of
from recserve_llm.explaining.grounding import clean, fault, vocabulary_of
from recserve_llm.parameters import ConnectionParams
from rich.console import Console

from benchmarks.llm_parts.sample import Sample
from recserve import Reason

NOUNS = ("film", "movie")
CHARACTERS = 200


def measure_sentences(
    sample: Sample, connection: Mapping[str, Any], count: int, console: Console
) -> dict[str, Any]:
    """Ask for an explanation of the first items of pages that an item of the history led to."""
    client = shared_client(ConnectionParams.model_validate(dict(connection)))
    genres = [genre for item in sample.catalogue.items() for genre in item.attributes.get("genres", [])]
    attributes = vocabulary_of(sorted(set(genres)))
    facts = _facts(sample, count)
    began = time.perf_counter()
    asked: list[tuple[Facts, Future[Completion]]] = [
        (one, client.submit(explanation_request(one, NOUNS[0], CHARACTERS))) for one in facts
    ]
    outcomes: Counter[str] = Counter()
    kept: dict[str, list[tuple[str, Facts]]] = defaultdict(list)
    for one, future in asked:
        try:
            sentence = clean(future.result().text)
        except LlmError as error:
            outcomes[error.cause] += 1
            continue
        found = fault(sentence, one, characters=CHARACTERS, nouns=NOUNS, attributes=attributes)
        outcomes[found or "passed"] += 1
        kept[found or "passed"].append((sentence, one))
    seconds = (time.perf_counter() - began) / max(len(facts), 1)
    console.print(f"{len(facts)} explanations, {seconds:.2f} s each: {dict(outcomes.most_common())}")
    shown: dict[str, list[str]] = {}
    for reason in ("title", "number", "attribute", "word", "deed", "alike", "form", "empty"):
        for sentence, one in kept[reason][:2]:
            console.print(f"refused ({reason}): {sentence!r}\n  facts: {' '.join(one.lines)}")
            shown.setdefault(reason, []).append(sentence)
    for sentence, _ in kept["passed"][:5]:
        console.print(f"passed: {sentence!r}")
    passed = [sentence for sentence, _ in kept["passed"]]
    return {"outcomes": dict(outcomes), "seconds": seconds, "refused": shown, "passed": passed}


def _facts(sample: Sample, count: int) -> list[Facts]:
    queries, ranked = sample.queries()
    histories = queries.histories
    found: dict[tuple[int, int], Facts] = {}
    for place in range(ranked.items.shape[1]):
        for query in range(len(queries)):
            row, evidence = int(ranked.items[query, place]), int(ranked.evidence[query, place])
            if row < 0 or evidence < 0 or (row, evidence) in found or len(found) == count:
                continue
            span = slice(*histories.offsets[query : query + 2])
            events = histories.events[span][histories.items[span] == evidence]
            done = sample.event_types[int(events[-1])] if len(events) else None
            reason = Reason(sample.catalogue.item(row), (), sample.catalogue.item(evidence), done)
            facts = facts_of(reason, (), NOUNS[0])
            if facts is not None:
                found[row, evidence] = facts
    assert np.all(ranked.items >= -1)
    return list(found.values())
