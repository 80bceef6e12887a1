"""The data set ``shop-zh``: a catalogue that says what it is, and behaviour that can be learnt from."""

from __future__ import annotations

import json
from collections import Counter

from recserve_shop.behaviour import CUSTOMERS, GOES_WITH, make_behaviour
from recserve_shop.products import read_products
from recserve_shop.source import SUGGESTED, ChineseShop

from recserve.config import parse_config
from recserve.plugin.registry import Registry


def test_products_are_complete() -> None:
    products = read_products()
    assert len(products) == 393
    assert len({product.item_id for product in products}) == len(products)
    assert len({product.title for product in products}) == len(products)
    for product in products:
        assert all((product.category, product.kind, product.brand, product.description))
        assert product.price > 0
    assert {"苹果手机 iPhone 15 128GB 黑色", "华为手机 Mate 60 256GB 雅丹黑"} <= {
        product.title for product in products
    }


def test_what_goes_together_exists() -> None:
    kinds = {product.kind for product in read_products()}
    assert {*GOES_WITH, *(kind for others in GOES_WITH.values() for kind in others)} <= kinds


def test_behaviour_is_the_same_each_time_and_has_tastes() -> None:
    products = read_products()
    deeds = make_behaviour(products)
    assert deeds == make_behaviour(products)
    assert len({deed.user_id for deed in deeds}) == CUSTOMERS
    assert 3_000 <= len(deeds) <= 12_000
    assert [deed.timestamp for deed in deeds] == sorted(deed.timestamp for deed in deeds)
    counts = Counter(deed.event for deed in deeds)
    assert counts["view"] > counts["add_to_cart"] > counts["purchase"] > 100
    kind = {product.item_id: product.kind for product in products}
    favourite = [
        Counter(kind[deed.item_id] for deed in deeds if deed.user_id == user).most_common(1)[0][1]
        / sum(deed.user_id == user for deed in deeds)
        for user in sorted({deed.user_id for deed in deeds})[:50]
    ]
    assert sum(favourite) / len(favourite) > 0.3, "customers come back to what they like"


def test_the_source_gives_tables_and_a_configuration_that_resolves() -> None:
    tables = ChineseShop().read()
    assert len(tables.items) == 393
    assert len(set(tables.events["event_id"].to_pylist())) == len(tables.events)
    first = json.loads(tables.items["attributes"][0].as_py())
    assert first["title"] == "苹果手机 iPhone 15 128GB 黑色"
    assert first["price"] == 4999
    resolved = Registry.discover().resolve(parse_config(json.loads(json.dumps(SUGGESTED))))
    assert {pipeline.config.language for pipeline in resolved.scenarios.values()} == {"zh"}
