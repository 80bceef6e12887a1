"""Files of a fitted model: they come back as they were, and nothing else is taken for them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from recserve_bert_lstm.network import LstmNetwork
from recserve_sequence.network import Shape, blank
from recserve_sequence.storage import Stored, read, write

from recserve import BundleError

N_ITEMS, WIDTH, TEXT, EVENT_TYPES = 7, 8, 5, 3


@pytest.fixture
def stored() -> Stored:
    torch.manual_seed(0)
    network = blank(LstmNetwork, Shape(TEXT, EVENT_TYPES, WIDTH))
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter)
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(N_ITEMS, WIDTH)).astype(np.float32)
    return Stored(network, matrix, rng.random(N_ITEMS).astype(np.float32), 20, True, 1, {"sources": []})


@pytest.fixture
def folder(stored: Stored, tmp_path: Path) -> Path:
    write(stored, tmp_path)
    return tmp_path


def test_a_model_comes_back_as_it_was(stored: Stored, folder: Path) -> None:
    found = read("bert_lstm", LstmNetwork, folder, N_ITEMS, TEXT)
    np.testing.assert_array_equal(found.matrix, stored.matrix)
    np.testing.assert_array_equal(found.popularity, stored.popularity)
    assert replace(found, network=None, matrix=None, popularity=None) == replace(
        stored, network=None, matrix=None, popularity=None
    )
    expected = stored.network.state_dict()
    weights = found.network.state_dict()
    assert weights.keys() == expected.keys()
    assert all(torch.equal(weights[name], expected[name]) for name in weights)


def test_the_matrix_is_mapped_and_the_file_stays_as_it_is(folder: Path) -> None:
    before = (folder / "items.npy").read_bytes()
    matrix = read("bert_lstm", LstmNetwork, folder, N_ITEMS, TEXT).matrix
    assert isinstance(matrix, np.memmap)
    matrix[:] = 0
    assert (folder / "items.npy").read_bytes() == before


def test_equal_models_give_equal_bytes(stored: Stored, folder: Path, tmp_path_factory) -> None:
    other = tmp_path_factory.mktemp("other")
    write(read("bert_lstm", LstmNetwork, folder, N_ITEMS, TEXT), other)
    names = sorted(path.name for path in folder.iterdir())
    assert names == sorted(path.name for path in other.iterdir())
    assert all((folder / name).read_bytes() == (other / name).read_bytes() for name in names)


@pytest.mark.parametrize(
    ("n_items", "text", "message"),
    [(N_ITEMS + 1, TEXT, "items.npy has shape"), (N_ITEMS, TEXT + 1, "text vectors of length 5")],
)
def test_a_model_of_another_catalogue_is_refused(folder: Path, n_items: int, text: int, message: str) -> None:
    with pytest.raises(BundleError, match=message):
        read("bert_lstm", LstmNetwork, folder, n_items, text)


@pytest.mark.parametrize("name", ["network.safetensors", "items.npy", "popularity.npy", "model.json"])
def test_missing_and_damaged_files_are_named(folder: Path, name: str) -> None:
    path = folder / name
    path.write_bytes(path.read_bytes()[:30])
    with pytest.raises(BundleError, match="damaged"):
        read("bert_lstm", LstmNetwork, folder, N_ITEMS, TEXT)
    path.unlink()
    with pytest.raises(BundleError, match=f"{name} is missing"):
        read("bert_lstm", LstmNetwork, folder, N_ITEMS, TEXT)


def test_a_format_of_the_future_is_refused(folder: Path) -> None:
    path = folder / "model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 99}))
    with pytest.raises(BundleError, match="format 99 was written by another version"):
        read("bert_lstm", LstmNetwork, folder, N_ITEMS, TEXT)
