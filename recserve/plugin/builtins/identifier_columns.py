"""Text attributes that say nothing about an item: addresses, identifiers, numbers and dates."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from recserve.data.catalogue import Catalogue

NAMES = ("title", "name")
"""What people are shown is always text, whatever it looks like."""

_SAMPLE = 2_000
_SHARE = 0.9
_FEWEST = 5  # values from which on a pattern is no coincidence

_ADDRESS = re.compile(
    r"(?:[a-z][a-z0-9+.-]*://|www\.|data:)\S+|\S*/\S+\.(?:jpe?g|png|gif|webp|svg)", re.IGNORECASE
)
_HEX = re.compile(r"(?=.*\d)(?:[0-9a-f]{16,}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})", re.IGNORECASE)
_NUMBER = re.compile(r"[+-]?[\d.,]*\d[\d.,]*")
_DATE = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d.*)?")
_CODE = re.compile(r"(?=.*\d)[A-Za-z0-9_.:-]{6,}")


def identifier_columns(catalogue: Catalogue) -> dict[str, str]:
    """What the values of such attributes are, by name; at least nine of ten values are of one kind.

    A sample of the items decides, evenly spread, so that the answer depends on the catalogue alone.
    """
    texts: dict[str, list[str]] = {}
    step = max(1, -(-len(catalogue) // _SAMPLE))
    for row in range(0, len(catalogue), step):
        for name, value in json.loads(catalogue.attributes_json[row]).items():
            if name not in NAMES:
                texts.setdefault(name, []).extend(_texts(value))
    kinds = {name: _kind(values) for name, values in texts.items()}
    return {name: kind for name, kind in sorted(kinds.items()) if kind is not None}


def _texts(value: Any) -> Iterator[str]:
    for part in value if isinstance(value, list) else (value,):
        if isinstance(part, str) and part.strip():
            yield part.strip()


def _kind(values: list[str]) -> str | None:
    def mostly(pattern: re.Pattern[str]) -> bool:
        return sum(pattern.fullmatch(value) is not None for value in values) >= _SHARE * len(values)

    if not values:
        return None
    if mostly(_ADDRESS):
        return "addresses"
    if mostly(_HEX):
        return "identifiers"
    if len(values) < _FEWEST:
        return None
    if mostly(_NUMBER):
        return "numbers"
    if mostly(_DATE):
        return "dates"
    unique = len(set(values)) >= 0.95 * len(values)
    return "identifiers" if unique and mostly(_CODE) else None
