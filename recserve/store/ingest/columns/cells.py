"""Single cells as JSON has them: attributes of items, and ids in JSON lines."""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from recserve.store.ingest.columns.plain import TOO_LARGE, is_binary, too_large
from recserve.store.ingest.problems import quoted

_INTEGERS = range(-(2**63), 2**64)
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f]")


class CellError(Exception):
    """A cell that cannot be taken.

    Args:
        reason: What is wrong, with the value.
        kind: The same without the value.
    """

    def __init__(self, reason: str, kind: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.kind = kind


def parse_json(text: bytes | str) -> Any:
    """The value of a JSON text, which may hold NaN and Infinity as Python writes them.

    Raises:
        ValueError: It is not JSON.
    """
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        plain = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
        if "NaN" not in plain and "Infinity" not in plain:
            raise
        try:
            value = json.loads(plain)
            json.dumps(value, ensure_ascii=False).encode()  # refuses halves of surrogate pairs
        except (ValueError, RecursionError):
            raise error from None
        return value


def id_cell(value: Any, name: str) -> str | None:
    """A single id as text, None if there is none.

    Raises:
        CellError: It is neither text nor a whole number, or a float so large that neighbouring ids would be
            the same.
    """
    if value is None or isinstance(value, str):
        return value or None
    if isinstance(value, CellError):
        raise value
    if isinstance(value, bytes):
        try:
            return value.decode() or None
        except UnicodeDecodeError:
            reason = f"{name} {quoted(value)} is not UTF-8 text"
            raise CellError(reason, f"{name} is not UTF-8 text") from None
    if isinstance(value, (float, np.floating)):
        value = float(value)
        if math.isnan(value):
            return None
        if abs(value) >= TOO_LARGE:
            raise CellError(too_large(name, value), f"{name} is too large for a number")
    if isinstance(value, (float, Decimal)):
        if value != int(value):
            kind = f"{name} is not a whole number"
            raise CellError(f"{name} {value} is not a whole number; write such ids as text", kind)
        return str(int(value))
    if type(value).__module__ == "uuid" or (isinstance(value, int) and not isinstance(value, bool)):
        return str(value)
    kind = f"{name} is neither text nor a whole number"
    raise CellError(f"{name} {quoted(value)} is neither text nor a whole number", kind)


def scalar_cell(value: Any, name: str) -> str | None:
    """A number or text in a JSON object as it would stand in a CSV file.

    Raises:
        CellError: It is something else.
    """
    if value is None or isinstance(value, str):
        return value or None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        kind = f"{name} is neither text nor a number"
        raise CellError(f"{name} {quoted(value)} is neither text nor a number", kind)
    return None if isinstance(value, float) and math.isnan(value) else repr(value)


def list_cell(text: str) -> list[str]:
    """Text as a list: JSON's or Python's, as pandas writes lists; else what stands between vertical bars."""
    if text.startswith("[") and text.endswith("]"):
        for parse in (parse_json, ast.literal_eval):
            try:
                parts = parse(text)
            except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
                continue
            if isinstance(parts, list) and all(isinstance(part, str) for part in parts):
                return [part.strip() for part in parts if part.strip()]
    return [part.strip() for part in text.split("|") if part.strip()]


def python_cells(column: pa.Array) -> list[Any]:
    """Cells of an Arrow column as Python objects; those that Python cannot hold are a :class:`CellError`.

    Bytes of which every cell is text become text, as Spark and Hive write it. Moments are kept to the
    microsecond.
    """
    if isinstance(column, pa.DictionaryArray):
        return python_cells(column.dictionary_decode())
    if pa.types.is_timestamp(column.type) and column.type.unit == "ns":
        column = column.cast(pa.timestamp("us", column.type.tz), safe=False)
    if is_binary(column.type):
        return _text_or_bytes(column)
    try:
        return list(column.to_pylist(maps_as_pydicts="strict"))
    except (pa.ArrowException, LookupError, ValueError, OverflowError):
        return [_python_cell(cell) for cell in column]


def json_cell(value: Any) -> Any:
    """A value as JSON has it: times as ISO 8601 text, decimals as numbers, NaN as nothing.

    Raises:
        CellError: JSON has no such thing.
    """
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        if value not in _INTEGERS:
            raise _unsayable(value, "whole numbers of more than 64 bits")
        return value
    if isinstance(value, (float, np.floating)):
        return _json_number(float(value))
    if isinstance(value, Decimal):
        return _json_decimal(value)
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(key): json_cell(each) for key, each in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [json_cell(each) for each in value]
    if isinstance(value, CellError):
        raise value
    if isinstance(value, timedelta):
        raise _unsayable(str(value), "durations")
    if isinstance(value, (bytes, bytearray)):
        raise _unsayable(bytes(value[:20]), "bytes")
    if type(value).__module__ == "uuid":
        return str(value)
    raise _unsayable(value, type(value).__name__)


def _json_number(value: float) -> float | None:
    if math.isinf(value):
        raise _unsayable(value, "infinity")
    return None if math.isnan(value) else value


def _json_decimal(value: Decimal) -> float | int | None:
    if not value.is_finite():
        return _json_number(float(value))
    if value == value.to_integral_value() and value.as_tuple().exponent == 0:
        whole: int = json_cell(int(value))
        return whole
    number = float(value)
    if Decimal(repr(number)) != value:
        raise _unsayable(value, "numbers of so many digits")
    return number


def _text_or_bytes(column: pa.Array) -> list[Any]:
    try:
        texts = column.cast(pa.large_binary()).cast(pa.large_string()).to_pylist()
    except pa.ArrowInvalid:
        return list(column.to_pylist())
    if any(text is not None and _CONTROL.search(text) for text in texts):
        return list(column.to_pylist())
    return list(texts)


def _python_cell(cell: pa.Scalar) -> Any:
    try:
        return cell.as_py(maps_as_pydicts="strict")
    except (pa.ArrowException, LookupError, ValueError, OverflowError):
        return _unsayable(cell.type, f"such {cell.type}")


def _unsayable(value: object, what: str) -> CellError:
    return CellError(f"{quoted(value)} is left out: JSON has no {what}", f"left out, as JSON has no {what}")
