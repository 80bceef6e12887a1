"""The table of the comparison: a column for each way of asking a system, a row for each figure."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.common import quantile
from benchmarks.compared.asking import Effects
from benchmarks.serving_load import Summary
from recserve.evaluation import Interval

REPEATED, FRESH = "repeated", "fresh"
NEVER = "never until retrained"

Loads = Mapping[tuple[str, int], Sequence[Summary]]
"""Runs by kind and number of connections."""


@dataclass(frozen=True)
class Quality:
    """How good the lists were.

    Attributes:
        ndcg: nDCG@10.
        recall: Recall@20.
        ahead: nDCG@10 of the first column minus this one's, over the same users; None for the first.
        questions: How many were asked.
        refused: How many of them the system could not answer.
        short: How many lists were shorter than twenty items without what the user had.
    """

    ndcg: Interval
    recall: Interval
    ahead: Interval | None
    questions: int
    refused: int
    short: int


@dataclass(frozen=True)
class Column:
    """What was measured of one way of asking a system.

    Attributes:
        title: Its name.
        version: Of the system.
        quality: Of its lists.
        effects: Of an event.
        loads: Speed, by kind and connections; what cannot be asked for is missing.
        memory_mb: Of all processes of the server, after the load.
        train_seconds: By the clock.
        train_cpu: CPU time of it, seconds.
        renewal_seconds: From the end of a training until the running server serves its model; None where an
            event changes answers without.
    """

    title: str
    version: str
    quality: Quality
    effects: Effects
    loads: Loads
    memory_mb: float
    train_seconds: float
    train_cpu: float
    renewal_seconds: float | None = None

    def speed(self, kind: str, connections: int) -> str:
        """Answers a second, and latencies; medians of the runs."""
        runs = self.loads.get((kind, connections), ())
        if not runs:
            return NEVER if kind == FRESH else "-"
        rate, p50, p99 = (
            statistics.median(getattr(run, name) for run in runs) for name in ("rate", "p50", "p99")
        )
        bad = sum(run.failed + run.degraded for run in runs)
        said = f"{rate:,.0f}/s, {_ms(p50)}, {_ms(p99)} ms"
        return f"{said}, {bad} bad" if bad else said

    def cpu(self, kind: str, connections: int) -> str:
        """CPU milliseconds of the server for an answer."""
        runs = self.loads.get((kind, connections), ())
        return f"{statistics.median(run.cpu['server'] for run in runs):.2f}" if runs else "-"

    def freshness(self) -> str:
        """Whether an event changes the next answer, and after how long."""
        found = self.effects
        if not found.possible:
            after = f"{self.train_seconds:,.0f} s of training"
            if self.renewal_seconds is not None:
                after += f", then {self.renewal_seconds:.1f} s until it is served"
            return f"{NEVER}: {after}"
        return f"{found.changed} of {found.tried}, {_ms(quantile(found.milliseconds, 0.5))} ms"

    def strangers(self) -> str:
        """Who is answered of whom nothing was learnt."""
        if self.effects.stranger:
            return "yes"
        return "after a first event" if self.effects.newcomer else "no"

    def as_json(self) -> dict[str, Any]:
        """Everything that was measured."""
        quality, effects = self.quality, self.effects
        ahead = quality.ahead
        return {
            "title": self.title,
            "version": self.version,
            "ndcg@10": _bounds(quality.ndcg),
            "recall@20": _bounds(quality.recall),
            "ahead": None if ahead is None else _bounds(ahead),
            "questions": quality.questions,
            "refused": quality.refused,
            "short": quality.short,
            "events": {
                "possible": effects.possible,
                "tried": effects.tried,
                "changed": effects.changed,
                "ms": effects.milliseconds,
            },
            "stranger": effects.stranger,
            "newcomer": effects.newcomer,
            "loads": [
                {"kind": kind, "connections": connections, "runs": [vars(run) for run in runs]}
                for (kind, connections), runs in self.loads.items()
            ],
            "memory_mb": self.memory_mb,
            "train_seconds": self.train_seconds,
            "train_cpu": self.train_cpu,
            "renewal_seconds": self.renewal_seconds,
        }


def rows(columns: Sequence[Column]) -> list[tuple[str, ...]]:
    """Rows of the table; the first cell says what the row is.

    Args:
        columns: The first is what others are compared with.
    """
    first = columns[0].title
    found = [("version", *(column.version for column in columns))]
    for n in sorted({n for column in columns for _, n in column.loads}):
        where = f"{n} connection" if n == 1 else f"{n} connections"
        for kind in (REPEATED, FRESH):
            name = f"{kind} answers, {where}: rate, p50, p99"
            found.append((name, *(column.speed(kind, n) for column in columns)))
        name = f"CPU ms of the server for a fresh answer, {where}"
        found.append((name, *(column.cpu(FRESH, n) for column in columns)))
    found += [
        ("next answer after an event is another", *(column.freshness() for column in columns)),
        ("somebody unknown is answered", *(column.strangers() for column in columns)),
        ("nDCG@10 (95%)", *(_interval(column.quality.ndcg) for column in columns)),
        (f"{first} minus it (95%)", *(_ahead(column.quality.ahead) for column in columns)),
        ("Recall@20 (95%)", *(_interval(column.quality.recall) for column in columns)),
        (
            "questions it could not answer",
            *(f"{column.quality.refused:,} of {column.quality.questions:,}" for column in columns),
        ),
        ("lists shorter than 20 items", *(f"{column.quality.short:,}" for column in columns)),
        ("memory of the server, MB", *(f"{column.memory_mb:,.0f}" for column in columns)),
        (
            "training, s (CPU s)",
            *(f"{column.train_seconds:,.0f} ({column.train_cpu:,.0f})" for column in columns),
        ),
    ]
    return found


def markdown(columns: Sequence[Column]) -> str:
    """The table as Markdown."""
    head = ("", *(column.title for column in columns))
    lines = [head, ("---",) * len(head), *rows(columns)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _ahead(interval: Interval | None) -> str:
    if interval is None:
        return ""
    verdict = "significant" if interval.excludes_zero else "not significant"
    return f"{interval.mean:+.4f} [{interval.low:+.4f}, {interval.high:+.4f}], {verdict}"


def _interval(interval: Interval) -> str:
    return f"{interval.mean:.4f} [{interval.low:.4f}, {interval.high:.4f}]"


def _bounds(interval: Interval) -> dict[str, float]:
    return {"mean": interval.mean, "low": interval.low, "high": interval.high}


def _ms(milliseconds: float) -> str:
    return f"{milliseconds:.0f}" if milliseconds >= 10 else f"{milliseconds:.1f}"
