"""Explanations of real pages: how many pass the check, what is refused and why, and what users would read.

Users read the model's sentence where it passed, else the base explainer's. Those are looked through a second
time by a search that shares no code with the check: for names, numbers and genres that the facts lack.
"""

from __future__ import annotations

import re
import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np
from recserve_llm.client.chat import shared_client
from recserve_llm.client.completion import LlmError
from recserve_llm.explaining.facts import Facts, explanation_request, facts_of
from recserve_llm.explaining.grounding import clean, fault, vocabulary_of
from recserve_llm.parameters import ConnectionParams
from rich.console import Console

from benchmarks.llm_parts.sample import Sample
from recserve import Reason
from recserve.plugin.builtins.wording import TemplateExplainer

NOUNS = ("film", "movie")
CHARACTERS = 200


def measure_sentences(
    sample: Sample, connection: Mapping[str, Any], count: int, console: Console
) -> dict[str, Any]:
    """Ask for an explanation of the first items of pages that an item of the history led to."""
    client = shared_client(ConnectionParams.model_validate(dict(connection)))
    genres = [genre for item in sample.catalogue.items() for genre in item.attributes.get("genres", [])]
    attributes = vocabulary_of(sorted(set(genres)))
    reasons = _reasons(sample, count)
    facts = list(reasons)
    told = TemplateExplainer().explain(list(reasons.values()))
    began = time.perf_counter()
    outcomes: Counter[str] = Counter()
    kept: dict[str, list[tuple[str, Facts]]] = defaultdict(list)
    for number, one in enumerate(facts):
        try:
            # One after the other: the time that a call may take counts from when it is asked for.
            sentence = clean(client.submit(explanation_request(one, NOUNS[0], CHARACTERS)).result().text)
        except LlmError as error:
            outcomes[error.cause] += 1
            continue
        found = fault(sentence, one, characters=CHARACTERS, nouns=NOUNS, attributes=attributes)
        outcomes[found or "passed"] += 1
        kept[found or "passed"].append((sentence, one))
        told[number] = sentence if found is None else told[number]
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
    titles = [str(item.attributes.get("title", "")) for item in sample.catalogue.items()]
    odd = [
        {"sentence": sentence, "strangers": named}
        for sentence, one in zip(told, facts, strict=True)
        if (named := strangers(sentence, one, attributes, titles))
    ]
    refused = [strangers(sentence, one, attributes, titles) for why in shown for sentence, one in kept[why]]
    console.print(
        f"of {len(told)} that users would read, {len(passed)} by the model: {len(odd)} name what the facts "
        f"lack; of {len(refused)} refused ones {sum(map(bool, refused))} do"
    )
    for example in odd[:3]:
        console.print(f"  {example}")
    return {
        "outcomes": dict(outcomes),
        "seconds": seconds,
        "refused": shown,
        "passed": passed,
        "read": told,
        "with_strangers": odd,
        "refused_with_strangers": sum(map(bool, refused)),
    }


def strangers(sentence: str, facts: Facts, attributes: frozenset[str], titles: list[str]) -> list[str]:
    """Names, numbers and attribute values in a sentence that the facts lack.

    Args:
        sentence: What users would read.
        facts: What may be said.
        attributes: Words of the catalogue's attribute values, in lower case.
        titles: Of all items.
    """
    given = " ".join((facts.title, facts.evidence, *facts.lines)).casefold()
    known = set(re.findall(r"\w+", given))
    found = [
        word
        for place, word in enumerate(re.findall(r"\w+", sentence))
        if word.casefold() not in known
        and (any(map(str.isdigit, word)) or (word[0].isupper() and place) or word.casefold() in attributes)
    ]
    named = {title for title in titles if " " in title and _within(title, sentence)}
    return found + sorted(title for title in named if not _within(title, given))


def _within(title: str, text: str) -> bool:
    """Whether a title stands in a text, from word to word."""
    return f" {_spaced(title)} " in f" {_spaced(text)} "


def _spaced(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold()))


def _reasons(sample: Sample, count: int) -> dict[Facts, Reason]:
    """Reasons of the first items of pages that an item of the history led to, by what may be said of them."""
    queries, ranked = sample.queries()
    histories = queries.histories
    pairs: set[tuple[int, int]] = set()
    found: dict[Facts, Reason] = {}
    for place in range(ranked.items.shape[1]):
        for query in range(len(queries)):
            row, evidence = int(ranked.items[query, place]), int(ranked.evidence[query, place])
            if row < 0 or evidence < 0 or (row, evidence) in pairs or len(found) == count:
                continue
            pairs.add((row, evidence))
            span = slice(*histories.offsets[query : query + 2])
            events = histories.events[span][histories.items[span] == evidence]
            done = sample.event_types[int(events[-1])] if len(events) else None
            reason = Reason(sample.catalogue.item(row), (), sample.catalogue.item(evidence), done)
            facts = facts_of(reason, (), NOUNS[0])
            if facts is not None:
                found[facts] = reason
    assert np.all(ranked.items >= -1)
    return found
