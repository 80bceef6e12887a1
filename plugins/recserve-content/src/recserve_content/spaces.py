"""Several vector spaces of items side by side: texts, and named ones such as pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recserve import Catalogue
from recserve_content.space import TextSpace

_CHUNK = 8192


@dataclass(frozen=True, slots=True)
class NamedSpace:
    """A named space as the features of items hold it.

    Attributes:
        name: Its name, such as ``image``.
        space: Its decorrelated vectors.
        weight: What its cosine counts, where that of texts counts 1.
    """

    name: str
    space: TextSpace
    weight: float


@dataclass(frozen=True, slots=True)
class ItemSpace:
    """Unit features whose cosine is the weighted mean of those in all spaces.

    An item's features are its unit vectors of all spaces beside each other, each times the root of its
    space's weight, scaled to unit length. In a space that an item has no vector of it has zeros, and the
    others make up its whole length: nothing counts against it.

    Attributes:
        text: The space of texts.
        others: Named spaces, in the order of their names; empty for features of texts alone.
    """

    text: TextSpace
    others: tuple[NamedSpace, ...] = ()

    @property
    def rank(self) -> int:
        """Length R of the features."""
        return self.text.rank + sum(other.space.rank for other in self.others)

    def project(
        self, texts: NDArray[np.float32], named: Mapping[str, NDArray[np.float32]]
    ) -> NDArray[np.float32]:
        """Features of items.

        Args:
            texts: float32, shape (..., d); text vectors, zero rows where there is none.
            named: The same of each other space, by name.

        Returns:
            float32, shape (..., R); unit rows, zeros where nothing is known.
        """
        parts = {other.name: other.space.project(named[other.name]) for other in self.others}
        return self.joined(self.text.project(texts), parts)

    def project_all(self, catalogue: Catalogue) -> NDArray[np.float32]:
        """:meth:`project` for all items of a catalogue, a block of rows at a time."""
        vectors = catalogue.vectors
        assert vectors is not None, "the retriever needs a catalogue with vectors"
        if not self.others:
            return self.text.project_all(vectors)
        out = np.empty((len(vectors), self.rank), dtype=np.float32)
        for start in range(0, len(vectors), _CHUNK):
            block = slice(start, start + _CHUNK)
            named = {other.name: np.asarray(catalogue.spaces[other.name][block]) for other in self.others}
            out[block] = self.project(np.asarray(vectors[block]), named)
        return out

    def joined(
        self, texts: NDArray[np.float32], named: Mapping[str, NDArray[np.float32]]
    ) -> NDArray[np.float32]:
        """Features out of vectors that are projected already; arguments and result as :meth:`project`."""
        if not self.others:
            return texts
        parts = [texts, *(np.float32(np.sqrt(other.weight)) * named[other.name] for other in self.others)]
        features: NDArray[np.float32] = np.concatenate(parts, axis=-1)
        length = np.linalg.norm(features, axis=-1, keepdims=True)
        features /= np.where(length > 1e-9, length, 1)
        return features
