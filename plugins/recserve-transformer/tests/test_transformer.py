"""The component: contracts of both stages, what it learns, what its parameters allow."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from recserve_sequence.network import Shape, blank
from recserve_transformer import register_rankers, register_retrievers
from recserve_transformer.model import Transformer
from recserve_transformer.parameters import TransformerParams

from recserve import BundleError, Candidates, Catalogue, ConfigError, Dataset, FitContext, Queries, Vocabulary
from recserve.testing import check_ranker, check_retriever

N_ITEMS, N_USERS, LENGTH = 20, 80, 10


def cycles() -> Dataset:
    """Item i is always followed by item i + 1 (modulo the number of items)."""
    random = np.random.default_rng(0)
    vectors = random.standard_normal((N_ITEMS, 8)).astype(np.float32)
    starts = random.integers(0, N_ITEMS, N_USERS)
    steps = np.arange(LENGTH)[:, None]
    count = N_USERS * LENGTH
    return Dataset(
        Catalogue([f"i{row}" for row in range(N_ITEMS)], vectors=vectors),
        Vocabulary(f"u{user}" for user in range(N_USERS)),
        np.tile(np.arange(N_USERS, dtype=np.int32), LENGTH),
        ((starts + steps) % N_ITEMS).astype(np.int32).ravel(),
        np.zeros(count, dtype=np.int16),
        np.ones(count, dtype=np.float32),
        (steps * np.ones(N_USERS, dtype=np.int64) * 3_600_000).ravel(),
        ("view",),
    )


def fitted(data: Dataset, **more: object) -> Transformer:
    chosen = {"width": 16, "dropout": 0.0, "epochs": 20, "batch_events": 150, "learning_rate": 0.01}
    model = Transformer(TransformerParams.model_validate({**chosen, **more}), data.catalogue)
    model.fit(
        data, FitContext(seed=3, event_types=("view",), threads=1, device="cpu", previous={"epochs": 12})
    )
    return model


@pytest.fixture(scope="module")
def data() -> Dataset:
    return cycles()


@pytest.fixture(scope="module")
def model(data: Dataset) -> Transformer:
    return fitted(data)


def asked(data: Dataset) -> Queries:
    """Users, and who is at which item."""
    return Queries.of(data.histories, np.full(N_USERS, 10**12, dtype=np.int64))


def accuracy(model: Transformer, data: Dataset) -> float:
    last = data.histories.items[data.histories.offsets[1:] - 1]
    found = model.retrieve(asked(data), 1).items[:, 0]
    return float(np.mean(found == (last + 1) % N_ITEMS))


def test_import_is_light() -> None:
    code = "import sys, recserve_transformer; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_registers_one_component_for_both_stages_that_automation_leaves_alone() -> None:
    (ranker,), (retriever,) = register_rankers(), register_retrievers()
    assert ranker is retriever
    assert ranker.name == "transformer"
    assert ranker.slow
    assert not ranker.automatic


def test_contract_of_a_ranker() -> None:
    check_ranker("transformer", width=8, epochs=2)


def test_contract_of_a_retriever() -> None:
    check_retriever("transformer", width=8, epochs=2)


def test_what_makes_the_network_travels_to_other_processes(data: Dataset) -> None:
    made = Transformer(TransformerParams(width=8, blocks=3, heads=4), data.catalogue).network()
    network = blank(pickle.loads(pickle.dumps(made)), Shape(8, 1, 8))
    assert {name.split(".")[1] for name in network.state_dict() if name.startswith("blocks.")} == set("012")
    assert network.get_parameter("bias.time").shape[0] == 4


def test_learns_a_deterministic_cycle(model: Transformer, data: Dataset) -> None:
    assert accuracy(model, data) > 0.9  # popularity would reach 1 / 20


def test_learns_from_ids_alone(data: Dataset) -> None:
    bare = data.with_catalogue(Catalogue([f"i{row}" for row in range(N_ITEMS)]))
    assert accuracy(fitted(bare, text=False, negatives=6, in_batch=4), bare) > 0.9
    with pytest.raises(ConfigError, match="transformer reads text vectors"):
        Transformer(TransformerParams(), bare.catalogue)


def test_a_loaded_model_answers_alike(model: Transformer, data: Dataset, tmp_path: Path) -> None:
    model.save(tmp_path)
    loaded = Transformer(TransformerParams(width=16), data.catalogue)
    loaded.load(tmp_path)
    items = np.tile(np.arange(N_ITEMS, dtype=np.int32), (N_USERS, 1))
    offered = Candidates(
        items, np.zeros(items.shape, np.float32), (), np.empty((*items.shape, 0), np.float32), items
    )
    np.testing.assert_array_equal(loaded.score(asked(data), offered), model.score(asked(data), offered))
    other = Transformer(TransformerParams(width=16, blocks=3), data.catalogue)
    with pytest.raises(BundleError, match="transformer: the bundle is damaged"):
        other.load(tmp_path)


def test_equal_fits_give_equal_bytes(data: Dataset, tmp_path: Path) -> None:
    for name in ("a", "b"):
        torch.rand(int(name, 16))  # the global generator must not matter
        (tmp_path / name).mkdir()
        model = Transformer(TransformerParams(width=8, epochs=2, negatives=6, in_batch=4), data.catalogue)
        model.fit(data, FitContext(seed=3, event_types=("view",), threads=1, device="cpu"))
        model.save(tmp_path / name)
    first, second = ({file.name: file.read_bytes() for file in (tmp_path / name).iterdir()} for name in "ab")
    assert first == second


def test_what_a_live_item_is_about_is_read(model: Transformer, data: Dataset) -> None:
    """A history of an item that came after the fit is read by torch, from its text."""
    vectors = data.catalogue.vectors
    assert vectors is not None
    plain = asked(data)
    moved = plain.histories.items + N_ITEMS
    live = Queries(
        **{
            name: getattr(plain, name)
            for name in Queries.__slots__
            if name not in ("extra_vectors", "histories")
        },
        extra_vectors=np.ascontiguousarray(vectors),
        histories=type(plain.histories)(
            plain.histories.offsets,
            moved,
            plain.histories.events,
            plain.histories.weights,
            plain.histories.timestamps,
        ),
    )
    found = model.retrieve(live, 3).items
    assert (found >= 0).all()


def test_heads_divide_the_width() -> None:
    with pytest.raises(ValidationError, match="3 heads do not divide a width of 64"):
        TransformerParams(heads=3)
    assert TransformerParams(heads=3, width=24).heads == 3
