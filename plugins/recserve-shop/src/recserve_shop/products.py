"""Products of the shop: each line of ``data/products.tsv`` is a product with its variants."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

FILE = Path(__file__).parent / "data" / "products.tsv"


@dataclass(frozen=True, slots=True)
class Product:
    """One variant of a product, as it is sold.

    Attributes:
        item_id: Number of the product and a letter for the variant, such as ``101a``.
        category: Department.
        kind: What it is, such as 手机.
        brand: Its maker.
        title: What it is called, the variant included.
        description: One line about it.
        price: In yuan.
    """

    item_id: str
    category: str
    kind: str
    brand: str
    title: str
    description: str
    price: float

    def attributes(self) -> dict[str, str | float]:
        """What the catalogue says of it."""
        return {
            "title": self.title,
            "category": self.category,
            "kind": self.kind,
            "brand": self.brand,
            "description": self.description,
            "price": self.price,
        }


def read_products() -> list[Product]:
    """All variants of all products, in the order of the file."""
    with FILE.open(encoding="utf-8", newline="") as file:
        return [
            variant
            for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
            for variant in _variants(row)
        ]


def _variants(row: dict[str, str]) -> list[Product]:
    found = []
    for letter, variant in zip("abc", row["variants"].split("|"), strict=True):
        style, _, price = variant.rpartition("=")
        title = f"{row['brand']} {row['title']} {style}"
        if row["title"].startswith(row["brand"]):
            title = f"{row['title']} {style}"
        found.append(
            Product(
                item_id=row["id"] + letter,
                category=row["category"],
                kind=row["kind"],
                brand=row["brand"],
                title=title,
                description=row["description"],
                price=float(price),
            )
        )
    return found
