"""Outcomes that components count of their own work."""

from __future__ import annotations

from recserve import count_outcome
from recserve.telemetry.instruments import COMPONENT_OUTCOMES
from recserve.telemetry.metrics import Metrics, render
from recserve.telemetry.outcomes import MOST_OUTCOMES, PROCESS_OUTCOMES, OutcomeCounts


def test_outcomes_are_counted_by_component_and_shown() -> None:
    counts = OutcomeCounts()
    counts.count("llm", "answered")
    counts.count("llm", "answered", 2)
    counts.count("llm", "late")
    metrics = Metrics()
    metrics.watch(COMPONENT_OUTCOMES, counts.read)
    text = render([metrics.snapshot()]).decode()
    assert 'recserve_component_outcomes_total{component="llm",' in text
    assert [line.split()[-1] for line in text.splitlines() if 'outcome="answered"' in line] == ["3.0"]


def test_names_are_bounded() -> None:
    counts = OutcomeCounts()
    for number in range(MOST_OUTCOMES + 50):
        counts.count("chatty", f"outcome {number}")
    found = counts.read()
    assert len(found) == MOST_OUTCOMES + 1
    assert found["chatty", "other"] == 50


def test_the_public_name_counts_in_this_process() -> None:
    before = PROCESS_OUTCOMES.read().get(("mine", "done"), 0)
    count_outcome("mine", "done")
    assert PROCESS_OUTCOMES.read()["mine", "done"] == before + 1
