"""The learnt state of matrix factorisation: item factors and what fold-in needs to know. No users."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from recserve import BundleError, FloatArray, Int32Array
from recserve_mf.cell_index import CellIndex
from recserve_mf.ials import Objective, Problem, in_principal_axes

FACTORS_FILE = "item_factors.safetensors"
SETTINGS_FILE = "mf.json"
PLACES_FILE = "places.npy"
INDEX_FOLDER = "index"


@dataclass(frozen=True, slots=True)
class Model:
    """Item factors in principal axes with the constants of their training.

    Attributes:
        items: float32, shape (n_items, d), C order; zero rows where ``trained`` is False. In the order of the
            catalogue, or of ``index`` where there is one: see :meth:`vectors`.
        trained: bool, shape (n_items,); items with a positive event in training.
        objective: Hyper-parameters of the training objective.
        confidence_power: Exponent applied to a user's summed confidence in an item.
        confidence_unit: Mean damped confidence of training, the unit of confidence.
        half_life_events: When a user is folded in, an item counts half after this many later positive
            events, and after eight times as many not at all; 0 counts old and new alike.
        index: For catalogues that are too large to score every item.
        places: int32, shape (n_items,); where ``items`` holds each catalogue row; None without an index.
    """

    items: FloatArray
    trained: NDArray[np.bool_]
    objective: Objective
    confidence_power: float
    confidence_unit: float
    half_life_events: float = 0.0
    index: CellIndex | None = None
    places: Int32Array | None = None

    @classmethod
    def empty(cls, n_items: int, dimension: int, objective: Objective) -> Model:
        """A model that has learnt nothing."""
        items = np.zeros((n_items, dimension), dtype=np.float32)
        return cls(items, np.zeros(n_items, dtype=np.bool_), objective, 1.0, 1.0)

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
        return cls(spread, trained, objective, confidence_power, problem.confidence_unit)

    def vectors(self, rows: Int32Array) -> FloatArray:
        """Factors of catalogue rows (any shape), float32, shape ``rows.shape + (d,)``."""
        return self.items[rows] if self.places is None else self.items[self.places[rows]]

    def indexed(self, seed: int) -> Model:
        """The same with an index, not tuned yet."""
        index, order = CellIndex.build(self.items, self.trained, seed)
        places = np.empty(len(order), dtype=np.int32)
        places[order] = np.arange(len(order), dtype=np.int32)
        return replace(self, items=self.items[order], index=index, places=places)

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
        if self.index is not None and self.places is not None:
            (directory / INDEX_FOLDER).mkdir()
            self.index.save(directory / INDEX_FOLDER)
            np.save(directory / PLACES_FILE, self.places, allow_pickle=False)

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
        index, places = _read_index(directory, items)
        return cls(
            items,
            trained,
            objective,
            settings["confidence_power"],
            settings["confidence_unit"],
            settings["half_life_events"],
            index,
            places,
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


def _read_index(directory: Path, items: FloatArray) -> tuple[CellIndex | None, Int32Array | None]:
    """The index and the places of the catalogue's rows, if the model was saved with them."""
    path = directory / PLACES_FILE
    if not path.exists():
        return None, None
    index = CellIndex.load(directory / INDEX_FOLDER, items)
    try:
        places: Int32Array = np.load(path, mmap_mode="r", allow_pickle=False).view(np.ndarray)
    except (OSError, ValueError, EOFError) as error:
        raise BundleError(f"{path} cannot be read: {' '.join(str(error).split())}") from None
    if places.shape != (len(items),) or places.dtype != np.int32:
        raise BundleError(f"{path} was made for another catalogue")
    return index, places


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
