"""Files of a fitted model: weights, item vectors, popularity and a description.

Equal models give byte-equal files. Item vectors are a plain ``.npy``, so that the replicas of a node
map one copy of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from recserve import BundleError, InvertedFileIndex
from recserve_sequence.network import MakeNetwork, SequenceNetwork, Shape, blank

_WEIGHTS = "network.safetensors"
_ITEMS = "items.npy"
_POPULARITY = "popularity.npy"
_DESCRIPTION = "model.json"
_INDEX = "index"
_FORMAT = 2
_WITHOUT_TASTE = 1  # still read, so that a server can go back to a bundle of before
_WINDOW_THEN = 50


@dataclass(frozen=True, slots=True)
class Stored:
    """Everything a bundle keeps of the model; nothing in it belongs to one user.

    Attributes:
        network: What reads events.
        matrix: float32, shape (n_items, width); item vectors.
        popularity: float32, shape (n_items,); log(1 + positive events).
        window: Newest events of a user that are read.
        ready: Whether there was any sequence to learn from.
        anchor_event: Event type that an anchor is read as.
        blend: JSON-like form of the blend; None when it was never learnt.
        index: Of ``matrix``, where there are too many items to score them all.
    """

    network: SequenceNetwork
    matrix: NDArray[np.float32]
    popularity: NDArray[np.float32]
    window: int
    ready: bool
    anchor_event: int
    blend: Mapping[str, Any] | None
    index: InvertedFileIndex | None = None


def write(stored: Stored, directory: Path) -> None:
    """Write into an existing empty directory."""
    network = stored.network
    shape = network.shape
    description = {
        "format": _FORMAT,
        "width": shape.width,
        "window": stored.window,
        "text_dimension": shape.text_dimension,
        "event_types": shape.n_event_types,
        "ready": stored.ready,
        "anchor_event": stored.anchor_event,
        "blend": stored.blend,
    }
    tensors = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    save_file({name: tensors[name] for name in sorted(tensors)}, directory / _WEIGHTS)
    np.save(directory / _ITEMS, np.ascontiguousarray(stored.matrix), allow_pickle=False)
    np.save(directory / _POPULARITY, stored.popularity, allow_pickle=False)
    text = json.dumps(description, sort_keys=True, indent=1)
    (directory / _DESCRIPTION).write_text(text + "\n", encoding="utf-8")
    if stored.index is not None:
        (directory / _INDEX).mkdir()
        stored.index.save(directory / _INDEX)


def read(name: str, make: MakeNetwork, directory: Path, n_items: int, text_dimension: int) -> Stored:
    """Read what :func:`write` wrote.

    Args:
        name: Of the component, for errors.
        make: Makes the network that was written.
        directory: Where.
        n_items: Items of the catalogue it must fit.
        text_dimension: Length of the catalogue's text vectors as the component uses them, 0 for none.

    Raises:
        BundleError: A file is missing, damaged, or belongs to another catalogue.
    """
    for file in (_DESCRIPTION, _ITEMS, _POPULARITY, _WEIGHTS):
        if not (directory / file).exists():
            raise BundleError(f"{name}: {file} is missing from the bundle; train again")
    try:
        return _read(name, make, directory, n_items, text_dimension)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, EOFError) as error:
        cause = " ".join(str(error).split())
        raise BundleError(f"{name}: the bundle is damaged ({cause}); train again") from None
    except SafetensorError as error:
        raise BundleError(
            f"{name}: {_WEIGHTS} is damaged ({' '.join(str(error).split())}); train again"
        ) from None


def _read(name: str, make: MakeNetwork, directory: Path, n_items: int, text_dimension: int) -> Stored:
    description = json.loads((directory / _DESCRIPTION).read_text(encoding="utf-8"))
    if description["format"] not in (_FORMAT, _WITHOUT_TASTE):
        raise BundleError(
            f"{name}: format {description['format']} was written by another version; train again"
        )
    width = int(description["width"])
    if int(description["text_dimension"]) != text_dimension:
        raise BundleError(
            f"{name}: trained on text vectors of length {description['text_dimension']}, the "
            f"catalogue has {text_dimension} (0 = none); train again"
        )
    # Copy-on-write: pages stay shared between processes, and torch gets the writable array it wants.
    matrix = _array(name, directory / _ITEMS, (n_items, width), mapped=n_items > 0)
    popularity = _array(name, directory / _POPULARITY, (n_items,), mapped=False)
    network = blank(make, Shape(text_dimension, int(description["event_types"]), width))
    weights = load_file(directory / _WEIGHTS)
    if description["format"] == _WITHOUT_TASTE:
        weights["taste.scale"] = torch.zeros_like(network.get_parameter("taste.scale"))
    network.load_state_dict(weights)
    return Stored(
        network=network,
        matrix=matrix,
        popularity=popularity,
        window=int(description.get("window", _WINDOW_THEN)),
        ready=bool(description["ready"]),
        anchor_event=int(description["anchor_event"]),
        blend=description["blend"],
        index=InvertedFileIndex.load(directory / _INDEX, matrix) if (directory / _INDEX).exists() else None,
    )


def _array(name: str, path: Path, shape: tuple[int, ...], *, mapped: bool) -> NDArray[np.float32]:
    array: NDArray[np.float32] = np.load(path, mmap_mode="c" if mapped else None, allow_pickle=False)
    if array.shape != shape or array.dtype != np.float32:
        raise BundleError(
            f"{name}: {path.name} has shape {array.shape}, the catalogue asks for {shape}; train again"
        )
    return array
