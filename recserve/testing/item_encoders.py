"""Conformance of item encoders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from recserve.data.arrays import FloatArray
from recserve.data.entities import Item
from recserve.plugin.protocols import ItemEncoder, Stage
from recserve.testing.checks import build


def check_item_encoder(name: str, items: Sequence[Item], **params: Any) -> FloatArray:
    """An item encoder gives unit vectors that depend on the content alone, and zeros for what it cannot read.

    Args:
        name: Its registered name.
        items: Items, at least one of which has a content.
        **params: Its parameters.

    Returns:
        float32, shape (n, d); vectors of ``items``, zeros where one has no content.
    """
    built = build(Stage.ITEM_ENCODER, name, params)
    assert isinstance(built, ItemEncoder)
    contents = [built.content(item) for item in items]
    assert built.content(Item("bare")) is None
    there = [content for content in contents if content is not None]
    assert there
    encoded = built.encode([*there, b"", *reversed(there)])
    assert encoded.shape == (2 * len(there) + 1, built.dimension)
    assert encoded.dtype == np.float32
    assert not encoded[len(there)].any()
    np.testing.assert_allclose(encoded[: len(there)], encoded[: len(there) : -1], atol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(encoded[: len(there)], axis=1), 1.0, rtol=1e-3)
    assert built.encode([]).shape == (0, built.dimension)
    assert built.fingerprint == build(Stage.ITEM_ENCODER, name, params).fingerprint
    vectors = np.zeros((len(items), built.dimension), dtype=np.float32)
    vectors[[content is not None for content in contents]] = encoded[: len(there)]
    return vectors
