"""Catalogues: attributes as columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recserve import Catalogue
from recserve.data.columns.strings import PackedTexts


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


@given(st.data())
def test_products_are_those_of_the_vectors_however_many_are_asked_for(data: st.DataObject) -> None:
    n_items, batch, width = (data.draw(st.integers(1, most)) for most in (6, 3, 9))
    generator = np.random.default_rng(data.draw(st.integers(0, 99)))
    vectors = generator.standard_normal((n_items, 4)).astype(np.float32)
    extra = generator.standard_normal((2, 4)).astype(np.float32)
    catalogue = Catalogue([f"i{row}" for row in range(n_items)], vectors=vectors)
    directions = generator.standard_normal((batch, 4)).astype(np.float32)
    # -1 pads, and rows beyond the catalogue are live-encoded items or unknown.
    highest = n_items + data.draw(st.sampled_from([-1, 2]))
    rows = generator.integers(-1, highest + 1, (batch, width)).astype(np.int32)
    found = catalogue.products(rows, directions, extra)
    assert found.dtype == np.float32
    expected = np.einsum("bkd,bd->bk", catalogue.gather(rows, extra), directions)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
