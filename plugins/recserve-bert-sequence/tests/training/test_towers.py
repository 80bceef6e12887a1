"""A text encoder that is trained with the network: what a step reads, and going on after a loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from recserve_bert_sequence.parameters import BertSequenceParams
from recserve_bert_sequence.training.loop import Fitted, Task, fit
from recserve_bert_sequence.training.texts import Texts
from recserve_torch import OffersTower
from torch.nn import functional

from recserve import FloatArray, Int32Array, TorchWorker
from recserve.testing import example_dataset

PARAMS = BertSequenceParams(width=8, epochs=4, window=8, batch_events=300, negatives=16, dropout=0.0)


class Linear:
    """The smallest encoder that learns: a matrix on vectors that are given."""

    def __init__(self, affords: int = 1_000) -> None:
        self.affords = affords
        self.learnt: Mapping[str, FloatArray] = {}

    def tower(self, texts: Sequence[str], vectors: FloatArray, device: torch.device) -> LinearTower:
        return LinearTower(vectors, device, self.affords)

    def learn(self, weights: Mapping[str, FloatArray], facts: Mapping[str, Any]) -> None:
        self.learnt = weights


class LinearTower:
    learning_rate = 0.01

    def __init__(self, vectors: FloatArray, device: torch.device, affords: int) -> None:
        self._fixed = torch.from_numpy(np.asarray(vectors, np.float32)).to(device)
        self._matrix = torch.nn.Parameter(torch.eye(vectors.shape[1], device=device))
        self._affords = affords

    def parameters(self) -> list[torch.nn.Parameter]:
        return [self._matrix]

    def affordable(self, rows: Int32Array) -> Int32Array:
        return rows[: self._affords]

    def forward(self, rows: Int32Array) -> torch.Tensor:
        return functional.normalize(self._fixed[torch.from_numpy(rows).long()] @ self._matrix, dim=1)

    def vectors(self, rows: Int32Array) -> FloatArray:
        with torch.inference_mode():
            found: FloatArray = self.forward(rows).cpu().numpy()
        return found

    def weights(self) -> dict[str, FloatArray]:
        return {"matrix": self._matrix.detach().cpu().numpy().copy()}


def task(encoder: Linear | None, **changed: Any) -> Task:
    data = example_dataset()
    vectors = data.catalogue.vectors
    assert vectors is not None
    params = PARAMS.model_copy(update=changed)
    types = len(data.event_types)
    return Task(
        data.histories, data.item_counts, vectors, types, params, 3, None, encoder, ["x"] * len(vectors)
    )


def weights(fitted: Fitted) -> dict[str, np.ndarray]:
    assert fitted.encoder is not None
    return {
        **{name: tensor.numpy() for name, tensor in fitted.network.state_dict().items()},
        **fitted.encoder,
    }


def test_the_smallest_encoder_keeps_the_contract() -> None:
    assert isinstance(Linear(), OffersTower)


def test_gradients_reach_as_many_texts_as_a_step_affords() -> None:
    random = np.random.default_rng(1)
    vectors = functional.normalize(torch.randn(9, 4), dim=1).numpy()
    tower = Linear(affords=3).tower([], vectors, torch.device("cpu"))
    texts = Texts(vectors, tower, torch.device("cpu"))
    with torch.no_grad():
        tower.parameters()[0].mul_(2.0).add_(0.1)
    rows = np.array([0, 2, 4, 5, 8])
    read = texts.read(rows, random)
    fresh = np.flatnonzero(np.abs(read.detach().numpy() - vectors[rows]).max(axis=1) > 1e-6)
    assert len(fresh) == 3
    np.testing.assert_allclose(read.detach().numpy()[fresh], tower.vectors(rows[fresh].astype(np.int32)))
    np.testing.assert_array_equal(texts.table[rows], read.detach().numpy())
    assert vectors is not texts.table
    read.sum().backward()
    assert tower.parameters()[0].grad is not None
    texts.encode_all()
    np.testing.assert_array_equal(texts.table, tower.vectors(np.arange(9, dtype=np.int32)))


def test_fixed_texts_are_the_vectors_themselves() -> None:
    vectors = np.eye(3, dtype=np.float32)
    texts = Texts(vectors, None, torch.device("cpu"))
    texts.encode_all()
    assert texts.table is vectors
    assert not texts.read(np.array([0, 2]), np.random.default_rng(0)).requires_grad


@pytest.mark.parametrize("loss", ["softmax", "bce"])
def test_network_and_encoder_learn_together(loss: str) -> None:
    found = fit(TorchWorker(threads=1), task(Linear(affords=20), loss=loss))
    matrix = weights(found)["matrix"]
    assert np.abs(matrix - np.eye(len(matrix))).max() > 0.01
    assert found.facts["losses"][-1] < found.facts["losses"][0]
    alone = fit(TorchWorker(threads=1), task(None, loss=loss))
    assert alone.encoder is None
    assert alone.facts["losses"] != found.facts["losses"]


def test_a_loop_goes_on_from_its_last_state_as_if_nothing_had_happened() -> None:
    states: list[tuple[int, dict[str, Any]]] = []
    plain = task(Linear(affords=20), dropout=0.2)
    whole = fit(TorchWorker(report=lambda epoch, score, state: states.append((epoch, state or {}))), plain)
    again = fit(TorchWorker(checkpoint=states[1]), plain)
    assert again.facts == whole.facts
    for name, values in weights(whole).items():
        np.testing.assert_array_equal(weights(again)[name], values)
