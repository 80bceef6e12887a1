"""Components that need no domain knowledge, registered like any other plugin.

The item text ``fields`` and the explainer ``template``.
"""

from __future__ import annotations

from collections.abc import Sequence

from recserve.data.catalogue import Catalogue
from recserve.plugin.builtins.item_text import FieldsParams, FieldsText
from recserve.plugin.builtins.wording import TemplateExplainer
from recserve.plugin.hookspecs import hookimpl
from recserve.plugin.protocols import Component, NoParams


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
