"""Ids are one thing in all formats: text in Unicode's form C, and 10, 10.0 and ``"10"`` are the same id."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recserve.data.entities import MAX_ID
from recserve.errors import DataError
from recserve.store.ingest.columns.plain import (
    TOO_LARGE,
    floats,
    is_binary,
    mask,
    plain,
    text_of_bytes,
    too_large,
    trimmed,
    whole_decimals,
)
from recserve.store.ingest.problems import Findings, quoted

# A leading zero is part of an id, so 007.0 is none that a number has become.
_WHOLE = r"^(0|-?[1-9][0-9]*)\.0+$"
# Excel and pandas write long numbers so, and leave out their last digits.
_SHORTENED = r"^-?[0-9](\.[0-9]+)?[eE]\+[0-9]+$"
_NO_VALUE = pa.array(["nan", "NaN", "NaT", "null", "NULL", "None", "<NA>", "#N/A", "\\N"])
"""How pandas, SQL, spreadsheets and Hive write that there is no value."""


def id_column(column: pa.Array, name: str, findings: Findings, required: bool = True) -> pa.Array:
    """A column of ids as text.

    Args:
        column: Of any Arrow type.
        name: Its name.
        findings: Where rows are left out whose id is too long, not whole, too large for the number that
            it is written as, or holds a NUL character; and where it is said what was changed.
        required: Leave out rows without an id as well; otherwise they are null.

    Raises:
        DataError: The column holds what cannot be an id, such as lists.
    """
    if column.null_count == len(column) and not required:
        return pa.nulls(len(column), pa.string())
    text = trimmed(_text(plain(column), name, findings), name, findings)
    if pc.any(pc.match_substring(text, ".")).as_py():
        text = _without_point(text, name, findings)
    if pc.all(pc.string_is_ascii(text)).as_py() is False:
        text = _composed(text, name, findings)
    _reject(text, name, findings, required)
    return text


def name_column(column: pa.Array, name: str, findings: Findings) -> pa.Array:
    """A column of names, such as event types; null where a cell is empty.

    Raises:
        DataError: The column holds something that has no text, such as lists.
    """
    if column.null_count == len(column):
        return pa.nulls(len(column), pa.string())
    column = plain(column)
    if is_binary(column.type):
        column = text_of_bytes(column, name, findings)
    elif not (pa.types.is_string(column.type) or pa.types.is_integer(column.type)):
        raise DataError(f"{findings.file}: column {name!r} holds {column.type}, not text", field=name)
    return trimmed(column.cast(pa.string()), name, findings)


def _text(column: pa.Array, name: str, findings: Findings) -> pa.Array:
    kind = column.type
    if pa.types.is_string(kind):
        return column
    if pa.types.is_integer(kind):
        return column.cast(pa.string())
    if is_binary(kind):
        return text_of_bytes(column, name, findings)
    if pa.types.is_floating(kind):
        return _text_of_floats(column, name, findings)
    if pa.types.is_decimal(kind):
        text = whole_decimals(column)
        _reject_fractions(mask(pc.match_substring(text, ".").fill_null(False)), column, name, findings)
        return text
    raise DataError(
        f"{findings.file}: column {name!r} holds {kind}, which is no id; write ids as text or whole numbers",
        field=name,
    )


def _text_of_floats(column: pa.Array, name: str, findings: Findings) -> pa.Array:
    """Pandas makes 12 into 12.0 where a neighbour is missing, and says NaN for what is missing."""
    values = floats(column)
    with np.errstate(invalid="ignore"):
        large = np.abs(values) >= TOO_LARGE
        fractions = np.isfinite(values) & (values != np.floor(values))
    findings.reject(
        large,
        f"{name} is too large for a number",
        lambda row: too_large(name, float(values[row])),
    )
    _reject_fractions(fractions, column, name, findings)
    odd = large | fractions | np.isnan(values)
    return pa.array(np.where(odd, 0, values).astype(np.int64), mask=odd).cast(pa.string())


def _reject_fractions(marked: np.ndarray, column: pa.Array, name: str, findings: Findings) -> None:
    findings.reject(
        marked,
        f"{name} is not a whole number",
        lambda row: f"{name} {column[row].as_py()} is not a whole number; write such ids as text",
    )


def _without_point(text: pa.Array, name: str, findings: Findings) -> pa.Array:
    whole = pc.match_substring_regex(text, _WHOLE).fill_null(False)
    findings.note(
        mask(whole),
        f"{name} written with a point, such as 10.0, was read as the whole number",
        lambda row: f"{name} {text[row].as_py()!r} was read as {text[row].as_py().partition('.')[0]!r}",
    )
    return pc.if_else(whole, pc.replace_substring_regex(text, r"\.0+$", ""), text)


def _composed(text: pa.Array, name: str, findings: Findings) -> pa.Array:
    composed = pc.utf8_normalize(text, form="NFC")
    findings.note(
        mask(pc.not_equal(composed, text).fill_null(False)),
        f"{name} was brought into Unicode's form C (NFC)",
        lambda row: f"{name} {text[row].as_py()!r} was brought into Unicode's form C (NFC)",
    )
    return composed


def _reject(text: pa.Array, name: str, findings: Findings, required: bool) -> None:
    if required:
        findings.reject(mask(text.is_null()), f"{name} is empty")
    findings.reject(
        mask(pc.is_in(text, _NO_VALUE)),
        f"{name} is empty",
        lambda row: f"{name} is empty: {text[row].as_py()!r} stands for no value",
    )
    findings.reject(
        mask(pc.match_substring_regex(text, _SHORTENED).fill_null(False)),
        f"{name} is a shortened number",
        lambda row: f"{name} {text[row].as_py()!r} is a number without its last digits; write ids as text",
    )
    nul = pc.match_substring(text, "\x00").fill_null(False)
    findings.reject(mask(nul), f"{name} holds a NUL character")
    if (pc.max(pc.binary_length(text)).as_py() or 0) > MAX_ID:
        long = pc.greater(pc.utf8_length(text), MAX_ID).fill_null(False)
        findings.reject(
            mask(long),
            f"{name} is longer than {MAX_ID:,} characters",
            lambda row: f"{name} {quoted(text[row].as_py())} is longer than {MAX_ID:,} characters",
        )
