"""Item text ``fields``: what a text encoder reads of an item, joined from its attributes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Self

from pydantic import Field

from recserve.data.catalogue import Catalogue
from recserve.data.entities import Item
from recserve.plugin.builtins.identifier_columns import NAMES, identifier_columns
from recserve.plugin.protocols import NoParams


class FieldsParams(NoParams):
    """Parameters of the item text ``fields``."""

    fields: tuple[str, ...] = Field(
        (), description="Attributes to join, in order; empty takes every text attribute that says something."
    )
    identifiers: bool = Field(
        False,
        description="Without `fields`: also take attributes of which nine in ten values are addresses, "
        "identifiers, numbers or dates.",
    )
    separator: str = Field(". ", description="Put between the parts.")


class FieldsText:
    """Joins attributes into one text; lists become comma-separated, title and name come first.

    Attributes:
        left_out: Attributes that are not read by default, and what their values are.
    """

    def __init__(self, params: FieldsParams, catalogue: Catalogue | None = None) -> None:
        self._params = params
        self.left_out: Mapping[str, str] = {}
        if catalogue is not None and not params.fields and not params.identifiers:
            self.left_out = identifier_columns(catalogue)

    @classmethod
    def of(cls, fields: Sequence[str], catalogue: Catalogue) -> Self:
        """The text of some attributes; of every text attribute that says something where none is named."""
        return cls(FieldsParams(fields=tuple(fields)), catalogue)

    def text(self, item: Item) -> str:
        """The text of an item, empty when no chosen attribute holds text."""
        return self._params.separator.join(self.parts(item).values())

    def parts(self, item: Item) -> dict[str, str]:
        """The attributes that hold text, in the order in which they are joined."""
        names = self._params.fields or sorted(
            (name for name in item.attributes if name not in self.left_out),
            key=lambda name: (name not in NAMES, name),
        )
        parts = {name: _as_text(item.attributes.get(name), bool(self._params.fields)) for name in names}
        return {name: part for name, part in parts.items() if part}


def _as_text(value: object, explicit: bool) -> str:
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, (list, tuple)):
        return ", ".join(str(part) for part in value if isinstance(part, str))
    # A number says something to BERT only where somebody chose the column on purpose.
    if explicit and value is not None:
        return str(value)
    return ""
