"""Arrow's many types reduced to few, and the steps that all columns share."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recserve.data.arrays import BoolArray
from recserve.store.ingest.problems import Findings

FloatColumn = np.ndarray[tuple[int], np.dtype[np.float64]]

TOO_LARGE = 2.0**53
"""From here on doubles skip whole numbers, so that several ids would become one."""

_VIEWS = ("string_view", "binary_view")


def plain(column: pa.Array) -> pa.Array:
    """A column without what only says how it is stored.

    Dictionaries and extension types become what they hold, views and large text become text (``uuid``
    too), half floats become doubles, and a column of nothing is a column of text.
    """
    kind = column.type
    if isinstance(column, pa.ExtensionArray):
        if str(kind) == "extension<arrow.uuid>":
            return pa.array([None if cell is None else str(cell) for cell in column.to_pylist()], pa.string())
        return plain(column.storage)
    if pa.types.is_dictionary(kind):
        return plain(column.dictionary_decode())
    if pa.types.is_null(kind) or pa.types.is_large_string(kind) or str(kind) == _VIEWS[0]:
        return column.cast(pa.string())
    if is_binary(kind):
        return column.cast(pa.large_binary())
    return column.cast(pa.float64()) if pa.types.is_floating(kind) else column


def is_binary(kind: pa.DataType) -> bool:
    """Whether cells are bytes of any kind."""
    types = pa.types
    return bool(
        types.is_binary(kind)
        or types.is_large_binary(kind)
        or types.is_fixed_size_binary(kind)
        or str(kind) == _VIEWS[1]
    )


def text_of_bytes(column: pa.Array, name: str, findings: Findings) -> pa.Array:
    """Bytes as text, which is how some writers keep it; rows whose bytes are not UTF-8 are left out."""
    try:
        return column.cast(pa.string())
    except pa.ArrowInvalid:
        pass
    texts = [None if cell is None else _decoded(cell) for cell in column.to_pylist()]
    text = pa.array(texts, pa.string())
    bad = mask(pc.and_(column.is_valid(), text.is_null()))
    findings.reject(bad, f"{name} is not UTF-8 text")
    return text


def trimmed(text: pa.Array, name: str, findings: Findings) -> pa.Array:
    """Text without blanks around it; cells with nothing else become null."""
    inner = pc.utf8_trim_whitespace(text)
    changed = mask(pc.not_equal(inner, text).fill_null(False))
    inner = pc.if_else(pc.equal(inner, ""), None, inner)
    if changed.any():
        findings.note(
            changed & mask(inner.is_valid()),
            f"blanks around {name} were removed",
            lambda row: f"blanks around {name} {text[row].as_py()!r} were removed",
        )
    return inner


def too_large(name: str, value: float) -> str:
    """What is wrong with an id of :data:`TOO_LARGE` or more."""
    return (
        f"{name} {value!r} is too large for an id that is kept as a float: neighbouring ids would be the "
        "same; write ids as text"
    )


def whole_decimals(column: pa.Array) -> pa.Array:
    """Decimals as text, those that are whole without a fraction."""
    text = column.cast(pa.string())
    return pc.replace_substring_regex(text, r"^([+-]?[0-9]+)\.0+$", r"\1")


def floats(column: pa.Array) -> FloatColumn:
    """A column of numbers as doubles, NaN where it is null."""
    return np.array(column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), dtype=np.float64)


def mask(column: pa.Array) -> BoolArray:
    """A column of truth values without nulls as an array."""
    return np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.bool_)


def _decoded(cell: bytes) -> str | None:
    try:
        return cell.decode()
    except UnicodeDecodeError:
        return None
