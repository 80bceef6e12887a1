"""Files of nothing but vectors of items in one named space."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from recserve.data.arrays import FloatArray
from recserve.data.columns.named_vectors import NamedVectors
from recserve.errors import DataError
from recserve.store import ItemPatch, Store
from recserve.store.ingest.columns import id_column
from recserve.store.ingest.columns.cells import CellError
from recserve.store.ingest.columns.vectors import vector_cell
from recserve.store.ingest.formats import ItemLayout, Reading, recognise_items
from recserve.store.ingest.items import ItemBlock, item_blocks
from recserve.store.ingest.problems import FileReport, Findings, conclude

IDS = "item_id"
_BATCH = 10_000
_STORED = 2_000
_ARRAYS = (".npz", ".npy")


def read_vectors(
    path: Path, space: str, dimensions: int, strict: bool = False
) -> tuple[NamedVectors, FileReport]:
    """Read the vectors of one space from a file.

    An ``.npz`` file holds the arrays ``item_id`` and ``vectors``; beside ``NAME.npy``, the array of vectors
    alone, lies ``NAME.ids.txt`` with an id a line. Any other file has a column ``item_id`` and one called
    ``vectors.SPACE``, ``vector`` or as the space.

    Args:
        path: The file.
        space: Name of the space.
        dimensions: Numbers of its vectors.
        strict: Refuse the whole file if any row is bad.

    Returns:
        The vectors, and what became of each row; of rows with the same id the last one counts.

    Raises:
        DataError: The file cannot be read, is not what it should be, or holds no usable row.
    """
    report = FileReport(str(path), "vectors")
    arrays = path.suffix.lower() in _ARRAYS
    blocks = _array_blocks(path, space) if arrays else _file_blocks(path, space)
    found: dict[str, tuple[int, FloatArray]] = {}
    for block in blocks:
        for problem in block.problems:
            report.count_row(problem)
        findings = Findings(report, block.lines)
        ids = id_column(block.ids, IDS, findings)
        kept: list[tuple[int, FloatArray]] = []
        for row in np.flatnonzero(findings.good).tolist():
            try:
                kept.append((row, vector_cell(block.rows[row][space], space, dimensions)))
            except CellError as error:
                findings.reject_row(row, error.kind, error.reason)
        findings.finish()
        names, lines = ids.to_pylist(), block.lines.tolist()
        for row, vector in kept:
            if names[row] in found:
                report.replace(IDS, names[row], found.pop(names[row])[0], lines[row])
            found[names[row]] = lines[row], vector
    conclude(report, strict)
    return NamedVectors(list(found), np.array([vector for _, vector in found.values()], np.float32)), report


def import_vectors(store: Store, named: Mapping[str, NamedVectors]) -> dict[str, tuple[int, list[str]]]:
    """Write vectors of items that are in a store.

    Returns:
        By space, how many were stored, and the ids of items that are not in the catalogue.

    Raises:
        StoreError: The database failed; what came before is stored.
    """
    result: dict[str, tuple[int, list[str]]] = {}
    for space, vectors in named.items():
        unknown: list[str] = []
        for start in range(0, len(vectors), _STORED):
            rows = zip(
                vectors.item_ids[start : start + _STORED],
                vectors.vectors[start : start + _STORED],
                strict=True,
            )
            unknown += store.patch_items(
                [ItemPatch(item_id, vectors={space: vector}) for item_id, vector in rows]
            )
        result[space] = len(vectors) - len(unknown), unknown
    return result


def _array_blocks(path: Path, space: str) -> Iterator[ItemBlock]:
    ids, vectors = _arrays(path)
    if vectors.ndim != 2 or vectors.dtype.kind not in "fiu":
        raise DataError(
            f"{path}: the vectors are an array of {vectors.dtype} of shape {vectors.shape}, not numbers of "
            "shape (items, dimensions)"
        )
    if len(ids) != len(vectors):
        raise DataError(f"{path}: {len(ids)} ids but {len(vectors)} vectors")
    if not len(ids):
        raise DataError(f"{path} holds no rows")
    for start in range(0, len(ids), _BATCH):
        part = vectors[start : start + _BATCH]
        lines = np.arange(start + 1, start + 1 + len(part), dtype=np.int64)
        yield ItemBlock(lines, ids[start : start + _BATCH], [{space: row} for row in part])


def _arrays(path: Path) -> tuple[pa.Array, Any]:
    """Ids as an Arrow array, and the array of vectors, memory-mapped where it can be."""
    try:
        if path.suffix.lower() == ".npy":
            names = path.with_suffix(".ids.txt")
            if not names.exists():
                raise DataError(f"{path} needs {names.name} beside it, with the id of each row on a line")
            ids = names.read_text(encoding="utf-8").splitlines()
            return pa.array(ids, pa.string()), np.load(path, mmap_mode="r", allow_pickle=False)
        with np.load(path, allow_pickle=False) as content:
            missing = [name for name in (IDS, "vectors") if name not in content]
            if missing:
                held = ", ".join(content) or "nothing"
                raise DataError(f"{path} lacks the array {missing[0]!r} (it has: {held})")
            ids, vectors = content[IDS], content["vectors"]
    except FileNotFoundError:
        raise DataError(f"no file {path}; check the path") from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {path}: {' '.join(str(error).split())[:200]}") from None
    if ids.ndim != 1 or ids.dtype.kind not in "iuU":
        raise DataError(f"{path}: {IDS} is an array of {ids.dtype}, not of texts or whole numbers")
    return pa.array(ids.tolist()), vectors


def _file_blocks(path: Path, space: str) -> Iterator[ItemBlock]:
    layout = recognise_items(path, Reading())
    name = _column(path, layout, space)
    for block in item_blocks(path, layout, {space: 0}):
        rows = [{space: row.get(name)} for row in block.rows]
        yield ItemBlock(block.lines, block.ids, rows, block.problems)


def _column(path: Path, layout: ItemLayout, space: str) -> str:
    header = layout.names(layout.header)
    wanted = (f"vectors.{space}", "vector", space)
    found = next((name for name in wanted if name in header), None)
    if found is None:
        raise DataError(
            f"{path} has none of the columns {', '.join(wanted)} (it has: {', '.join(header)[:200]})"
        )
    return found
