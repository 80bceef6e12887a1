"""Catalogues: attributes as columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from recserve import Catalogue
from recserve.texts import PackedTexts


class Counted(list[str]):
    """Attributes that know how often they were read from one end to the other."""

    passes = 0

    def __iter__(self) -> Iterator[str]:
        self.passes += 1
        return super().__iter__()


TEXTS = [
    '{"kind": "film", "tags": ["a", "b"], "n": 1}',
    '{"kind": "film", "tags": ["b", 2, null], "n": true}',
    '{"kind": null, "tags": "a", "n": -0.0}',
    "{}",
]


@pytest.mark.parametrize("texts", [TEXTS, PackedTexts(TEXTS)])
def test_columns_are_what_the_items_say(texts: Sequence[str]) -> None:
    catalogue = Catalogue("abcd", texts)
    columns = catalogue.columns(("kind", "tags", "other", "kind"))
    assert {name: list(column) for name, column in columns.items()} == {
        "kind": ["film", "film", None, None],
        "tags": [["a", "b"], ["b", 2, None], "a", None],
        "other": [None, None, None, None],
    }
    numbers = catalogue.column("n")
    assert [repr(number) for number in numbers] == ["1", "True", "-0.0", "None"]
    assert catalogue.attribute_names == {"kind", "tags", "n"}


def test_attributes_are_read_once_and_not_at_all_for_what_no_item_has() -> None:
    texts = Counted(TEXTS)
    catalogue = Catalogue("abcd", texts)
    catalogue.columns(("kind", "other"))
    assert texts.passes == 1
    assert list(catalogue.column("another")) == [None] * 4
    assert catalogue.columns(("kind", "other", "attribute"))["kind"][0] == "film"
    assert "n" in catalogue.attribute_names
    assert texts.passes == 1
    catalogue.columns(("n", "tags"))
    assert texts.passes == 2


def test_an_empty_catalogue_has_no_attributes() -> None:
    assert list(Catalogue().column("kind")) == []
    assert Catalogue().attribute_names == frozenset()
