"""The learnt state of matrix factorisation: item factors and what fold-in needs to know. No users."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from recserve import BundleError, ExactIndex, FloatArray, InvertedFileIndex, VectorIndex
from recserve_mf.solver.ials import Objective, Problem, in_principal_axes

FACTORS_FILE = "item_factors.safetensors"
SETTINGS_FILE = "mf.json"
# By measure: what users are compared with items by, and what items are compared with one another by.
INDEX_FOLDERS = {"product": "product_index", "cosine": "cosine_index"}
_REORDERED = "places.npy"  # an earlier index kept the factors in an order of its own


@dataclass(frozen=True, slots=True)
class Model:
    """Item factors in principal axes with the constants of their training.

    Attributes:
        items: float32, shape (n_items, d), C order; zero rows where ``trained`` is False.
        trained: bool, shape (n_items,); items with a positive event in training.
        objective: Hyper-parameters of the training objective.
        confidence_power: Exponent applied to a user's summed confidence in an item.
        confidence_unit: Mean damped confidence of training, the unit of confidence.
        half_life_events: When a user is folded in, an item counts half after this many later positive
            events, and after eight times as many not at all; 0 counts old and new alike.
        product: Index of ``items`` by inner product; exact unless there are too many to score them all.
        cosine: The same by cosine.
    """

    items: FloatArray
    trained: NDArray[np.bool_]
    objective: Objective
    confidence_power: float
    confidence_unit: float
    half_life_events: float
    product: VectorIndex
    cosine: VectorIndex

    @classmethod
    def empty(cls, n_items: int, dimension: int, objective: Objective) -> Model:
        """A model that has learnt nothing."""
        items = np.zeros((n_items, dimension), dtype=np.float32)
        return cls(items, np.zeros(n_items, dtype=np.bool_), objective, 1.0, 1.0, 0.0, *_exact(items))

    @classmethod
    def of(
        cls,
        problem: Problem,
        items: FloatArray,
        n_items: int,
        objective: Objective,
        confidence_power: float,
    ) -> Model:
        """Spread the factors of a problem's items over the whole catalogue."""
        spread = np.zeros((n_items, items.shape[1]), dtype=np.float32)
        spread[problem.items] = in_principal_axes(items)
        trained = np.zeros(n_items, dtype=np.bool_)
        trained[problem.items] = True
        unit = problem.confidence_unit
        return cls(spread, trained, objective, confidence_power, unit, 0.0, *_exact(spread))

    def save(self, directory: Path) -> None:
        """Write the files of the model; equal models give equal bytes."""
        save_file(
            {"items": np.ascontiguousarray(self.items), "trained": self.trained},
            directory / FACTORS_FILE,
        )
        settings = {
            "unobserved_weight": self.objective.unobserved_weight,
            "regularization": self.objective.regularization,
            "nu": self.objective.nu,
            "confidence_power": self.confidence_power,
            "confidence_unit": self.confidence_unit,
            "half_life_events": self.half_life_events,
        }
        text = json.dumps(settings, sort_keys=True, indent=1)
        (directory / SETTINGS_FILE).write_text(text + "\n", encoding="utf-8")
        for index, folder in zip((self.product, self.cosine), INDEX_FOLDERS.values(), strict=True):
            if isinstance(index, InvertedFileIndex):
                (directory / folder).mkdir()
                index.save(directory / folder)

    @classmethod
    def load(cls, directory: Path, n_items: int) -> Model:
        """Read what :meth:`save` wrote.

        Raises:
            BundleError: A file is missing, damaged, or made for another catalogue.
        """
        settings = _read_settings(directory / SETTINGS_FILE)
        path = directory / FACTORS_FILE
        try:
            with safe_open(path, framework="numpy") as file:
                trained, stored = file.get_tensor("trained"), file.get_slice("items")
                shape, kind = stored.get_shape(), stored.get_dtype()
        except (OSError, SafetensorError) as error:
            raise BundleError(f"{path} cannot be read: {' '.join(str(error).split())}") from None
        if len(shape) != 2 or kind != "F32" or shape[1] == 0:
            raise BundleError(f"{path} does not hold a float32 matrix of item factors")
        if shape[0] != n_items or trained.shape != (n_items,) or trained.dtype != np.bool_:
            raise BundleError(f"{path} was made for {shape[0]} items, but the catalogue has {n_items}")
        items = _mapped(path, "items", (shape[0], shape[1]))
        if not np.isfinite(np.einsum("nd,nd->", items, items, dtype=np.float64)):
            raise BundleError(f"{path} holds values that are not finite")
        objective = Objective(settings["unobserved_weight"], settings["regularization"], settings["nu"])
        return cls(
            items,
            trained,
            objective,
            settings["confidence_power"],
            settings["confidence_unit"],
            settings["half_life_events"],
            *_read_indexes(directory, items),
        )


def _mapped(path: Path, name: str, shape: tuple[int, int]) -> FloatArray:
    """A float32 tensor of a checked safetensors file, so that processes share one copy in memory."""
    if 0 in shape:
        return np.zeros(shape, dtype=np.float32)
    with path.open("rb") as file:
        header_bytes = int.from_bytes(file.read(8), "little")
        start = json.loads(file.read(header_bytes))[name]["data_offsets"][0]
    found = np.memmap(path, np.float32, mode="r", offset=8 + header_bytes + start, shape=shape)
    return found.view(np.ndarray)


def _exact(items: FloatArray) -> tuple[VectorIndex, VectorIndex]:
    return ExactIndex(items), ExactIndex(items, cosine=True)


def _read_indexes(directory: Path, items: FloatArray) -> tuple[VectorIndex, VectorIndex]:
    """The indexes that the model was saved with."""
    if (directory / _REORDERED).exists():
        raise BundleError(f"{directory} was written by a version with another index; train again")
    product, cosine = (directory / folder for folder in INDEX_FOLDERS.values())
    if not product.exists() and not cosine.exists():
        return _exact(items)
    return InvertedFileIndex.load(product, items), InvertedFileIndex.load(cosine, items)


def _read_settings(path: Path) -> dict[str, float]:
    names = ("unobserved_weight", "regularization", "nu", "confidence_power", "confidence_unit")
    try:
        raw: Any = json.loads(path.read_text(encoding="utf-8"))
        settings = {name: float(raw[name]) for name in names}
        # Bundles of before there was such a thing lack it.
        settings["half_life_events"] = float(raw.get("half_life_events", 0.0))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise BundleError(f"{path} cannot be read: {' '.join(str(error).split())}") from None
    bad = [name for name in settings if not (np.isfinite(settings[name]) and settings[name] >= 0)]
    if bad or settings["confidence_unit"] == 0:
        raise BundleError(f"{path}: {bad[0] if bad else 'confidence_unit'} has an impossible value")
    return settings
