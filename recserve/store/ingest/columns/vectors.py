"""Cells that are vectors of items in named spaces: arrays of numbers of a declared length."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from recserve.config import nearest
from recserve.data.arrays import FloatArray
from recserve.data.columns.named_vectors import NamedVectors
from recserve.errors import DataError
from recserve.store.ingest.columns.cells import CellError, parse_json, python_cells

VECTORS = "vectors"
"""Name of the column whose cells are objects of vectors by space, and beginning of those of one space."""

_PREFIX = f"{VECTORS}."


class VectorCells:
    """Vectors out of the rows of a file.

    Args:
        spaces: Numbers of a vector, by the name of its space.
    """

    def __init__(self, spaces: Mapping[str, int]) -> None:
        self.spaces = spaces
        self._found: dict[str, dict[str, FloatArray]] = {}

    @property
    def found(self) -> dict[str, NamedVectors]:
        """All vectors that were kept, by space."""
        return {
            space: NamedVectors(list(by_id), np.array(list(by_id.values()), dtype=np.float32))
            for space, by_id in self._found.items()
            if by_id
        }

    def take(self, cells: dict[str, Any]) -> dict[str, FloatArray]:
        """Take the vectors out of a row's cells.

        Raises:
            CellError: One of them is no vector of its space.
        """
        if not self.spaces:
            return {}
        given: dict[str, Any] = {}
        if VECTORS in cells:
            given.update(_by_space(cells.pop(VECTORS)))
        for name in [name for name in cells if name.startswith(_PREFIX)]:
            given[name.removeprefix(_PREFIX)] = cells.pop(name)
        for name in self.spaces:
            # Text in a column of that name, such as the path of a picture, is an attribute.
            if name not in given and isinstance(cells.get(name), (list, tuple, np.ndarray)):
                given[name] = cells.pop(name)
        return {space: self._vector(space, cell) for space, cell in given.items() if not _is_empty(cell)}

    def keep(self, item_id: str, vectors: Mapping[str, FloatArray]) -> None:
        """Keep the vectors of an item, in the place of those of an earlier row."""
        for space in self.spaces:
            if space in vectors:
                self._found.setdefault(space, {})[item_id] = vectors[space]
            elif space in self._found:
                self._found[space].pop(item_id, None)

    def _vector(self, space: str, cell: Any) -> FloatArray:
        if space not in self.spaces:
            kind = f"{_PREFIX}{space}: there is no such space in recserve.yaml{nearest(space, self.spaces)}"
            raise CellError(kind, kind)
        return vector_cell(cell, f"{_PREFIX}{space}", self.spaces[space])


def vector_cell(cell: Any, name: str, dimensions: int) -> FloatArray:
    """An array of numbers, or its JSON text, as a vector.

    Returns:
        float32, shape (dimensions,).

    Raises:
        CellError: It is something else, of another length, not finite, or zero.
    """
    if isinstance(cell, CellError):
        raise cell
    if isinstance(cell, str):
        try:
            cell = parse_json(cell)
        except ValueError:
            cell = None
    try:
        if isinstance(cell, (list, tuple)) and any(isinstance(number, (str, bool)) for number in cell):
            raise ValueError
        with np.errstate(over="ignore"):
            vector = np.asarray(cell, dtype=np.float32)
    except (TypeError, ValueError, OverflowError):
        vector = np.empty((0, 0), dtype=np.float32)
    if vector.ndim != 1:
        kind = f"{name} is not an array of numbers"
        raise CellError(kind, kind)
    if len(vector) != dimensions:
        kind = f"{name} has {len(vector)} numbers instead of {dimensions}"
        raise CellError(kind, kind)
    if not np.isfinite(vector).all():
        kind = f"{name} holds NaN or infinity"
        raise CellError(kind, kind)
    if not vector.any():
        kind = f"{name} is zero, which has no direction"
        raise CellError(kind, kind)
    return vector


def arrow_cells(name: str, column: pa.Array, spaces: Mapping[str, int]) -> list[Any]:
    """Cells of an Arrow column; arrays of numbers of a named space without making Python numbers of them."""
    kind = column.type
    lists = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    if not (
        spaces
        and (name.startswith(_PREFIX) or name in ("vector", *spaces))
        and lists
        and pa.types.is_floating(kind.value_type)
    ):
        return python_cells(column)
    if kind.value_type == pa.float16() or column.flatten().null_count:
        return list(column.to_pylist())
    numbers = column.flatten().to_numpy(zero_copy_only=False)
    # What is flattened has nothing of rows that are null.
    ends = np.cumsum(np.nan_to_num(column.value_lengths().to_numpy(zero_copy_only=False)).astype(np.int64))
    cells = np.split(numbers, ends[:-1]) if len(column) else []
    return [cell if valid else None for cell, valid in zip(cells, column.is_valid().to_pylist(), strict=True)]


def check_header(header: list[str], spaces: Mapping[str, int], path: object) -> None:
    """Refuse columns of spaces that are not declared.

    Raises:
        DataError: Names the column and what to declare.
    """
    for name in header:
        space = name.removeprefix(_PREFIX)
        if name != space and space not in spaces:
            raise DataError(
                f"{path}: column {name!r} holds vectors of a space that recserve.yaml does not declare"
                f"{nearest(space, spaces) if spaces else ''}; "
                f"add there vectors: {{{space}: {{dimensions: N}}}}",
                field=name,
            )


def _by_space(cell: Any) -> dict[str, Any]:
    if isinstance(cell, CellError):
        raise cell
    if isinstance(cell, str) and cell:
        try:
            cell = parse_json(cell)
        except ValueError:
            cell = ""
    if cell is None or cell == {}:
        return {}
    if not isinstance(cell, dict):
        kind = f"{VECTORS} is not an object of arrays by the name of their space"
        raise CellError(kind, kind)
    return cell


def _is_empty(cell: Any) -> bool:
    if isinstance(cell, float):
        return bool(np.isnan(cell))
    return cell is None or (isinstance(cell, str) and cell == "")
