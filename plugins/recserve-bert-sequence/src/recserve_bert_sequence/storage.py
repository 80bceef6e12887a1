"""What a bundle keeps of ``bert_sequence``: safetensors and JSON. Equal models give byte-equal files."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from recserve import BundleError, read_array
from recserve_bert_sequence.network import Network
from recserve_bert_sequence.popularity import Popularity

_WEIGHTS = "network.safetensors"
_DESCRIPTION = "model.json"
_POPULARITY = "popularity.npy"
_GUESS = "popularity_by_text.npy"
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Stored:
    """Everything a bundle keeps of the model; nothing in it belongs to one user.

    Attributes:
        network: Reads events.
        popularity: Of the items.
        window: Newest events of a user that are read.
        bce: Learnt by binary cross-entropy, so that a logit stands for itself.
        anchor_event: Event type that an anchor is read as.
        ready: Whether there was anything to learn from.
    """

    network: Network
    popularity: Popularity
    window: int
    bce: bool
    anchor_event: int
    ready: bool


def write(stored: Stored, directory: Path) -> None:
    """Write into an existing empty directory."""
    network = stored.network
    description = {
        "format": _FORMAT,
        "dimension": network.projection.in_features,
        "event_types": network.event_types.num_embeddings - 1,
        "width": network.lstm.hidden_size,
        "layers": network.lstm.num_layers,
        "window": stored.window,
        "bce": stored.bce,
        "anchor_event": stored.anchor_event,
        "ready": stored.ready,
    }
    tensors = {name: tensor.contiguous() for name, tensor in sorted(network.state_dict().items())}
    save_file(tensors, directory / _WEIGHTS)
    np.save(directory / _POPULARITY, stored.popularity.values, allow_pickle=False)
    np.save(directory / _GUESS, stored.popularity.weights, allow_pickle=False)
    text = json.dumps(description, sort_keys=True, indent=1)
    (directory / _DESCRIPTION).write_text(text + "\n", encoding="utf-8")


def read(directory: Path, n_items: int, dimension: int) -> Stored:
    """Read what :func:`write` wrote.

    Args:
        directory: Where.
        n_items: Items of the catalogue.
        dimension: Length of the catalogue's text vectors.

    Raises:
        BundleError: A file is missing, damaged, or belongs to vectors of another length.
    """
    for name in (_DESCRIPTION, _WEIGHTS, _POPULARITY, _GUESS):
        if not (directory / name).exists():
            raise BundleError(f"bert_sequence: {name} is missing from the bundle; train again")
    try:
        found = json.loads((directory / _DESCRIPTION).read_text(encoding="utf-8"))
        if found["format"] != _FORMAT:
            raise BundleError(
                f"bert_sequence: format {found['format']} was written by another version; train again"
            )
        if found["dimension"] != dimension:
            raise BundleError(
                f"bert_sequence: trained on text vectors of length {found['dimension']}, those of the "
                f"catalogue have {dimension}; train again"
            )
        network = Network.blank(dimension, found["event_types"], found["width"], found["layers"])
        network.load_state_dict(load_file(directory / _WEIGHTS))
        popularity = Popularity(
            read_array(directory / _POPULARITY, np.float32, (n_items,)),
            read_array(directory / _GUESS, np.float32, (dimension + 1,)),
        )
        return Stored(
            network,
            popularity,
            window=int(found["window"]),
            bce=bool(found["bce"]),
            anchor_event=int(found["anchor_event"]),
            ready=bool(found["ready"]),
        )
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        cause = " ".join(str(error).split())
        raise BundleError(f"bert_sequence: the bundle is damaged ({cause}); train again") from None
