"""Contexts of events, such as device and place: JSON objects as text, or the objects themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from recserve.data.events.context import context_text
from recserve.store.ingest.columns.cells import parse_json
from recserve.store.ingest.columns.plain import plain
from recserve.store.ingest.problems import Findings


def context_column(column: pa.Array, name: str, findings: Findings) -> pa.Array:
    """A column of contexts as events keep them; null where nothing is said.

    A row whose context cannot be kept is taken without it: the column of a file may be about another thing.

    Args:
        column: Of any Arrow type.
        name: Its name.
        findings: Where it is said which contexts were left out, without their values.
    """
    if column.null_count == len(column):
        return pa.nulls(len(column), pa.string())
    kept: dict[Any, str | None] = {}
    texts: list[str | None] = []
    odd = np.zeros(len(column), dtype=np.bool_)
    for row, cell in enumerate(plain(column).to_pylist()):
        try:
            if isinstance(cell, str | bytes):
                if cell not in kept:
                    kept[cell] = _text(parse_json(cell)) if cell.strip() else None
                texts.append(kept[cell])
            else:
                texts.append(None if cell is None else _text(cell))
        except ValueError:
            texts.append(None)
            odd[row] = True
    findings.note(odd, f"{name} was left out: it is no flat JSON object of bounded size")
    return pa.array(texts, pa.string())


def _text(value: Any) -> str | None:
    """The stored text of an object; of a struct what has no value is left out.

    Raises:
        ValueError: It is none, or not flat, or beyond a bound.
    """
    if isinstance(value, list) and all(isinstance(pair, tuple) and len(pair) == 2 for pair in value):
        value = dict(value)  # a map, as Arrow gives it
    if not isinstance(value, Mapping):
        raise ValueError("not an object")
    return context_text({key: inner for key, inner in value.items() if inner is not None})
