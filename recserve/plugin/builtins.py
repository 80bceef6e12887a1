"""Components that need no domain knowledge, registered like any other plugin.

The item text ``fields`` and the explainer ``template``.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from recserve.data.catalogue import Catalogue
from recserve.data.entities import Item, Reason
from recserve.plugin.hookspecs import hookimpl
from recserve.plugin.protocols import Component, NoParams


class FieldsParams(NoParams):
    """Parameters of the item text ``fields``."""

    fields: tuple[str, ...] = Field(
        (), description="Attributes to join, in order; empty takes every text attribute."
    )
    separator: str = Field(". ", description="Put between the parts.")


class FieldsText:
    """Joins attributes into one text; lists become comma-separated, title and name come first."""

    def __init__(self, params: FieldsParams) -> None:
        self._params = params

    def text(self, item: Item) -> str:
        """The text of an item, empty when no chosen attribute holds text."""
        names = self._params.fields or sorted(
            item.attributes, key=lambda name: (name not in ("title", "name"), name)
        )
        parts = [_as_text(item.attributes.get(name), bool(self._params.fields)) for name in names]
        return self._params.separator.join(part for part in parts if part)


def _as_text(value: object, explicit: bool) -> str:
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, (list, tuple)):
        return ", ".join(str(part) for part in value if isinstance(part, str))
    # A number says something to BERT only where somebody chose the column on purpose.
    if explicit and value is not None:
        return str(value)
    return ""


class TemplateExplainer:
    """Explainer with sentences that fit any domain."""

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
    return FieldsText(params)


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
