from __future__ import annotations

import pytest

from recserve import Catalogue, Item
from recserve.plugin.builtins.identifier_columns import identifier_columns
from recserve.plugin.builtins.item_text import FieldsParams, FieldsText

WORDS = ["red", "warm wool", "for children", "a lamp", "size 42", "iPhone14手机壳"]


def catalogue(*values: object, name: str = "column") -> Catalogue:
    return Catalogue.of(Item(str(row), {name: value}) for row, value in enumerate(values))


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([f"https://shop.example/{n}" for n in range(9)], "addresses"),
        (["www.example.com/x"], "addresses"),
        ([f"/images/{n}/large.JPG" for n in range(9)], "addresses"),
        ([[f"https://a.example/{n}", f"https://b.example/{n}"] for n in range(9)], "addresses"),
        (["6ba7b810-9dad-11d1-80b4-00c04fd430c8"], "identifiers"),
        (["d41d8cd98f00b204e9800998ecf8427e"], "identifiers"),
        ([f"{n:08}" for n in range(9)], "numbers"),
        ([f"2020-01-{n:02}" for n in range(1, 9)], "dates"),
        ([f"2020-01-0{n}T10:00:00Z" for n in range(1, 9)], "dates"),
        ([f"SKU-{n:04}" for n in range(9)], "identifiers"),
        (["B0052B7XX7"] * 9, None),  # a model that many items share may be a brand's name
        ([f"https://shop.example/{n}" for n in range(9)] + ["about lamps"] * 2, None),
        (WORDS, None),
        (["deadbeef and more"] * 9, None),
        (["42"], None),  # too few to tell
        ([3, 4, 5, 6, 7, 8], None),  # numbers are not text and are not read anyway
        ([None, "", []], None),
    ],
)
def test_kinds(values: list[object], kind: str | None) -> None:
    assert identifier_columns(catalogue(*values)) == ({} if kind is None else {"column": kind})


def test_titles_are_always_text() -> None:
    assert identifier_columns(catalogue(*[str(1980 + n) for n in range(9)], name="title")) == {}


def test_large_catalogues_are_sampled_over_their_whole_length() -> None:
    values = [f"https://shop.example/{n}" if n < 5000 else "words" for n in range(10_000)]
    assert identifier_columns(catalogue(*values)) == {}
    assert identifier_columns(catalogue(*values[:5000])) == {"column": "addresses"}


def test_item_texts_leave_them_out_by_default() -> None:
    items = [
        Item(str(n), {"title": f"T{n}", "url": f"https://x.example/{n}", "tags": ["a", "b"]})
        for n in range(9)
    ]
    built = FieldsText(FieldsParams(), Catalogue.of(items))
    assert built.text(items[0]) == "T0. a, b"
    assert built.left_out == {"url": "addresses"}
    # Nor of an item that comes later, whatever it holds.
    assert built.text(Item("new", {"title": "N", "url": "see the shop"})) == "N"
    everything = FieldsText(FieldsParams(identifiers=True), Catalogue.of(items))
    assert everything.text(items[0]) == "T0. a, b. https://x.example/0"
    chosen = FieldsText(FieldsParams(fields=("url",)), Catalogue.of(items))
    assert chosen.text(items[0]) == "https://x.example/0"
