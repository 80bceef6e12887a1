"""The data source ``shop-zh``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from recserve import Demo, Tables
from recserve_shop.behaviour import make_behaviour
from recserve_shop.products import read_products

_TEXT = ["title", "kind", "category", "description"]
_WORDS = {"use": "lexical", "params": {"fields": ["title", "brand", "kind", "category", "description"]}}
_COMMON: Mapping[str, Any] = {"language": "zh", "filters": [{"use": "where"}]}

SUGGESTED: Mapping[str, Any] = {
    "encoder": {"model": "auto"},
    "item_text": {"use": "fields", "params": {"fields": _TEXT}},
    "scenarios": {
        "home": {
            "retrievers": [
                {"use": "mf"},
                {"use": "item_knn", "params": {"half_life_events": 3}},
                {"use": "content"},
                {"use": "popular", "candidates": 100},
            ],
            "ranker": {"use": "bert_lstm"},
            **_COMMON,
        },
        "similar": {"retrievers": [{"use": "content"}, {"use": "mf", "weight": 0.5}], **_COMMON},
        # What somebody looks for by words may well be what was seen before.
        "search": {"retrievers": [_WORDS, {"use": "content"}], "seen": "allow", **_COMMON},
    },
}
"""Configuration for a shop in Chinese, a scenario for each place in it."""


class ChineseShop:
    """The shop that comes with this package."""

    demo = Demo("u001", "like", shown=("brand", "price"))

    def read(self) -> Tables:
        """All products, and what the made-up customers did."""
        products = read_products()
        items = {
            "item_id": [product.item_id for product in products],
            "attributes": [json.dumps(product.attributes(), ensure_ascii=False) for product in products],
        }
        deeds = make_behaviour(products)
        events = {
            # Importing twice stores each once.
            "event_id": [f"shop-{number}" for number in range(len(deeds))],
            "user_id": [deed.user_id for deed in deeds],
            "item_id": [deed.item_id for deed in deeds],
            "event": [deed.event for deed in deeds],
            "value": pa.nulls(len(deeds), pa.float64()),
            "timestamp": pa.array([deed.timestamp for deed in deeds], pa.int64()),
        }
        return Tables(items=pa.table(items), events=pa.table(events))

    def suggested_config(self) -> Mapping[str, Any]:
        """See :data:`SUGGESTED`."""
        return SUGGESTED
