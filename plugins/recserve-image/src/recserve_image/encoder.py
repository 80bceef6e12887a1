"""The item encoder ``picture``."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from recserve import ConfigError, DataError, FloatArray, Item
from recserve_image.network import DIMENSION, FINGERPRINT, Network
from recserve_image.parameters import PictureParams
from recserve_image.pictures import SIDE, read_picture

_BATCH = 16


class PictureEncoder:
    """EfficientNet-Lite0 vectors of pictures in a folder. Safe to use from several threads.

    Args:
        params: See :class:`recserve_image.parameters.PictureParams`.

    Raises:
        ConfigError: There is no such folder.
    """

    def __init__(self, params: PictureParams) -> None:
        self._params = params
        self._folder = Path(params.folder).expanduser().resolve()
        self._lock = threading.Lock()
        self._network: Network | None = None
        if not self._folder.is_dir():
            raise ConfigError(f"folder {params.folder!r} of the pictures is no folder", field="folder")

    @property
    def dimension(self) -> int:
        """Length d of a vector."""
        return DIMENSION

    @property
    def fingerprint(self) -> str:
        """Identifies weights, the layer that is read, and how pictures are scaled."""
        return f"{FINGERPRINT}:{SIDE}"

    def content(self, item: Item) -> bytes | None:
        """The bytes of the item's picture, None where its attribute is empty.

        Raises:
            DataError: The attribute is no path of a file below the folder, or the file is too large.
        """
        named = item.attributes.get(self._params.attribute)
        if named is None or named == "":
            return None
        of = f"the picture of item {item.item_id[:80]!r}"
        if not isinstance(named, str) or "\x00" in named or "://" in named:
            raise DataError(f"{of} is not named by the path of a file below the configured folder")
        try:
            path = (self._folder / named).resolve()
            if not path.is_relative_to(self._folder):
                raise DataError(f"{of} lies outside of the configured folder")
            if not path.is_file():
                raise DataError(f"{of} is no file: {named[:200]!r}")
            with path.open("rb") as file:
                content = file.read(self._params.max_bytes + 1)
        except (OSError, RuntimeError) as error:  # such as a loop of links, or a name that is too long
            cause = getattr(error, "strerror", None) or type(error).__name__
            raise DataError(f"{of} cannot be read: {cause}") from None
        if len(content) > self._params.max_bytes:
            raise DataError(f"{of} has more than {self._params.max_bytes:,} bytes")
        return content

    def encode(self, contents: Sequence[bytes]) -> FloatArray:
        """Vectors of pictures.

        Returns:
            float32, shape (n, d), unit rows; zeros for what is no picture, or one of too many pixels.
        """
        vectors = np.zeros((len(contents), DIMENSION), dtype=np.float32)
        for start in range(0, len(contents), _BATCH):
            pictures = [
                read_picture(content, self._params.max_pixels) for content in contents[start : start + _BATCH]
            ]
            good = [row for row, picture in enumerate(pictures) if picture is not None]
            if good:
                pixels = np.stack([picture for picture in pictures if picture is not None])
                vectors[[start + row for row in good]] = self._opened().encode(pixels)
        return vectors

    def _opened(self) -> Network:
        with self._lock:
            if self._network is None:
                self._network = Network()
            return self._network
