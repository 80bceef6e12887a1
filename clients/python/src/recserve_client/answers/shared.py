"""Answers that several groups of calls share.

Generated from the OpenAPI document by ``python -m tools.clients``; do not edit.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Changed:
    """The changes are durable.

    Attributes:
        changed: Distinct entries that were there.
        unknown: Ids that are not there.
    """

    changed: int
    unknown: list[str]
