"""Conformance check of a data source that reads files: whatever is wrong with one is said in a clear line."""

from __future__ import annotations

import csv
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import pyarrow as pa

from recserve.data.dataset import Tables
from recserve.errors import DataError
from recserve.plugin.sources.delimited import DelimitedFile

_ROWS = 20


def check_files(
    read: Callable[[Path], Tables], write: Callable[[Path], None], files: Sequence[DelimitedFile]
) -> int:
    """Damage each file of a format in every way; reading must name the file, the column and the remedy.

    A file is missing, empty, without rows, not UTF-8; each needed column is missing in turn and has an empty
    cell; each column of numbers has a word in it.

    Args:
        read: Reads a folder.
        write: Writes good files into an existing folder.
        files: The format of each of them; names may be patterns, such as ``*_titles.csv``.

    Returns:
        How many damages were tried.

    Raises:
        AssertionError: Good files are not read, or a damage is taken for good or not said clearly.
    """
    tried = 0
    with tempfile.TemporaryDirectory(prefix="recserve-files-") as folder:
        good = Path(folder, "good")
        good.mkdir()
        write(good)
        for file in files:
            (path,) = good.glob(file.name)
            _shorten(file, path)
        tables = read(good)
        assert len(tables.items), "good files give no items"
        assert len(tables.events), "good files give no events"
        for file in files:
            (path,) = good.glob(file.name)
            for what, content in _damages(file, path):
                bad = Path(folder, "bad")
                shutil.copytree(good, bad)
                if content is None:
                    (bad / path.name).unlink()
                else:
                    (bad / path.name).write_bytes(content)
                _check_refused(read, bad, file.name.replace("*", ""), what)
                shutil.rmtree(bad)
                tried += 1
    return tried


def _shorten(file: DelimitedFile, path: Path) -> None:
    """Keep the first rows only: the file is read once a damage."""
    with path.open(encoding="utf-8", newline="") as opened:
        rows = list(islice(csv.reader(opened, file.dialect()), _ROWS))
    with path.open("w", encoding="utf-8", newline="") as written:
        csv.writer(written, file.dialect()).writerows(rows)


def _check_refused(read: Callable[[Path], Tables], folder: Path, name: str, what: str) -> None:
    try:
        read(folder)
    except DataError as error:
        message = error.message
    else:
        raise AssertionError(f"{name} is read although {what}")
    assert name in message, f"{name}: {what}, but the message does not name the file: {message}"
    assert "\n" not in message, f"{name}: {what}, and the message has several lines: {message}"
    _, _, column = what.partition("column ")
    assert not column or repr(column) in message, (
        f"{name}: {what}, but the message does not name the column: {message}"
    )


def _damages(file: DelimitedFile, path: Path) -> Iterator[tuple[str, bytes | None]]:
    """What is wrong with the file, and its content then; None where there is no file."""
    with path.open(encoding="utf-8", newline="") as opened:
        rows = list(csv.reader(opened, file.dialect()))
    header, body = (list(file.header), rows) if file.header else (rows[0], rows[1:])
    shown = [] if file.header else [header]

    def text(lines: Sequence[Sequence[str]]) -> bytes:
        return "".join(file.delimiter.join(map(_quoted, line)) + "\n" for line in lines).encode()

    def _quoted(cell: str) -> str:
        return '"' + cell.replace('"', '""') + '"' if file.quoted else cell

    yield "it does not exist", None
    yield "it is empty", b""
    yield "it has no rows", text(shown)
    yield "it is not UTF-8", text([*shown, body[0]]) + b"\xff\xfe\n"
    for name, kind in file.columns.items():
        if name not in header:
            continue
        place = header.index(name)
        if shown and name not in file.optional:
            without = [[cell for at, cell in enumerate(row) if at != place] for row in [header, *body]]
            yield f"it lacks the column {name}", text(without)
        if name not in file.optional:
            yield f"there is an empty cell in the column {name}", text([*shown, _with(body[0], place, "")])
        if kind != pa.string():
            yield f"there is a word in the column {name}", text([*shown, _with(body[0], place, "many")])


def _with(row: Sequence[str], place: int, cell: str) -> list[str]:
    return [cell if at == place else known for at, known in enumerate(row)]
