"""What became of the rows of a file: how many were taken, which were not, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from recserve.config import nearest
from recserve.data.arrays import BoolArray, Int64Array
from recserve.errors import DataError

Severity = Literal["error", "blank", "replaced", "note"]
"""``error``: a bad row, left out; ``blank``: a row with nothing in it; ``replaced``: a later row of the same
id took its place; ``note``: something in a row that was taken is worth knowing."""

KEPT = 1000
"""Rows of one file that are kept as examples of one reason."""


@dataclass(frozen=True, slots=True)
class RowProblem:
    """One row that was not taken as it stands.

    Attributes:
        file: Path of the file.
        line: Line of the file, counted from 1 (in Parquet files: the row).
        reason: What is wrong, in a few words.
        severity: What became of the row.
        kind: What it has in common with others, without the value at fault; empty if that is the reason.
    """

    file: str
    line: int
    reason: str
    severity: Severity = "error"
    kind: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.reason}"


@dataclass
class FileReport:
    """Count of the rows of one file: ``rows`` is the sum of ``taken`` and of all that were not taken.

    Attributes:
        file: Path of the file.
        what: What its rows are, such as ``events``.
        rows: Rows of the file; lines with nothing at all are no rows.
        taken: Rows that can be stored.
        counts: Number of rows by (severity, kind); notes are about rows that were taken.
        ignored: Columns that nobody reads.
    """

    file: str
    what: str
    rows: int = 0
    taken: int = 0
    counts: Counter[tuple[Severity, str]] = field(default_factory=Counter)
    ignored: list[str] = field(default_factory=list)
    _examples: dict[tuple[Severity, str], list[RowProblem]] = field(default_factory=dict)

    def add(self, problem: RowProblem, count: int = 1) -> None:
        """Count rows of which ``problem`` is an example."""
        key = (problem.severity, problem.kind or problem.reason)
        self.counts[key] += count
        examples = self._examples.setdefault(key, [])
        if len(examples) < KEPT:
            examples.append(problem)

    def count_row(self, problem: RowProblem) -> None:
        """Count one more row of the file, which could not be split into cells, or holds nothing."""
        self.rows += 1
        self.add(problem)

    def replace(self, key: str, row_id: str, line: int, later: int) -> None:
        """Count a taken row out again, whose id a later row has too.

        Args:
            key: Column of the ids.
            row_id: The id.
            line: Line of the row.
            later: Line of the one that counts.
        """
        reason = f"{key} {quoted(row_id)} occurs again in line {later}, which replaces this one"
        self.add(RowProblem(self.file, line, reason, "replaced", f"{key} occurs again"))
        self.taken -= 1

    def example(self, severity: Severity, kind: str) -> RowProblem:
        """The first row of the file that was counted so."""
        return min(self._examples[severity, kind], key=lambda problem: problem.line)

    def count(self, severity: Severity) -> int:
        """Rows of a severity."""
        return sum(count for (each, _), count in self.counts.items() if each == severity)

    def listed(self, *severities: Severity) -> list[RowProblem]:
        """The rows kept as examples, in the order of the file."""
        chosen = (rows for (severity, _), rows in self._examples.items() if severity in severities)
        return sorted((problem for rows in chosen for problem in rows), key=lambda problem: problem.line)

    @property
    def problems(self) -> list[RowProblem]:
        """Bad rows, in the order of the file; at most :data:`KEPT` of each kind."""
        return self.listed("error")

    @property
    def bad_share(self) -> float:
        """Share of bad rows among those that hold anything."""
        rows = self.rows - self.count("blank")
        return self.count("error") / rows if rows else 0.0


class Findings:
    """What is found in one block of rows; the first reason found for a row is the one reported.

    Args:
        report: Where it is counted.
        lines: Line number of each row, int64, shape (N,).
    """

    def __init__(self, report: FileReport, lines: Int64Array) -> None:
        self.good: BoolArray = np.ones(len(lines), dtype=np.bool_)
        self.file = report.file
        self._report = report
        self._lines = lines
        self._notes: list[tuple[BoolArray, str, Callable[[int], str]]] = []
        report.rows += len(lines)

    def reject(self, bad: BoolArray, kind: str, reason: Callable[[int], str] | None = None) -> None:
        """Leave out the marked rows (bool, shape (N,)); ``reason`` is asked for examples by position."""
        self._count(bad & self.good, "error", kind, reason)
        self.good &= ~bad

    def note(self, marked: BoolArray, kind: str, reason: Callable[[int], str] | None = None) -> None:
        """Say something of the marked rows, unless they are left out for another reason."""
        self._notes.append((marked, kind, reason or (lambda row: kind)))

    def reject_row(self, row: int, kind: str, reason: str) -> None:
        """Leave out one row, by position."""
        self.good[row] = False
        self._report.add(RowProblem(self.file, int(self._lines[row]), reason, "error", kind))

    def note_row(self, row: int, kind: str, reason: str) -> None:
        """Say something of one row that is taken, by position."""
        self._report.add(RowProblem(self.file, int(self._lines[row]), reason, "note", kind))

    def finish(self) -> None:
        """Count the rows that are taken, and what is to be said of them."""
        for marked, kind, reason in self._notes:
            self._count(marked & self.good, "note", kind, reason)
        self._report.taken += int(self.good.sum())

    def _count(
        self, marked: BoolArray, severity: Severity, kind: str, reason: Callable[[int], str] | None
    ) -> None:
        places = np.flatnonzero(marked)
        for number, row in enumerate(places[:KEPT]):
            text = kind if reason is None else reason(int(row))
            problem = RowProblem(self.file, int(self._lines[row]), text, severity, kind)
            self._report.add(problem, len(places) - KEPT + 1 if number == KEPT - 1 else 1)


class UnusableFileError(DataError):
    """A file of which every row is bad.

    Args:
        report: What is wrong with the rows.
    """

    def __init__(self, report: FileReport) -> None:
        count, first = report.count("error"), report.problems[0]
        super().__init__(f"{report.file} holds no usable row: {count:,} bad ones, the first is {first}")
        self.report = report


def conclude(report: FileReport, strict: bool) -> None:
    """Decide whether a file was readable at all.

    Raises:
        DataError: Nothing good is in it, or ``strict`` and something bad is.
    """
    count = report.count("error")
    if strict and count:
        raise DataError(
            f"{report.problems[0]} ({count} bad rows in all); nothing was loaded: mend the file or "
            "import without --strict"
        )
    if report.taken == 0:
        raise UnusableFileError(report) if count else DataError(f"{report.file} holds no rows")


def quoted(value: object, limit: int = 60) -> str:
    """A value as it is shown in a message: quoted, on one line, not endless."""
    text = repr(value)
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def columns_hint(name: str, header: list[str]) -> str:
    """For a column that is missing: the nearest name there is, and which there are."""
    shown = [name if len(name) <= 40 else f"{name[:39]}…" for name in header[:12]]
    return nearest(name, shown).replace("(known:", "(it has:")
