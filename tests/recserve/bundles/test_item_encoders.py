"""Vectors that item encoders compute at training: where none is given, each content once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from recserve import (
    Catalogue,
    Component,
    ConfigError,
    DataError,
    FloatArray,
    Item,
    ItemEncoder,
    NoParams,
    PluginError,
)
from recserve.bundles.catalogue_vectors import encode_items, item_fingerprints
from recserve.plugin.protocols import Stage
from recserve.plugin.resolved import Resolved


class FirstBytes:
    """The direction of the first three bytes of an attribute; ``broken`` is none, ``lost`` is not there."""

    dimension = 3
    fingerprint = "first-bytes:1"

    def __init__(self) -> None:
        self.encoded: list[bytes] = []

    def content(self, item: Item) -> bytes | None:
        named = item.attributes.get("image")
        if named == "lost":
            raise DataError(f"the picture of item {item.item_id!r} is lost")
        return None if named is None else str(named).encode()

    def encode(self, contents: Sequence[bytes]) -> FloatArray:
        self.encoded += contents
        rows = np.array([list(content[:3]) for content in contents], dtype=np.float32).reshape(-1, 3)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        rows[[content == b"broken" for content in contents]] = 0
        return rows


def resolved(encoder: Any, dimensions: int = 3) -> Any:
    component = Component("first_bytes", lambda params, catalogue: encoder)
    chosen = Resolved(Stage.ITEM_ENCODER, component, NoParams(), "test", "vectors.image.encoder")
    config = SimpleNamespace(space_dimensions={"image": dimensions})
    return SimpleNamespace(config=config, item_encoders={"image": chosen})


def encoded(encoder: Any, catalogue: Catalogue, home: Path) -> Catalogue:
    return encode_items(resolved(encoder), catalogue, home, lambda description, done, total: None)


NAMED = ["abc", "lost", None, "broken", "abc", "zzz"]
CATALOGUE = Catalogue.of(
    [Item(f"i{row}", {} if name is None else {"image": name}) for row, name in enumerate(NAMED)]
)


def test_what_has_a_content_has_a_vector_and_the_rest_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    encoder = FirstBytes()
    assert isinstance(encoder, ItemEncoder)
    space = encoded(encoder, CATALOGUE, tmp_path).spaces["image"]
    assert space.any(axis=1).tolist() == [True, False, False, False, True, True]
    np.testing.assert_array_equal(space[0], space[4])
    # Equal contents are encoded once.
    assert encoder.encoded == [b"abc", b"broken", b"zzz"]
    assert "the picture of item 'i1' is lost" in caplog.text
    assert "what item 'i3' names cannot be understood" in caplog.text


def test_only_new_contents_are_encoded_again(tmp_path: Path) -> None:
    first = encoded(FirstBytes(), CATALOGUE, tmp_path).spaces["image"]
    again = FirstBytes()
    renamed = Catalogue.of([*CATALOGUE.items(), Item("new", {"image": "new"})])
    space = encoded(again, renamed, tmp_path).spaces["image"]
    assert again.encoded == [b"broken", b"new"]
    np.testing.assert_array_equal(space[:-1], first)


def test_what_is_given_is_not_computed(tmp_path: Path) -> None:
    given = np.zeros((6, 3), dtype=np.float32)
    given[[0, 2]] = [0, 0, 1]
    encoder = FirstBytes()
    catalogue = CATALOGUE.with_spaces({"image": given, "audio": np.ones((6, 2), dtype=np.float32)})
    made = encoded(encoder, catalogue, tmp_path)
    assert made.spaces["image"][[0, 2]].tolist() == [[0, 0, 1]] * 2
    assert made.spaces["image"][4].tolist() != [0, 0, 1]
    assert made.spaces["audio"] is catalogue.spaces["audio"]
    assert not given[4].any(), "what was given is as it was"


def test_without_any_content_there_is_no_space(tmp_path: Path) -> None:
    assert encoded(FirstBytes(), Catalogue.of([Item("a")]), tmp_path).spaces == {}
    assert item_fingerprints(resolved(FirstBytes())) == {"image": "first-bytes:1"}


def test_an_encoder_of_another_width_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"vectors\.image\.dimensions is 4, .* 3 numbers"):
        encode_items(resolved(FirstBytes(), 4), CATALOGUE, tmp_path, lambda *shown: None)


@pytest.mark.parametrize("bad", [np.ones((3, 3)), np.ones((3, 2)), np.full((3, 3), np.nan)])
def test_an_encoder_that_breaks_its_promise_is_named(tmp_path: Path, bad: FloatArray) -> None:
    encoder = FirstBytes()
    encoder.encode = lambda contents: bad[: len(contents)]  # type: ignore[method-assign]
    with pytest.raises(PluginError, match="the item encoder returned vectors"):
        encoded(encoder, CATALOGUE, tmp_path)
