"""Made-up behaviour: customers with tastes who come in sessions, drawn with a fixed seed.

A customer has a few favourite kinds of products, favours some brands, and buys cheap or dear. A session is
about one kind: some variants are viewed, few are put in the cart or liked, fewer bought. What was bought
leads to what goes with it in the next session, a phone to a case for it, so that the order in time says
something, and so do text and taste.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from recserve_shop.products import Product

CUSTOMERS = 300
FIRST_MS = 1_772_323_200_000
"""The first of March 2026."""
_DAYS = 120
_SEED = 20_260_301
_DAY_MS = 86_400_000
_MINUTE_MS = 60_000

GOES_WITH = {
    "手机": ("手机配件", "移动电源", "充电器", "蓝牙耳机"),
    "笔记本电脑": ("键鼠", "显示器", "存储", "箱包"),
    "平板电脑": ("文具", "充电器"),
    "相机": ("存储", "箱包"),
    "床垫": ("床品",),
    "家具": ("灯具", "收纳"),
    "咖啡机": ("茶饮", "水杯"),
    "电饭煲": ("粮油", "锅具"),
    "空气炸锅": ("肉类", "餐具"),
    "锅具": ("刀具", "粮油"),
    "出行": ("纸尿裤", "奶粉"),
    "奶粉": ("纸尿裤", "出行"),
    "纸尿裤": ("日用", "玩具"),
    "护肤": ("彩妆", "香水"),
    "露营": ("速食", "鞋靴"),
    "健身": ("零食", "鞋靴"),
    "猫用品": ("扫地机器人",),
    "空调": ("风扇", "空气净化"),
    "女装": ("鞋靴", "彩妆"),
    "男装": ("剃须刀", "鞋靴"),
}
"""What somebody who bought one kind looks at next."""


@dataclass(frozen=True, slots=True)
class Deed:
    """One thing that a customer did.

    Attributes:
        user_id: The customer.
        item_id: The product.
        event: Event type.
        timestamp: Milliseconds since the epoch.
    """

    user_id: str
    item_id: str
    event: str
    timestamp: int


@dataclass
class _Customer:
    """Tastes of one customer.

    Attributes:
        user_id: Name.
        kinds: Favourite kinds, the dearest first.
        brands: What each favourite brand counts.
        budget: Price level, as a share of the range of each kind, 0 to 1.
        next_kinds: Kinds that go with what was bought last.
    """

    user_id: str
    kinds: list[str]
    brands: dict[str, float]
    budget: float
    next_kinds: tuple[str, ...] = ()


def make_behaviour(products: Sequence[Product]) -> list[Deed]:
    """What all customers did, in the order of time."""
    chance = random.Random(_SEED)
    by_kind: dict[str, list[Product]] = {}
    for product in products:
        by_kind.setdefault(product.kind, []).append(product)
    deeds = [
        deed
        for number in range(1, CUSTOMERS + 1)
        for deed in _customer_deeds(_customer(f"u{number:03}", by_kind, chance), by_kind, chance)
    ]
    return sorted(deeds, key=lambda deed: (deed.timestamp, deed.user_id, deed.item_id))


def _customer(user_id: str, by_kind: dict[str, list[Product]], chance: random.Random) -> _Customer:
    kinds = list(by_kind)
    favourites = chance.sample(kinds, chance.randint(2, 4))
    brands = sorted({product.brand for kind in favourites for product in by_kind[kind]})
    return _Customer(
        user_id=user_id,
        kinds=favourites,
        brands={brand: chance.choice((0.3, 1.0, 3.0)) for brand in brands},
        budget=chance.random(),
    )


def _customer_deeds(
    customer: _Customer, by_kind: dict[str, list[Product]], chance: random.Random
) -> Iterator[Deed]:
    days = sorted(chance.uniform(0, _DAYS) for _ in range(chance.randint(2, 7)))
    for day in days:
        moment = FIRST_MS + int(day * _DAY_MS)
        kind = _next_kind(customer, by_kind, chance)
        for product in _viewed(customer, by_kind[kind], chance):
            yield Deed(customer.user_id, product.item_id, "view", moment)
            moment += chance.randint(1, 5) * _MINUTE_MS
            draw = chance.random()
            if draw < 0.12:
                yield Deed(customer.user_id, product.item_id, "like", moment)
            elif draw < 0.32:
                yield Deed(customer.user_id, product.item_id, "add_to_cart", moment)
                if draw < 0.24:
                    yield Deed(customer.user_id, product.item_id, "purchase", moment + 2 * _MINUTE_MS)
                    customer.next_kinds = GOES_WITH.get(kind, ())
                    break
            moment += _MINUTE_MS


def _next_kind(customer: _Customer, by_kind: dict[str, list[Product]], chance: random.Random) -> str:
    if customer.next_kinds and chance.random() < 0.6:
        return chance.choice(customer.next_kinds)
    if chance.random() < 0.1:
        return chance.choice(list(by_kind))
    weights = [1 / place for place in range(1, len(customer.kinds) + 1)]
    return chance.choices(customer.kinds, weights)[0]


def _viewed(customer: _Customer, shelf: Sequence[Product], chance: random.Random) -> list[Product]:
    """Different products of a shelf, those that suit brand and budget more often."""
    prices = sorted(product.price for product in shelf)

    def worth(product: Product) -> float:
        place = prices.index(product.price) / max(len(prices) - 1, 1)
        return customer.brands.get(product.brand, 1.0) * math.exp(-3 * abs(place - customer.budget))

    left, chosen = list(shelf), []
    for _ in range(min(chance.randint(2, 6), len(shelf))):
        product = chance.choices(left, [worth(product) for product in left])[0]
        left.remove(product)
        chosen.append(product)
    return chosen
