"""Vectors of items' pictures: the item encoder ``picture``.

Pictures are files below one folder, named by an attribute; nothing is fetched. Libraries are imported when
the first picture is encoded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from recserve import Catalogue, Component, hookimpl
from recserve_image.parameters import PictureParams

if TYPE_CHECKING:
    from recserve_image.encoder import PictureEncoder

__all__ = ["PictureParams", "register_item_encoders"]


def picture_encoder(params: PictureParams, catalogue: Catalogue) -> PictureEncoder:
    """The encoder with these parameters."""
    from recserve_image.encoder import PictureEncoder

    return PictureEncoder(params)


@hookimpl
def register_item_encoders() -> Sequence[Component]:
    """The item encoder ``picture``."""
    return [
        Component(
            "picture",
            picture_encoder,
            PictureParams,
            summary="EfficientNet-Lite0 vectors of pictures that an attribute names, files below one folder.",
        )
    ]
