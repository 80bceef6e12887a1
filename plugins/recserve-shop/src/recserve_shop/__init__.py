"""A shop in Chinese as a domain plugin: the data set ``shop-zh``, from catalogue to behaviour.

The catalogue (``data/products.tsv``) was written for this package. Behaviour is made up when the data set is
read, the same each time: customers with favourite kinds of products, brands and prices, who come back in
sessions and go on from what they bought to what goes with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel

from recserve import Catalogue, Component, hookimpl

__all__ = ["register_datasets"]


def _shop(params: BaseModel, catalogue: Catalogue) -> Any:
    from recserve_shop.source import ChineseShop

    return ChineseShop()


@hookimpl
def register_datasets() -> Sequence[Component]:
    """The data set ``shop-zh``."""
    return [
        Component(
            "shop-zh", _shop, summary="393 products of a Chinese shop and 300 made-up customers, bundled."
        )
    ]
