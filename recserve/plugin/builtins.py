"""Components that need no domain knowledge, registered like any other plugin.

The item text ``fields`` and the explainer ``template``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import Field

from recserve.data.catalogue import Catalogue
from recserve.data.entities import Item, Reason
from recserve.data.identifier_columns import NAMES, identifier_columns
from recserve.plugin.hookspecs import hookimpl
from recserve.plugin.protocols import Component, NoParams


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
        return ", ".join(str(one) for one in value if isinstance(one, str))
    # A number says something to BERT only where somebody chose the column on purpose.
    if explicit and value is not None:
        return str(value)
    return ""


class TemplateExplainer:
    """Plain wording that fits any domain."""

    def explain(self, reasons: Sequence[Reason]) -> list[str]:
        """One sentence for each reason."""
        return [self._sentence(reason) for reason in reasons]

    def _sentence(self, reason: Reason) -> str:
        if reason.query_text:
            return f"Matches “{_shorten(reason.query_text)}”"
        if "explore" in reason.sources:
            return "New here"
        if reason.evidence is not None and reason.evidence_event is None:
            return f"Similar to {_shorten(reason.evidence.title)}"
        if reason.evidence is not None:
            verb = {"purchase": "bought", "rating": "rated", "like": "liked"}.get(
                reason.evidence_event or "", "looked at"
            )
            return f"Because you {verb} {_shorten(reason.evidence.title)}"
        if reason.interests:
            return f"Fits your interests: {_shorten(reason.interests)}"
        if reason.sources and reason.sources[0] == "popular":
            return "Popular right now"
        return "Picked for you"


def _shorten(text: str, limit: int = 80) -> str:
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _fields(params: FieldsParams, catalogue: Catalogue) -> FieldsText:
    return FieldsText(params, catalogue)


def _template(params: NoParams, catalogue: Catalogue) -> TemplateExplainer:
    return TemplateExplainer()


@hookimpl
def register_item_texts() -> Sequence[Component]:
    """The item text ``fields``."""
    return [
        Component(
            "fields",
            _fields,
            FieldsParams,
            summary="Joins text attributes of an item into one text.",
        )
    ]


@hookimpl
def register_explainers() -> Sequence[Component]:
    """The explainer ``template``."""
    return [Component("template", _template, summary="Plain wording for any domain.")]
