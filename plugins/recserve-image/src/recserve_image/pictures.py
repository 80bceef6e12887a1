"""Pictures as a network reads them: decoded, upright, scaled and cut to a square."""

from __future__ import annotations

import io

import numpy as np

from recserve import FloatArray

SIDE = 224
"""Pixels of a side of what the network reads."""

_SHORTER = 256
"""Pixels of the shorter side that a picture is scaled to before the middle is cut out."""

_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")


def read_picture(content: bytes, max_pixels: int) -> FloatArray | None:
    """Decode a picture.

    Args:
        content: Bytes of a JPEG, PNG, WebP, GIF (its first frame) or BMP file.
        max_pixels: More are not decoded: a small file may unpack to any size.

    Returns:
        float32, shape (3, SIDE, SIDE), red, green and blue from 0 to 255; None for what is no picture.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(io.BytesIO(content), formats=_FORMATS) as opened:
            width, height = opened.size
            if not 0 < width * height <= max_pixels:
                return None
            # JPEG can be decoded at a fraction of its size, which is many times faster.
            opened.draft("RGB", (_SHORTER, _SHORTER))
            upright = ImageOps.exif_transpose(opened).convert("RGB")
    except Exception:  # decoders raise errors of many kinds at broken files
        return None
    scale = _SHORTER / min(upright.size)
    wide, high = (max(SIDE, round(side * scale)) for side in upright.size)
    if wide * high > max_pixels:  # a thin strip
        return None
    left, top = (wide - SIDE) // 2, (high - SIDE) // 2
    square = upright.resize((wide, high), Image.Resampling.BICUBIC).crop((left, top, left + SIDE, top + SIDE))
    return np.asarray(square, dtype=np.float32).transpose(2, 0, 1)
