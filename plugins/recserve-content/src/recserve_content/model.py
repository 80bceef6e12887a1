"""The learnt state of the retriever and how it is kept in a bundle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recserve import BundleError, Catalogue, InvertedFileIndex
from recserve_content.space import TextSpace
from recserve_content.spaces import ItemSpace, NamedSpace

_STATE = "state.safetensors"
_ITEMS = "items.npy"
_FACTS = "content.json"
_INDEX = "index"
SPACES = "spaces"
"""Name of the fact that holds the weights of named spaces."""

# Ridge of the prior that a text lets expect, relative to the mean variance of a text feature.
_PRIOR_RIDGE = 0.1


@dataclass(frozen=True)
class Model:
    """Learnt state of the retriever: text space, prior and affinity.

    Attributes:
        space: The space of profiles and items: that of texts, and named ones that help.
        items: float32, shape (n_items, r + 1), possibly memory-mapped: unit features and the popularity
            prior.
        affinity: float32, shape (H * (r + 1) + 1, r + 1): from the averages of the history (one a
            half-life, then a 1) to weights of item features; None when nothing was learnt.
        covariance: float32, shape (r + 1, r + 1): of the item features, for standardising.
        mean: float32, shape (r + 1,): of the item features.
        affinity_weight: 0 where held-out events showed the affinity to be useless, else 1.
        blend: Weight of the best interest.
        index: Of ``items``, where there are too many to score them all.
    """

    space: ItemSpace
    items: NDArray[np.float32]
    affinity: NDArray[np.float32] | None
    covariance: NDArray[np.float32]
    mean: NDArray[np.float32]
    affinity_weight: float
    blend: float
    index: InvertedFileIndex | None = None

    @classmethod
    def plain(cls, catalogue: Catalogue) -> Model:
        """What can be said before anything is learnt: similarity of texts alone."""
        vectors = catalogue.vectors
        if vectors is None:
            raise ValueError("the retriever 'content' needs a catalogue with vectors")
        space = ItemSpace(TextSpace.learn(vectors, catalogue.dimension))
        prior = np.zeros(len(catalogue), dtype=np.float32)
        return cls.of(space, space.project_all(catalogue), prior, None, 0.0, 1.0)

    @classmethod
    def of(
        cls,
        space: ItemSpace,
        projected: NDArray[np.float32],
        prior: NDArray[np.float32],
        affinity: NDArray[np.float32] | None,
        affinity_weight: float,
        blend: float,
    ) -> Model:
        """Assemble a model; ``projected`` is float32 (n_items, r), ``prior`` float32 (n_items,)."""
        items = np.concatenate([projected, prior[:, None]], axis=1)
        mean = items.mean(axis=0, dtype=np.float64)
        gram = np.zeros((items.shape[1], items.shape[1]), dtype=np.float64)
        for start in range(0, len(items), 8192):
            block = items[start : start + 8192]
            gram += block.T @ block
        covariance = gram / max(len(items), 1) - np.outer(mean, mean)
        return cls(
            space,
            items,
            affinity,
            covariance.astype(np.float32),
            mean.astype(np.float32),
            affinity_weight,
            blend,
        )

    def affinity_rows(self, averages: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Item-feature weights whose scores have mean 0 and standard deviation 1 over the items.

        Args:
            averages: float32, shape (B, H * (r + 1)).

        Returns:
            rows float32 (B, r + 1) and the offset float32 (B, 1) to subtract from the scores.
        """
        if self.affinity is None:
            empty = np.zeros((len(averages), self.items.shape[1]), dtype=np.float32)
            return empty, empty[:, :1]
        rows = averages @ self.affinity[:-1] + self.affinity[-1]
        variance = ((rows @ self.covariance) * rows).sum(axis=1, keepdims=True)
        rows = rows * (self.affinity_weight / np.sqrt(np.maximum(variance, 1e-12)))
        return rows, rows @ self.mean[:, None]

    @cached_property
    def _prior_weights(self) -> NDArray[np.float32]:
        """Least squares of the prior on the text, float32, shape (r,), out of their covariance."""
        within = self.covariance[:-1, :-1].astype(np.float64)
        ridge = _PRIOR_RIDGE * max(float(np.trace(within)) / len(within), 1e-12)
        solved = np.linalg.solve(within + ridge * np.eye(len(within)), self.covariance[:-1, -1])
        return solved.astype(np.float32)

    def features_of(
        self, vectors: NDArray[np.float32], named: Mapping[str, NDArray[np.float32]] | None = None
    ) -> NDArray[np.float32]:
        """Features of items that nobody has met, with the prior that they let expect.

        Args:
            vectors: float32, shape (M, d); text vectors.
            named: float32, shape (M, d) with a d of each named space of :attr:`space`; zeros where there is
                none.

        Returns:
            float32, shape (M, r + 1).
        """
        projected = self.space.project(vectors, named or {})
        prior = self.mean[-1] + (projected - self.mean[:-1]) @ self._prior_weights
        return np.concatenate([projected, prior[:, None].astype(np.float32)], axis=1)

    def save(self, directory: Path, facts: Mapping[str, Any]) -> None:
        """Write the model; equal models give equal bytes."""
        from safetensors.numpy import save_file

        tensors = {
            "basis": self.space.text.basis,
            "covariance": self.covariance,
            "item_mean": self.mean,
            "text_mean": self.space.text.mean,
        }
        for other in self.space.others:
            tensors[f"basis.{other.name}"] = other.space.basis
            tensors[f"mean.{other.name}"] = other.space.mean
        if self.affinity is not None:
            tensors["affinity"] = self.affinity
        save_file(tensors, directory / _STATE)
        np.save(directory / _ITEMS, self.items, allow_pickle=False)
        known = {**facts, "affinity_weight": self.affinity_weight, "blend": self.blend}
        (directory / _FACTS).write_text(json.dumps(known, sort_keys=True, indent=1) + "\n")
        if self.index is not None:
            (directory / _INDEX).mkdir()
            self.index.save(directory / _INDEX)

    @classmethod
    def load(cls, directory: Path, catalogue: Catalogue) -> tuple[Model, dict[str, Any]]:
        """Read what :meth:`save` wrote; item features stay on disk, memory-mapped.

        Raises:
            BundleError: A file is missing, damaged or does not fit the catalogue.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            state = load_file(directory / _STATE)
            items = np.load(directory / _ITEMS, mmap_mode="r", allow_pickle=False).view(np.ndarray)
            facts = json.loads((directory / _FACTS).read_text(encoding="utf-8"))
            model = cls(
                ItemSpace(
                    TextSpace(state["text_mean"], state["basis"]),
                    tuple(
                        NamedSpace(
                            name, TextSpace(state[f"mean.{name}"], state[f"basis.{name}"]), float(weight)
                        )
                        for name, weight in sorted(facts.get(SPACES, {}).items())
                        if weight > 0
                    ),
                ),
                items,
                state.get("affinity"),
                state["covariance"],
                state["item_mean"],
                float(facts["affinity_weight"]),
                float(facts["blend"]),
            )
        except (OSError, ValueError, KeyError, TypeError, EOFError, SafetensorError) as error:
            raise BundleError(f"content retriever in {directory}: {' '.join(str(error).split())}") from None
        expected = (len(catalogue), model.space.rank + 1)
        if items.shape != expected or model.space.text.mean.shape != (catalogue.dimension,):
            raise BundleError(
                f"content retriever in {directory}: features of shape {items.shape} do not fit a "
                f"catalogue of {len(catalogue)} items with {catalogue.dimension}-d vectors"
            )
        for other in model.space.others:
            given = catalogue.spaces.get(other.name)
            if given is None or given.shape[1:] != other.space.mean.shape:
                raise BundleError(
                    f"content retriever in {directory}: the catalogue has no vectors of the space "
                    f"{other.name} with {len(other.space.mean)} dimensions"
                )
        if (directory / _INDEX).exists():
            model = replace(model, index=InvertedFileIndex.load(directory / _INDEX, items))
        return model, facts
