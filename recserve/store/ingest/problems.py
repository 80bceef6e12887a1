"""What is wrong with a file, row by row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from recserve.config import nearest
from recserve.data.arrays import BoolArray, Int64Array
from recserve.errors import DataError


@dataclass(frozen=True, slots=True)
class RowProblem:
    """One row that was not taken as it stands.

    Attributes:
        file: Path of the file.
        line: Line of the file, counted from 1 (in Parquet files: the row).
        reason: What is wrong, in a few words.
        severity: ``"error"``: the row was left out; ``"warning"``: worth knowing, nothing is lost.
    """

    file: str
    line: int
    reason: str
    severity: Literal["error", "warning"] = "error"

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.reason}"


class Findings:
    """Problems of one block of rows; the first reason found for a row is the one reported.

    Args:
        file: Path of the file.
        lines: Line number of each row, int64, shape (N,).
    """

    def __init__(self, file: str, lines: Int64Array) -> None:
        self.problems: list[RowProblem] = []
        self.good: BoolArray = np.ones(len(lines), dtype=np.bool_)
        self._file = file
        self._lines = lines

    def reject(self, bad: BoolArray, reason: Callable[[int], str]) -> None:
        """Leave out the marked rows (bool, shape (N,)); ``reason`` is asked for each by position."""
        for row in np.flatnonzero(bad & self.good):
            self.problems.append(RowProblem(self._file, int(self._lines[row]), reason(int(row))))
        self.good &= ~bad


def conclude(file: str, good_rows: int, problems: list[RowProblem], strict: bool) -> None:
    """Decide whether a file was readable at all.

    Raises:
        DataError: Nothing good is in it, or ``strict`` and something bad is.
    """
    errors = sorted((one for one in problems if one.severity == "error"), key=lambda problem: problem.line)
    if strict and errors:
        raise DataError(
            f"{errors[0]} ({len(errors)} bad rows in all); nothing was loaded: mend the file or "
            "import without --strict"
        )
    if good_rows == 0:
        if not errors:
            raise DataError(f"{file} holds no rows")
        raise DataError(f"{file} holds no usable row: {len(errors)} bad ones, the first is {errors[0]}")


def quoted(value: object, limit: int = 60) -> str:
    """A value as it is shown in a message: quoted, on one line, not endless."""
    text = repr(value)
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def columns_hint(name: str, header: list[str]) -> str:
    """For a column that is missing: the nearest name there is, and which there are."""
    shown = [one if len(one) <= 40 else f"{one[:39]}…" for one in header[:12]]
    return nearest(name, shown).replace("(known:", "(it has:")
